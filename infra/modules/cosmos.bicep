// The directory: one account per geography, one database, one container whose partitions are the
// tenants. Strong consistency, because the reconciler must see what another instance has just
// committed; one write region, because uniqueness and ETags hold in one only.
targetScope = 'resourceGroup'

import { tagSet } from '../types.bicep'

@description('Name of the account.')
@minLength(3)
@maxLength(44)
param name string

@description('Azure region.')
param location string

@description('Tags.')
param tags tagSet

@description('Spread the replicas over the availability zones.')
param zoneRedundant bool

@description('Azure regions that keep a replica beside the home region.')
param readLocations string[]

@description('Reachable through private endpoints only.')
param privateOnly bool

@description('Paid per request, or following the load up to maxThroughput.')
@allowed(['autoscale', 'serverless'])
param capacityMode string

@description('Request units a second that autoscale may reach.')
@minValue(1000)
@maxValue(1000000)
param maxThroughput int

@description('How far back the database can be restored.')
@allowed(['Continuous7Days', 'Continuous30Days'])
param backupTier string

@description('Where logs go.')
param workspaceId string

var serverless = capacityMode == 'serverless'
var replicas = [
  for (place, index) in readLocations: {
    locationName: place
    failoverPriority: index + 1
    isZoneRedundant: zoneRedundant
  }
]

resource account 'Microsoft.DocumentDB/databaseAccounts@2025-04-15' = {
  name: name
  location: location
  tags: tags
  kind: 'GlobalDocumentDB'
  properties: {
    databaseAccountOfferType: 'Standard'
    locations: serverless && !empty(readLocations)
      ? fail('A serverless account has one region: set capacityMode to autoscale, or readLocations to [].')
      : concat(
          [
            {
              locationName: location
              failoverPriority: 0
              isZoneRedundant: zoneRedundant
            }
          ],
          replicas
        )
    consistencyPolicy: {
      defaultConsistencyLevel: 'Strong'
    }
    enableMultipleWriteLocations: false
    enableAutomaticFailover: !empty(readLocations)
    capabilities: serverless ? [{ name: 'EnableServerless' }] : []
    backupPolicy: {
      type: 'Continuous'
      continuousModeProperties: {
        tier: backupTier
      }
    }
    disableLocalAuth: true
    disableKeyBasedMetadataWriteAccess: true
    minimalTlsVersion: 'Tls12'
    publicNetworkAccess: privateOnly ? 'Disabled' : 'Enabled'
    networkAclBypass: 'None'
  }
}

resource database 'Microsoft.DocumentDB/databaseAccounts/sqlDatabases@2025-04-15' = {
  parent: account
  name: 'muster'
  properties: {
    resource: {
      id: 'muster'
    }
  }
}

resource container 'Microsoft.DocumentDB/databaseAccounts/sqlDatabases/containers@2025-04-15' = {
  parent: database
  name: 'directory'
  properties: {
    resource: {
      id: 'directory'
      partitionKey: {
        paths: ['/tenantId']
        kind: 'Hash'
        version: 2
      }
      // Written by `make indexing-policy` from what the code queries.
      indexingPolicy: loadJsonContent('../indexing-policy.json')
      // On, without a default: a document lives for ever unless it says otherwise itself.
      defaultTtl: -1
    }
    options: serverless
      ? {}
      : {
          autoscaleSettings: {
            maxThroughput: maxThroughput
          }
        }
  }
}

resource diagnostics 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  name: 'chosen'
  scope: account
  properties: {
    workspaceId: workspaceId
    logAnalyticsDestinationType: 'Dedicated'
    logs: [
      { category: 'PartitionKeyStatistics', enabled: true }
      { category: 'PartitionKeyRUConsumption', enabled: true }
      { category: 'ControlPlaneRequests', enabled: true }
    ]
  }
}

@description('Resource id.')
output id string = account.id

@description('The account\'s name.')
output name string = account.name

@description('URL of the account.')
output endpoint string = account.properties.documentEndpoint

@description('The database\'s name.')
output database string = database.name

@description('The container\'s name.')
output container string = container.name
