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

@description('Where logs and metrics go.')
param workspaceId string

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

resource address 'Microsoft.Network/publicIPAddresses@2025-05-01' = {
  name: 'pip-muster-${suffix}'
  location: location
  tags: tags
  sku: {
    name: 'Standard'
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
    name: 'Standard'
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

resource appGroupDiagnostics 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  name: 'all'
  scope: appGroup
  properties: {
    workspaceId: workspaceId
    logs: [{ categoryGroup: 'allLogs', enabled: true }]
  }
}

resource endpointGroupDiagnostics 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  name: 'all'
  scope: endpointGroup
  properties: {
    workspaceId: workspaceId
    logs: [{ categoryGroup: 'allLogs', enabled: true }]
  }
}

resource addressDiagnostics 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  name: 'all'
  scope: address
  properties: {
    workspaceId: workspaceId
    logs: [{ categoryGroup: 'allLogs', enabled: true }]
    metrics: [{ category: 'AllMetrics', enabled: true }]
  }
}

resource networkDiagnostics 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  name: 'all'
  scope: network
  properties: {
    workspaceId: workspaceId
    logs: [{ categoryGroup: 'allLogs', enabled: true }]
    metrics: [{ category: 'AllMetrics', enabled: true }]
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
