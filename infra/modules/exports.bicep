// Copies of every tenant's settings, outside the region: what a stamp elsewhere is made from when
// the region is lost. No memberships, no secrets.
targetScope = 'resourceGroup'

import { tagSet } from '../types.bicep'

@description('Name of the storage account.')
@minLength(3)
@maxLength(24)
param name string

@description('Azure region: another one of the same geography.')
param location string

@description('Tags.')
param tags tagSet

@description('Reachable through private endpoints only.')
param privateOnly bool

@description('Principal of the function app, which writes them.')
param appPrincipalId string

@description('Where logs go.')
param workspaceId string

// https://learn.microsoft.com/azure/role-based-access-control/built-in-roles
var blobContributor = subscriptionResourceId(
  'Microsoft.Authorization/roleDefinitions',
  'ba92f5b4-2d11-453d-a403-e96b0029c9fe'
)
var days = 30

resource account 'Microsoft.Storage/storageAccounts@2025-06-01' = {
  name: name
  location: location
  tags: tags
  kind: 'StorageV2'
  sku: {
    name: 'Standard_LRS' // the database is the first copy
  }
  properties: {
    accessTier: 'Cool'
    allowSharedKeyAccess: false
    defaultToOAuthAuthentication: true
    allowBlobPublicAccess: false
    allowCrossTenantReplication: false
    isLocalUserEnabled: false
    supportsHttpsTrafficOnly: true
    minimumTlsVersion: 'TLS1_2'
    publicNetworkAccess: privateOnly ? 'Disabled' : 'Enabled'
    networkAcls: {
      bypass: 'None'
      defaultAction: privateOnly ? 'Deny' : 'Allow'
    }
  }
}

resource blobs 'Microsoft.Storage/storageAccounts/blobServices@2025-06-01' = {
  parent: account
  name: 'default'
  properties: {
    isVersioningEnabled: true
    deleteRetentionPolicy: {
      enabled: true
      days: days
    }
    containerDeleteRetentionPolicy: {
      enabled: true
      days: days
    }
  }
}

resource container 'Microsoft.Storage/storageAccounts/blobServices/containers@2025-06-01' = {
  parent: blobs
  name: 'tenants'
  properties: {
    publicAccess: 'None'
  }
}

resource expiry 'Microsoft.Storage/storageAccounts/managementPolicies@2025-06-01' = {
  parent: account
  name: 'default'
  properties: {
    policy: {
      rules: [
        {
          name: 'old-versions'
          type: 'Lifecycle'
          enabled: true
          definition: {
            filters: {
              blobTypes: ['blockBlob']
            }
            actions: {
              version: {
                delete: {
                  daysAfterCreationGreaterThan: days
                }
              }
            }
          }
        }
      ]
    }
  }
  dependsOn: [blobs] // a rule about versions needs them switched on
}

resource appWrites 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(container.id, appPrincipalId, blobContributor)
  scope: container
  properties: {
    roleDefinitionId: blobContributor
    principalId: appPrincipalId
    principalType: 'ServicePrincipal'
  }
}

// Who read or removed a copy: there is a handful of requests a day.
resource diagnostics 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  name: 'chosen'
  scope: blobs
  properties: {
    workspaceId: workspaceId
    logs: [
      { category: 'StorageRead', enabled: true }
      { category: 'StorageWrite', enabled: true }
      { category: 'StorageDelete', enabled: true }
    ]
  }
}

@description('Resource id.')
output id string = account.id

@description('URL of the container that the copies are written to.')
output containerUrl string = '${account.properties.primaryEndpoints.blob}${container.name}'
