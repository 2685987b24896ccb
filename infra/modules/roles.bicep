// Who may do what, each at the narrowest scope that the service knows. There is no other way in:
// keys and local accounts are off everywhere.
targetScope = 'resourceGroup'

import { principal } from '../types.bicep'

@description('Principal of the function app.')
param appPrincipalId string

@description('Who may run manage.py: objects of principalId and principalType.')
param operators principal[]

@description('Who receives access changes: objects of principalId and principalType.')
param subscribers principal[]

@description('What the app may do on the whole namespace: Reader, or DataOwner in its place.')
@allowed(['Reader', 'DataOwner'])
param namespaceRole string

@description('Name of the storage account.')
param storageName string

@description('Name of the Application Insights component.')
param insightsName string

@description('Name of the Cosmos DB account.')
param cosmosName string

@description('Name of its database.')
param databaseName string

@description('Name of the Service Bus namespace.')
param serviceBusName string

@description('Name of the queue of events.')
param queueName string

@description('Name of the topic of access changes.')
param topicName string

@description('Name of the application\'s subscription.')
param subscriptionName string

@description('Name of the subscription that webhooks are sent from.')
param webhookSubscriptionName string

@description('Name of the queue of webhooks to be sent.')
param webhookQueueName string

// https://learn.microsoft.com/azure/role-based-access-control/built-in-roles
var blobOwner = subscriptionResourceId(
  'Microsoft.Authorization/roleDefinitions',
  'b7e6dc6d-f1e8-4753-8033-0f276bb0955b'
)
var tableContributor = subscriptionResourceId(
  'Microsoft.Authorization/roleDefinitions',
  '0a9a7e1f-b9d0-4cc4-a60d-0319b160aaa3'
)
var metricsPublisher = subscriptionResourceId(
  'Microsoft.Authorization/roleDefinitions',
  '3913510d-42f4-4e42-8a64-420c390055eb'
)
var reader = subscriptionResourceId(
  'Microsoft.Authorization/roleDefinitions',
  'acdd72a7-3385-48ef-bd42-f606fba81ae7'
)
var serviceBusOwner = subscriptionResourceId(
  'Microsoft.Authorization/roleDefinitions',
  '090c5cfd-751d-490a-894a-3ce6f1109419'
)
var serviceBusSender = subscriptionResourceId(
  'Microsoft.Authorization/roleDefinitions',
  '69a216fc-b8fb-44d8-bc22-1f3c2cd27a39'
)
var serviceBusReceiver = subscriptionResourceId(
  'Microsoft.Authorization/roleDefinitions',
  '4f6d3b9b-027b-4f4c-9142-0e5a2a2247e0'
)
// Cosmos DB's own roles, https://learn.microsoft.com/azure/cosmos-db/how-to-setup-rbac
var dataContributor = '00000000-0000-0000-0000-000000000002'

// The platform starts instances for the queue by its length, which it reads with the app's identity
// from the namespace. With rights on the queue alone it reads nothing, says nothing, and may start
// no instance for hours (https://github.com/Azure/azure-functions-host/issues/8261). Reader reads;
// there are no keys that it could list, as local authentication is off.
var namespaceRoleId = namespaceRole == 'DataOwner' ? serviceBusOwner : reader

resource storage 'Microsoft.Storage/storageAccounts@2025-06-01' existing = {
  name: storageName
}

resource insights 'Microsoft.Insights/components@2020-02-02' existing = {
  name: insightsName
}

resource cosmos 'Microsoft.DocumentDB/databaseAccounts@2025-04-15' existing = {
  name: cosmosName
}

resource namespace 'Microsoft.ServiceBus/namespaces@2024-01-01' existing = {
  name: serviceBusName
}

resource queue 'Microsoft.ServiceBus/namespaces/queues@2024-01-01' existing = {
  parent: namespace
  name: queueName
}

resource topic 'Microsoft.ServiceBus/namespaces/topics@2024-01-01' existing = {
  parent: namespace
  name: topicName
}

resource applicationSubscription 'Microsoft.ServiceBus/namespaces/topics/subscriptions@2024-01-01' existing = {
  parent: topic
  name: subscriptionName
}

resource webhookSubscription 'Microsoft.ServiceBus/namespaces/topics/subscriptions@2024-01-01' existing = {
  parent: topic
  name: webhookSubscriptionName
}

resource webhookQueue 'Microsoft.ServiceBus/namespaces/queues@2024-01-01' existing = {
  parent: namespace
  name: webhookQueueName
}

// The host keeps its leases and its code in blobs, and what it has to say of its own faults in
// tables. The containers are its own to make, hence the account.
resource appStorage 'Microsoft.Authorization/roleAssignments@2022-04-01' = [
  for id in [blobOwner, tableContributor]: {
    name: guid(storage.id, appPrincipalId, id)
    scope: storage
    properties: {
      roleDefinitionId: id
      principalId: appPrincipalId
      principalType: 'ServicePrincipal'
    }
  }
]

resource appInsights 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(insights.id, appPrincipalId, metricsPublisher)
  scope: insights
  properties: {
    roleDefinitionId: metricsPublisher
    principalId: appPrincipalId
    principalType: 'ServicePrincipal'
  }
}

resource appNamespace 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(namespace.id, appPrincipalId, namespaceRoleId)
  scope: namespace
  properties: {
    roleDefinitionId: namespaceRoleId
    principalId: appPrincipalId
    principalType: 'ServicePrincipal'
  }
}

resource appQueue 'Microsoft.Authorization/roleAssignments@2022-04-01' = [
  for id in [serviceBusReceiver, serviceBusSender]: {
    name: guid(queue.id, appPrincipalId, id)
    scope: queue
    properties: {
      roleDefinitionId: id
      principalId: appPrincipalId
      principalType: 'ServicePrincipal'
    }
  }
]

resource appWebhookQueue 'Microsoft.Authorization/roleAssignments@2022-04-01' = [
  for id in [serviceBusReceiver, serviceBusSender]: {
    name: guid(webhookQueue.id, appPrincipalId, id)
    scope: webhookQueue
    properties: {
      roleDefinitionId: id
      principalId: appPrincipalId
      principalType: 'ServicePrincipal'
    }
  }
]

resource appWebhookSubscription 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(webhookSubscription.id, appPrincipalId, serviceBusReceiver)
  scope: webhookSubscription
  properties: {
    roleDefinitionId: serviceBusReceiver
    principalId: appPrincipalId
    principalType: 'ServicePrincipal'
  }
}

resource appTopic 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(topic.id, appPrincipalId, serviceBusSender)
  scope: topic
  properties: {
    roleDefinitionId: serviceBusSender
    principalId: appPrincipalId
    principalType: 'ServicePrincipal'
  }
}

// Of the database, not of its one container: SDKs read the database's metadata as well
// (https://github.com/Azure/azure-cosmos-dotnet-v3/issues/3638).
resource appDatabase 'Microsoft.DocumentDB/databaseAccounts/sqlRoleAssignments@2025-04-15' = {
  parent: cosmos
  name: guid(cosmos.id, databaseName, appPrincipalId, dataContributor)
  properties: {
    roleDefinitionId: '${cosmos.id}/sqlRoleDefinitions/${dataContributor}'
    principalId: appPrincipalId
    scope: '${cosmos.id}/dbs/${databaseName}'
  }
}

@batchSize(1)
resource operatorDatabase 'Microsoft.DocumentDB/databaseAccounts/sqlRoleAssignments@2025-04-15' = [
  for operator in operators: {
    parent: cosmos
    name: guid(cosmos.id, databaseName, operator.principalId, dataContributor)
    properties: {
      roleDefinitionId: '${cosmos.id}/sqlRoleDefinitions/${dataContributor}'
      principalId: operator.principalId
      scope: '${cosmos.id}/dbs/${databaseName}'
    }
    dependsOn: [appDatabase] // the account takes one change of its roles at a time
  }
]

resource operatorReceives 'Microsoft.Authorization/roleAssignments@2022-04-01' = [
  for operator in operators: {
    name: guid(queue.id, operator.principalId, serviceBusReceiver)
    scope: queue
    properties: {
      roleDefinitionId: serviceBusReceiver
      principalId: operator.principalId
      principalType: operator.principalType
    }
  }
]

resource operatorSends 'Microsoft.Authorization/roleAssignments@2022-04-01' = [
  for operator in operators: {
    name: guid(queue.id, operator.principalId, serviceBusSender)
    scope: queue
    properties: {
      roleDefinitionId: serviceBusSender
      principalId: operator.principalId
      principalType: operator.principalType
    }
  }
]

// manage.py webhook test and resend.
resource operatorSendsWebhooks 'Microsoft.Authorization/roleAssignments@2022-04-01' = [
  for operator in operators: {
    name: guid(webhookQueue.id, operator.principalId, serviceBusSender)
    scope: webhookQueue
    properties: {
      roleDefinitionId: serviceBusSender
      principalId: operator.principalId
      principalType: operator.principalType
    }
  }
]

resource subscriberReceives 'Microsoft.Authorization/roleAssignments@2022-04-01' = [
  for subscriber in subscribers: {
    name: guid(applicationSubscription.id, subscriber.principalId, serviceBusReceiver)
    scope: applicationSubscription
    properties: {
      roleDefinitionId: serviceBusReceiver
      principalId: subscriber.principalId
      principalType: subscriber.principalType
    }
  }
]
