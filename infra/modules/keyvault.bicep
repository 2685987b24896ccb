// The one secret that there is: what the console proves itself to Entra ID with. It is put here by
// hand (docs/deploy.md); a setting names it and never holds it.
targetScope = 'resourceGroup'

import { principal, tagSet } from '../types.bicep'

@description('Name of the vault.')
@minLength(3)
@maxLength(24)
param name string

@description('default makes a vault, recover brings a deleted one of this name back.')
@allowed(['default', 'recover'])
param createMode string

@description('Azure region.')
param location string

@description('Tags.')
param tags tagSet

@description('Reachable through a private endpoint only.')
param privateOnly bool

@description('Principal of the function app, which reads it.')
param appPrincipalId string

@description('Who may set it: objects of principalId and principalType.')
param operators principal[]

@description('Where logs go.')
param workspaceId string

// https://learn.microsoft.com/azure/role-based-access-control/built-in-roles
var secretsUser = subscriptionResourceId(
  'Microsoft.Authorization/roleDefinitions',
  '4633458b-17de-408a-b874-0445c86b69e6'
)
var secretsOfficer = subscriptionResourceId(
  'Microsoft.Authorization/roleDefinitions',
  'b86a8fe4-44ce-4948-aee5-eccb2c155cd7'
)

resource vault 'Microsoft.KeyVault/vaults@2024-11-01' = {
  name: name
  location: location
  tags: tags
  properties: {
    createMode: createMode
    tenantId: tenant().tenantId
    sku: {
      family: 'A'
      name: 'standard'
    }
    enableRbacAuthorization: true
    enableSoftDelete: true
    enablePurgeProtection: true
    softDeleteRetentionInDays: 90
    publicNetworkAccess: privateOnly ? 'Disabled' : 'Enabled'
    networkAcls: {
      bypass: 'None'
      defaultAction: privateOnly ? 'Deny' : 'Allow'
    }
  }
}

resource appReads 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(vault.id, appPrincipalId, secretsUser)
  scope: vault
  properties: {
    roleDefinitionId: secretsUser
    principalId: appPrincipalId
    principalType: 'ServicePrincipal'
  }
}

resource operatorSets 'Microsoft.Authorization/roleAssignments@2022-04-01' = [
  for operator in operators: {
    name: guid(vault.id, operator.principalId, secretsOfficer)
    scope: vault
    properties: {
      roleDefinitionId: secretsOfficer
      principalId: operator.principalId
      principalType: operator.principalType
    }
  }
]

resource diagnostics 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  name: 'chosen'
  scope: vault
  properties: {
    workspaceId: workspaceId
    logs: [{ category: 'AuditEvent', enabled: true }]
  }
}

@description('Resource id.')
output id string = vault.id

@description('URL of the vault, with a slash at its end.')
output uri string = vault.properties.vaultUri
