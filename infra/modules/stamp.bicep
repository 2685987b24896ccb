// A stamp's resources and what they know of each other. Nothing is declared here: each subject has
// a module of its own.
targetScope = 'resourceGroup'

@description('Name of the stamp.')
@minLength(2)
@maxLength(8)
param stamp string

@description('Home region of the tenants that this stamp serves.')
@allowed(['eu', 'us'])
param region string

@description('Azure region of every resource.')
param location string

@description('Tags of every resource.')
param tags object

@description('Scheme and host that clients of this stamp address; empty: the custom domain, or else the app\'s own name.')
param publicUrl string

@description('Region → scheme and host of the other stamps.')
param regionUrls object

@description('Audiences of Entra ID\'s own tokens; empty: that of every non-gallery application.')
param entraAudiences array

@description('Applications that those tokens may be issued to; empty: Entra ID\'s provisioning service.')
param entraApplications array
@description('Client id of the application that administrators sign in to; empty: no console.')
param consoleClientId string

@description('Spread every service over the availability zones.')
param zoneRedundant bool

@description('Cosmos DB: paid per request, or following the load.')
@allowed(['autoscale', 'serverless'])
param capacityMode string

@description('Request units a second that autoscale may reach.')
@minValue(1000)
@maxValue(1000000)
param maxThroughput int

@description('Name of the Cosmos DB account; empty: the stamp\'s own.')
param databaseAccountName string

@description('How far back the database can be restored.')
@allowed(['Continuous7Days', 'Continuous30Days'])
param backupTier string

@description('Days for which events that are done and changes of access are kept.')
@minValue(1)
@maxValue(3650)
param retentionDays int

@description('Folder of extension schemas inside the release.')
param schemas string

@description('Kinds of entitlements, beside those that ship.')
param entitlementKinds array

@description('Instances that always run for HTTP.')
@minValue(0)
@maxValue(20)
param alwaysReadyInstances int

@description('The most instances that the app may scale out to.')
@minValue(1)
@maxValue(1000)
param maximumInstances int

@description('Memory of an instance.')
@allowed([512, 2048, 4096])
param instanceMemoryMB int

@description('Give the app the right to manage its queue.')
param targetBasedScaling bool

@description('Put database, queue and storage behind private endpoints.')
param vnetEnabled bool

@description('Address space of the virtual network.')
param vnetAddressPrefix string

@description('Days for which logs are kept.')
@minValue(30)
@maxValue(730)
param logRetentionDays int

@description('Gigabytes of logs a day; -1: no limit.')
@minValue(-1)
param logDailyCapGB int

@description('Share of the traces that are kept, 0 to 1.')
param traceShare string

@description('Requests a second that a tenant may send to one instance; 0: any number.')
@minValue(0)
param requestsPerSecond int

@description('Who is told when an alert fires.')
@minLength(1)
param alertEmails array

@description('Who may run manage.py.')
param operators array

@description('Who receives access changes.')
param subscribers array

@description('Host name that the app answers to beside its own.')
param customDomain string

@description('The Key Vault that holds its certificate.')
param certificateVaultId string

@description('Name of that certificate.')
param certificateName string

// Stable for a subscription and a stamp, different everywhere else.
var suffix = '${stamp}-${take(uniqueString(resourceGroup().id), 6)}'
var vaultName = empty(consoleClientId) ? '' : 'kv-muster-${suffix}'
// The queue dead-letters after as many deliveries as the code takes for the last one.
var maxDeliveryCount = 10

module monitoring 'monitoring.bicep' = {
  params: {
    suffix: suffix
    location: location
    tags: tags
    retentionDays: logRetentionDays
    dailyCapGB: logDailyCapGB
  }
}

module identity 'identity.bicep' = {
  params: {
    name: 'id-muster-${suffix}'
    location: location
    tags: tags
  }
}

module storage 'storage.bicep' = {
  params: {
    name: 'stmuster${replace(suffix, '-', '')}'
    location: location
    tags: tags
    zoneRedundant: zoneRedundant
    privateOnly: vnetEnabled
    workspaceId: monitoring.outputs.workspaceId
  }
}

module cosmos 'cosmos.bicep' = {
  params: {
    name: empty(databaseAccountName) ? 'cosmos-muster-${suffix}' : databaseAccountName
    location: location
    tags: tags
    zoneRedundant: zoneRedundant
    privateOnly: vnetEnabled
    capacityMode: capacityMode
    maxThroughput: maxThroughput
    backupTier: backupTier
    workspaceId: monitoring.outputs.workspaceId
  }
}

module serviceBus 'servicebus.bicep' = {
  params: {
    name: 'sb-muster-${suffix}'
    location: location
    tags: tags
    zoneRedundant: zoneRedundant
    privateOnly: vnetEnabled
    maxDeliveryCount: maxDeliveryCount
    workspaceId: monitoring.outputs.workspaceId
  }
}

module vault 'keyvault.bicep' = if (!empty(consoleClientId)) {
  params: {
    name: vaultName
    location: location
    tags: tags
    privateOnly: vnetEnabled
    appPrincipalId: identity.outputs.principalId
    operators: operators
    workspaceId: monitoring.outputs.workspaceId
  }
}

module roles 'roles.bicep' = {
  params: {
    appPrincipalId: identity.outputs.principalId
    operators: operators
    subscribers: subscribers
    targetBasedScaling: targetBasedScaling
    storageName: storage.outputs.name
    insightsName: monitoring.outputs.insightsName
    cosmosName: cosmos.outputs.name
    databaseName: cosmos.outputs.database
    serviceBusName: serviceBus.outputs.name
    queueName: serviceBus.outputs.queue
    topicName: serviceBus.outputs.topic
    subscriptionName: serviceBus.outputs.subscription
  }
}

module network 'network.bicep' = if (vnetEnabled) {
  params: {
    suffix: suffix
    location: location
    tags: tags
    addressPrefix: vnetAddressPrefix
    workspaceId: monitoring.outputs.workspaceId
  }
}

module endpoints 'endpoints.bicep' = if (vnetEnabled) {
  params: {
    suffix: suffix
    location: location
    tags: tags
    networkId: network!.outputs.id
    subnetId: network!.outputs.endpointSubnetId
    services: [
      {
        name: 'cosmos'
        serviceId: cosmos.outputs.id
        groupId: 'Sql'
        zone: 'privatelink.documents.azure.com'
      }
      {
        name: 'servicebus'
        serviceId: serviceBus.outputs.id
        groupId: 'namespace'
        zone: 'privatelink.servicebus.windows.net'
      }
      {
        name: 'blob'
        serviceId: storage.outputs.id
        groupId: 'blob'
        zone: 'privatelink.blob.${environment().suffixes.storage}'
      }
      {
        name: 'table'
        serviceId: storage.outputs.id
        groupId: 'table'
        zone: 'privatelink.table.${environment().suffixes.storage}'
      }
    ]
  }
}

module vaultEndpoint 'endpoints.bicep' = if (vnetEnabled && !empty(consoleClientId)) {
  params: {
    suffix: suffix
    location: location
    tags: tags
    networkId: network!.outputs.id
    subnetId: network!.outputs.endpointSubnetId
    services: [
      {
        name: 'vault'
        serviceId: vault!.outputs.id
        groupId: 'vault'
        zone: 'privatelink.vaultcore.azure.net'
      }
    ]
  }
}

module app 'functionapp.bicep' = {
  params: {
    suffix: suffix
    location: location
    tags: tags
    zoneRedundant: zoneRedundant
    identityId: identity.outputs.id
    releasesUrl: storage.outputs.releasesUrl
    alwaysReadyInstances: alwaysReadyInstances
    maximumInstances: maximumInstances
    instanceMemoryMB: instanceMemoryMB
    subnetId: vnetEnabled ? network!.outputs.appSubnetId : ''
    workspaceId: monitoring.outputs.workspaceId
  }
  dependsOn: [roles, endpoints, vaultEndpoint] // its host reads storage and queue as soon as it starts
}

var ownUrl = 'https://${app.outputs.hostName}'
var tenantHost = !empty(publicUrl) ? publicUrl : empty(customDomain) ? ownUrl : 'https://${customDomain}'

module settings 'settings.bicep' = {
  params: {
    appName: app.outputs.name
    identityClientId: identity.outputs.clientId
    storageName: storage.outputs.name
    insightsConnection: monitoring.outputs.insightsConnection
    serviceBusHost: serviceBus.outputs.host
    cosmosEndpoint: cosmos.outputs.endpoint
    databaseName: cosmos.outputs.database
    containerName: cosmos.outputs.container
    region: region
    publicUrl: tenantHost
    regionUrls: regionUrls
    entraAudiences: entraAudiences
    entraApplications: entraApplications
    consoleClientId: consoleClientId
    vaultUri: empty(consoleClientId) ? '' : vault!.outputs.uri
    retentionDays: retentionDays
    schemas: schemas
    entitlementKinds: entitlementKinds
    traceShare: traceShare
    requestsPerSecond: requestsPerSecond
    maxDeliveryCount: maxDeliveryCount
  }
}

module domain 'domain.bicep' = if (!empty(customDomain)) {
  params: {
    appName: app.outputs.name
    planId: app.outputs.planId
    location: location
    tags: tags
    hostName: customDomain
    vaultId: certificateVaultId
    certificateName: certificateName
  }
}

module alerts 'alerts.bicep' = {
  params: {
    suffix: suffix
    location: location
    tags: tags
    emails: alertEmails
    appId: app.outputs.id
    cosmosId: cosmos.outputs.id
    serviceBusId: serviceBus.outputs.id
    workspaceId: monitoring.outputs.workspaceId
  }
}

module workbook 'workbook.bicep' = {
  params: {
    location: location
    tags: tags
    stamp: stamp
    workspaceId: monitoring.outputs.workspaceId
  }
}

@description('The function app that releases are deployed to.')
output functionAppName string = app.outputs.name

@description('Scheme and host of the function app itself.')
output functionAppUrl string = ownUrl

@description('What a customer pastes into Entra ID.')
output tenantUrl string = '${tenantHost}/scim'

@description('The Key Vault of the console\'s secret; empty: no console.')
output vaultName string = vaultName

@description('URL of the Cosmos DB account.')
output cosmosEndpoint string = cosmos.outputs.endpoint

@description('Host name of the Service Bus namespace.')
output serviceBusHost string = serviceBus.outputs.host
