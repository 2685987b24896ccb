// A virtual network for the app's way out and for the private endpoints, with one fixed address
// towards the internet (Entra ID's keys and the telemetry are there).
targetScope = 'resourceGroup'

import { tagSet } from '../types.bicep'

@description('Suffix of the resources\' names.')
param suffix string

@description('Azure region.')
param location string

@description('Tags.')
param tags tagSet

@description('Address space, a /22 or larger.')
param addressPrefix string

@description('Over all zones of the region.')
param zoneRedundant bool

resource appGroup 'Microsoft.Network/networkSecurityGroups@2025-05-01' = {
  name: 'nsg-muster-app-${suffix}'
  location: location
  tags: tags
}

resource endpointGroup 'Microsoft.Network/networkSecurityGroups@2025-05-01' = {
  name: 'nsg-muster-endpoints-${suffix}'
  location: location
  tags: tags
  properties: {
    securityRules: [
      {
        name: 'nothing-from-the-internet'
        properties: {
          priority: 100
          direction: 'Inbound'
          access: 'Deny'
          protocol: '*'
          sourceAddressPrefix: 'Internet'
          sourcePortRange: '*'
          destinationAddressPrefix: '*'
          destinationPortRange: '*'
        }
      }
    ]
  }
}

// Standard stands in one zone, StandardV2 in all; neither becomes the other in place, and an address
// is of its gateway's kind (https://learn.microsoft.com/azure/nat-gateway/nat-sku).
var sku = zoneRedundant ? 'StandardV2' : 'Standard'

resource address 'Microsoft.Network/publicIPAddresses@2025-05-01' = {
  name: 'pip-muster-${suffix}'
  location: location
  tags: tags
  sku: {
    name: sku
  }
  properties: {
    publicIPAllocationMethod: 'Static'
  }
}

resource gateway 'Microsoft.Network/natGateways@2025-05-01' = {
  name: 'ng-muster-${suffix}'
  location: location
  tags: tags
  sku: {
    name: sku
  }
  properties: {
    publicIpAddresses: [{ id: address.id }]
  }
}

resource network 'Microsoft.Network/virtualNetworks@2025-05-01' = {
  name: 'vnet-muster-${suffix}'
  location: location
  tags: tags
  properties: {
    addressSpace: {
      addressPrefixes: [addressPrefix]
    }
    subnets: [
      {
        name: 'app'
        properties: {
          addressPrefix: cidrSubnet(addressPrefix, 24, 0)
          defaultOutboundAccess: false
          natGateway: {
            id: gateway.id
          }
          networkSecurityGroup: {
            id: appGroup.id
          }
          delegations: [
            {
              name: 'functions'
              properties: {
                serviceName: 'Microsoft.App/environments'
              }
            }
          ]
        }
      }
      {
        name: 'endpoints'
        properties: {
          addressPrefix: cidrSubnet(addressPrefix, 24, 1)
          defaultOutboundAccess: false
          privateEndpointNetworkPolicies: 'NetworkSecurityGroupEnabled'
          networkSecurityGroup: {
            id: endpointGroup.id
          }
        }
      }
    ]
  }
}

@description('The network.')
output id string = network.id

@description('The subnet that the app reaches everything through.')
output appSubnetId string = '${network.id}/subnets/app'

@description('The subnet of the private endpoints.')
output endpointSubnetId string = '${network.id}/subnets/endpoints'

@description('The address that the app has towards the internet.')
output outboundAddress string = address.properties.ipAddress
