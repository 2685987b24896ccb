// The function app: Python 3.13 on Flex Consumption, without a key, a connection string or a
// publishing password.
targetScope = 'resourceGroup'

import { tagSet } from '../types.bicep'

@description('Suffix of the resources\' names.')
param suffix string

@description('Azure region.')
param location string

@description('Tags.')
param tags tagSet

@description('Spread plan and instances over the availability zones.')
param zoneRedundant bool

@description('Resource id of the app\'s identity.')
param identityId string

@description('URL of the blob container that the app runs from.')
param releasesUrl string

@description('Instances that always run for HTTP.')
@minValue(0)
@maxValue(20)
param alwaysReadyInstances int

@description('Instances that always run for the queue of events.')
@minValue(0)
@maxValue(20)
param alwaysReadyReconcilers int

@description('Requests that an instance is given at once.')
@minValue(1)
@maxValue(1000)
param requestsPerInstance int

@description('How running instances give way to new code or settings.')
@allowed(['Recreate', 'RollingUpdate'])
param siteUpdateStrategy string

@description('The one Front Door that the app answers to; empty: it answers everybody.')
param frontDoorId string

@description('The most instances that the app may scale out to.')
@minValue(1)
@maxValue(1000)
param maximumInstances int

@description('Memory of an instance.')
@allowed([512, 2048, 4096])
param instanceMemoryMB int

@description('Subnet that the app reaches everything through; empty: the platform\'s own network.')
param subnetId string

// Each HTTP trigger shares the group http; a queue's trigger is a group of its own.
var alwaysReady = [
  { name: 'http', instanceCount: alwaysReadyInstances }
  { name: 'function:reconcile', instanceCount: alwaysReadyReconcilers }
]
var tooFew = zoneRedundant && min(alwaysReadyInstances, alwaysReadyReconcilers) < 2

resource plan 'Microsoft.Web/serverfarms@2025-03-01' = {
  name: 'plan-muster-${suffix}'
  location: location
  tags: tags
  kind: 'functionapp'
  sku: {
    name: 'FC1'
    tier: 'FlexConsumption'
  }
  properties: {
    reserved: true
    zoneRedundant: zoneRedundant
  }
}

resource app 'Microsoft.Web/sites@2025-03-01' = {
  name: 'func-muster-${suffix}'
  location: location
  tags: union(tags, { 'azd-service-name': 'muster' })
  kind: 'functionapp,linux'
  identity: {
    type: 'UserAssigned'
    userAssignedIdentities: {
      '${identityId}': {}
    }
  }
  properties: {
    serverFarmId: plan.id
    // Cannot be set later than at the app's creation; without it, no certificate for a name of its own.
    #disable-next-line BCP037 // Azure takes it; the published types do not have it yet
    siteScopedCertificatesEnabled: true
    httpsOnly: true
    // Entra ID calls from the internet, with or without a virtual network behind the app; where
    // there is a Front Door, through it alone.
    publicNetworkAccess: 'Enabled'
    clientAffinityEnabled: false
    virtualNetworkSubnetId: empty(subnetId) ? null : subnetId
    keyVaultReferenceIdentity: identityId
    siteConfig: {
      minTlsVersion: '1.2'
      scmMinTlsVersion: '1.2'
      ftpsState: 'Disabled'
      http20Enabled: true
      ipSecurityRestrictionsDefaultAction: empty(frontDoorId) ? 'Allow' : 'Deny'
      ipSecurityRestrictions: empty(frontDoorId)
        ? []
        : [
            {
              name: 'front-door'
              priority: 100
              action: 'Allow'
              tag: 'ServiceTag'
              ipAddress: 'AzureFrontDoor.Backend'
              headers: {
                'x-azure-fdid': [frontDoorId]
              }
            }
          ]
      scmIpSecurityRestrictionsUseMain: false // releases arrive there, each with a token of Entra ID
    }
    functionAppConfig: {
      deployment: {
        storage: {
          type: 'blobContainer'
          value: releasesUrl
          authentication: {
            type: 'UserAssignedIdentity'
            userAssignedIdentityResourceId: identityId
          }
        }
      }
      runtime: {
        name: 'python'
        version: '3.13'
      }
      scaleAndConcurrency: {
        alwaysReady: tooFew
          ? fail('With zoneRedundant, alwaysReadyInstances and alwaysReadyReconcilers must be 2 or more: one for each of two zones.')
          : filter(alwaysReady, group => group.instanceCount > 0)
        maximumInstanceCount: maximumInstances
        instanceMemoryMB: instanceMemoryMB
        triggers: {
          http: {
            perInstanceConcurrency: requestsPerInstance // 1 for Python, if nobody says more
          }
        }
      }
      #disable-next-line BCP037 // Azure takes it; the published types do not have it yet
      siteUpdateStrategy: {
        type: siteUpdateStrategy
      }
    }
  }
}

resource ftpPassword 'Microsoft.Web/sites/basicPublishingCredentialsPolicies@2025-03-01' = {
  parent: app
  name: 'ftp'
  properties: {
    allow: false
  }
}

resource scmPassword 'Microsoft.Web/sites/basicPublishingCredentialsPolicies@2025-03-01' = {
  parent: app
  name: 'scm'
  properties: {
    allow: false
  }
  dependsOn: [ftpPassword] // a site takes one change at a time
}

@description('The app\'s name.')
output name string = app.name

@description('The app\'s own host name.')
output hostName string = app.properties.defaultHostName
