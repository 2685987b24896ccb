// A private endpoint for each service, and the DNS zone that makes its name resolve to it.
targetScope = 'resourceGroup'

import { privateService, tagSet } from '../types.bicep'

@description('Suffix of the resources\' names.')
param suffix string

@description('Azure region.')
param location string

@description('Tags.')
param tags tagSet

@description('The network in which the names resolve.')
param networkId string

@description('The subnet of the endpoints.')
param subnetId string

@description('What gets an endpoint: objects of name, serviceId, groupId and zone.')
@minLength(1)
param services privateService[]

// Several services may share a zone, as all blobs do.
var zoneNames = union(map(services, service => service.zone), [])

resource zones 'Microsoft.Network/privateDnsZones@2024-06-01' = [
  for zone in zoneNames: {
    name: zone
    location: 'global'
    tags: tags
  }
]

resource links 'Microsoft.Network/privateDnsZones/virtualNetworkLinks@2024-06-01' = [
  for (zone, index) in zoneNames: {
    parent: zones[index]
    name: 'muster'
    location: 'global'
    tags: tags
    properties: {
      registrationEnabled: false
      virtualNetwork: {
        id: networkId
      }
    }
  }
]

@batchSize(1)
resource endpoints 'Microsoft.Network/privateEndpoints@2025-05-01' = [
  for service in services: {
    name: 'pep-muster-${service.name}-${suffix}'
    location: location
    tags: tags
    properties: {
      subnet: {
        id: subnetId
      }
      privateLinkServiceConnections: [
        {
          name: service.name
          properties: {
            privateLinkServiceId: service.serviceId
            groupIds: [service.groupId]
          }
        }
      ]
    }
  }
]

resource records 'Microsoft.Network/privateEndpoints/privateDnsZoneGroups@2025-05-01' = [
  for (service, index) in services: {
    parent: endpoints[index]
    name: 'default'
    properties: {
      privateDnsZoneConfigs: [
        {
          name: service.name
          properties: {
            privateDnsZoneId: resourceId('Microsoft.Network/privateDnsZones', service.zone)
          }
        }
      ]
    }
    dependsOn: [zones]
  }
]
