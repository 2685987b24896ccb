// The queue of events, the topic of access changes and the queue of webhooks to be sent. None is
// partitioned: one send carries several message ids, and those would be the partition keys. Every
// event is in the database until it is done, so that losing its message loses nothing; a webhook
// whose message is lost is sent again by hand (manage.py webhook resend).
targetScope = 'resourceGroup'

import { tagSet } from '../types.bicep'

@description('Name of the namespace.')
@minLength(6)
@maxLength(50)
param name string

@description('Azure region.')
param location string

@description('Tags.')
param tags tagSet

@description('Spread the namespace over the availability zones.')
param zoneRedundant bool

@description('Reachable through private endpoints only; needs Premium.')
param privateOnly bool

@description('Deliveries after which a message is dead-lettered.')
@minValue(2)
@maxValue(100)
param maxDeliveryCount int

@description('Where logs go.')
param workspaceId string

var sku = privateOnly ? 'Premium' : 'Standard'
// Longer than the timer's interval: what it re-sends too early is dropped.
var duplicateWindow = 'PT10M'

resource namespace 'Microsoft.ServiceBus/namespaces@2024-01-01' = {
  name: name
  location: location
  tags: tags
  sku: {
    name: sku
    tier: sku
    capacity: privateOnly ? 1 : null
  }
  properties: {
    disableLocalAuth: true
    minimumTlsVersion: '1.2'
    publicNetworkAccess: privateOnly ? 'Disabled' : 'Enabled'
    zoneRedundant: privateOnly ? zoneRedundant : null // Standard has zones without being asked
    premiumMessagingPartitions: privateOnly ? 1 : null
  }
}

resource events 'Microsoft.ServiceBus/namespaces/queues@2024-01-01' = {
  parent: namespace
  name: 'directory-events'
  properties: {
    lockDuration: 'PT1M'
    maxDeliveryCount: maxDeliveryCount
    requiresDuplicateDetection: true
    duplicateDetectionHistoryTimeWindow: duplicateWindow
    defaultMessageTimeToLive: 'P14D'
    deadLetteringOnMessageExpiration: true
    requiresSession: false
    enablePartitioning: false
    maxSizeInMegabytes: 5120
  }
}

resource changes 'Microsoft.ServiceBus/namespaces/topics@2024-01-01' = {
  parent: namespace
  name: 'access-changes'
  properties: {
    requiresDuplicateDetection: true
    duplicateDetectionHistoryTimeWindow: duplicateWindow
    defaultMessageTimeToLive: 'P14D'
    enablePartitioning: false
    maxSizeInMegabytes: 5120
  }
}

resource application 'Microsoft.ServiceBus/namespaces/topics/subscriptions@2024-01-01' = {
  parent: changes
  name: 'application'
  properties: {
    lockDuration: 'PT1M'
    maxDeliveryCount: maxDeliveryCount
    defaultMessageTimeToLive: 'P14D'
    deadLetteringOnMessageExpiration: true
    deadLetteringOnFilterEvaluationExceptions: true
    requiresSession: false
  }
}

// What webhooks are sent from: the function `webhooks` makes a message for each endpoint.
resource webhooks 'Microsoft.ServiceBus/namespaces/topics/subscriptions@2024-01-01' = {
  parent: changes
  name: 'webhooks'
  properties: {
    lockDuration: 'PT1M'
    maxDeliveryCount: maxDeliveryCount
    defaultMessageTimeToLive: 'P14D'
    deadLetteringOnMessageExpiration: true
    deadLetteringOnFilterEvaluationExceptions: true
    requiresSession: false
  }
  dependsOn: [application] // a topic takes one change at a time
}

// A message waits here for up to a day between two attempts.
resource deliveries 'Microsoft.ServiceBus/namespaces/queues@2024-01-01' = {
  parent: namespace
  name: 'webhook-deliveries'
  properties: {
    lockDuration: 'PT1M'
    maxDeliveryCount: maxDeliveryCount
    requiresDuplicateDetection: true
    duplicateDetectionHistoryTimeWindow: duplicateWindow
    defaultMessageTimeToLive: 'P14D'
    deadLetteringOnMessageExpiration: true
    requiresSession: false
    enablePartitioning: false
    maxSizeInMegabytes: 5120
  }
}

resource diagnostics 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  name: 'chosen'
  scope: namespace
  properties: {
    workspaceId: workspaceId
    logs: [{ category: 'OperationalLogs', enabled: true }]
  }
}

@description('Resource id.')
output id string = namespace.id

@description('The namespace\'s name.')
output name string = namespace.name

@description('Host name of the namespace.')
output host string = '${namespace.name}.servicebus.windows.net'

@description('The queue\'s name.')
output queue string = events.name

@description('The topic\'s name.')
output topic string = changes.name

@description('The application\'s subscription of the topic.')
output subscription string = application.name

@description('The subscription of the topic that webhooks are sent from.')
output webhookSubscription string = webhooks.name

@description('Name of the queue of webhooks to be sent.')
output webhookQueue string = deliveries.name
