// What several files declare in the same words.

@export()
@description('Somebody in Entra ID who is given access.')
type principal = {
  @description('Object id of the group, user or service principal (of an application: not its client id).')
  principalId: string

  @description('What it is: Azure assigns roles to a new principal only when it is told.')
  principalType: 'Group' | 'User' | 'ServicePrincipal'
}

@export()
@description('Tags: name → value.')
type tagSet = {
  @description('A tag.')
  *: string
}

@export()
@description('Region → scheme and host of its stamp, such as { us: \'https://us.muster.example.com\' }.')
type urlsByRegion = {
  @description('Scheme and host, without a path.')
  *: string
}

@export()
@description('A service that is reached through a private endpoint.')
type privateService = {
  @description('Part of the endpoint\'s name.')
  name: string

  @description('Resource id of the service.')
  serviceId: string

  @description('The part of the service: Sql, namespace, blob, table, vault.')
  groupId: string

  @description('The DNS zone of its private names.')
  zone: string
}

@export()
@description('Where the certificate of a custom domain comes from: none (the first deployment with a new name), Azure itself, or your Key Vault.')
type certificateSource = 'none' | 'managed' | 'keyVault'
