// What somebody must hear of. docs/operate.md says for each alert what to look at and what to do.
targetScope = 'resourceGroup'

import { tagSet } from '../types.bicep'

@description('Suffix of the resources\' names.')
param suffix string

@description('Azure region of the log queries.')
param location string

@description('Tags.')
param tags tagSet

@description('Who is told.')
@minLength(1)
param emails string[]

@description('The Application Insights component, which asks from outside whether the app answers.')
param insightsId string

@description('URL that it asks; empty: it does not.')
param healthUrl string

@description('Places that it asks from, at least three.')
@minLength(3)
param testLocations string[]

@description('The Cosmos DB account.')
param cosmosId string

@description('The Service Bus namespace.')
param serviceBusId string

@description('The workspace that the log queries run in.')
param workspaceId string

@description('Messages waiting in queue or subscription that are too many.')
@minValue(1)
param waitingMessages int = 5000

// Severity: 1 customers' access is or will soon be wrong; 2 it will be if nobody looks; 3 look soon.
var metrics = [
  {
    name: 'dead-letters'
    description: 'A message was given up: an event is not applied, or the application did not take a change of access.'
    severity: 1
    resource: serviceBusId
    namespace: 'Microsoft.ServiceBus/namespaces'
    metric: 'DeadletteredMessages'
    aggregation: 'Maximum'
    threshold: 0
    window: 'PT5M'
    dimensions: [{ name: 'EntityName', operator: 'Include', values: ['*'] }]
  }
  {
    name: 'queue-length'
    description: 'Messages wait: the reconciler, or the application that receives access changes, does not keep up.'
    severity: 2
    resource: serviceBusId
    namespace: 'Microsoft.ServiceBus/namespaces'
    metric: 'ActiveMessages'
    aggregation: 'Average'
    threshold: waitingMessages
    window: 'PT15M'
    dimensions: [{ name: 'EntityName', operator: 'Include', values: ['*'] }]
  }
  {
    name: 'queue-throttled'
    description: 'Service Bus refuses requests because there are too many.'
    severity: 2
    resource: serviceBusId
    namespace: 'Microsoft.ServiceBus/namespaces'
    metric: 'ThrottledRequests'
    aggregation: 'Total'
    threshold: 10
    window: 'PT5M'
    dimensions: []
  }
  {
    name: 'queue-errors'
    description: 'Service Bus fails on its own side.'
    severity: 3
    resource: serviceBusId
    namespace: 'Microsoft.ServiceBus/namespaces'
    metric: 'ServerErrors'
    aggregation: 'Total'
    threshold: 10
    window: 'PT5M'
    dimensions: []
  }
  {
    name: 'request-units'
    description: 'The database is near what it may use: above 100 % it refuses requests.'
    severity: 3
    resource: cosmosId
    namespace: 'Microsoft.DocumentDB/databaseAccounts'
    metric: 'NormalizedRUConsumption'
    aggregation: 'Average' // the maximum is 100 % for a peak of one second
    threshold: 70
    window: 'PT15M'
    dimensions: []
  }
  {
    name: 'database-throttled'
    description: 'Cosmos DB answers 429. Muster repeats such requests, and then answers 429 itself.'
    severity: 2
    resource: cosmosId
    namespace: 'Microsoft.DocumentDB/databaseAccounts'
    metric: 'TotalRequests'
    aggregation: 'Count'
    threshold: 100
    window: 'PT5M'
    dimensions: [{ name: 'StatusCode', operator: 'Include', values: ['429'] }]
  }
]

var logs = [
  {
    name: 'oldest-pending'
    description: 'An event has been waiting for more than ten minutes: somebody\'s access is not what it should be.'
    severity: 1
    query: loadTextContent('../queries/oldest-pending.kql')
    aggregation: 'Maximum'
    column: 'seconds'
    operator: 'GreaterThan'
    threshold: 600
    window: 'PT10M'
    frequency: 'PT5M'
    dimensions: []
  }
  {
    name: 'queue-asleep'
    description: 'The timer reconciled events that the queue had not brought in two minutes: access comes late until its trigger wakes.'
    severity: 2
    query: loadTextContent('../queries/applied-by-timer.kql')
    aggregation: 'Total'
    column: 'events'
    operator: 'GreaterThan'
    threshold: 0
    window: 'PT15M'
    frequency: 'PT5M'
    dimensions: []
  }
  {
    name: 'relay-silent'
    description: 'The timer that re-sends events has not run for a quarter of an hour.'
    severity: 1
    query: loadTextContent('../queries/oldest-pending.kql')
    aggregation: 'Count'
    column: null
    operator: 'LessThan'
    threshold: 1
    window: 'PT15M'
    frequency: 'PT5M'
    dimensions: []
  }
  {
    name: 'failed-requests'
    description: 'A surface answers 5xx.'
    severity: 1
    query: loadTextContent('../queries/failed-requests.kql')
    aggregation: 'Count'
    column: null
    operator: 'GreaterThan'
    threshold: 5
    window: 'PT5M'
    frequency: 'PT5M'
    dimensions: [{ name: 'surface', operator: 'Include', values: ['*'] }]
  }
  {
    name: 'refused-tokens'
    description: 'A burst of 401: a customer\'s token ran out, or somebody tries tokens.'
    severity: 3
    query: loadTextContent('../queries/refused-tokens.kql')
    aggregation: 'Count'
    column: null
    operator: 'GreaterThan'
    threshold: 100
    window: 'PT15M'
    frequency: 'PT5M'
    dimensions: [{ name: 'surface', operator: 'Include', values: ['*'] }]
  }
  {
    name: 'logs-stopped'
    description: 'The workspace takes no more logs today: every alert on a log query is blind.'
    severity: 1
    query: loadTextContent('../queries/logs-stopped.kql')
    aggregation: 'Count'
    column: null
    operator: 'GreaterThan'
    threshold: 0
    window: 'PT30M'
    frequency: 'PT15M'
    dimensions: []
  }
  {
    name: 'webhook-disabled'
    description: 'An endpoint of the application took no webhooks for three days, or said that it is gone: it is sent nothing more.'
    severity: 2
    query: loadTextContent('../queries/webhooks-disabled.kql')
    aggregation: 'Total'
    column: 'endpoints'
    operator: 'GreaterThan'
    threshold: 0
    window: 'PT1H'
    frequency: 'PT15M'
    dimensions: []
  }
  {
    name: 'mass-loss'
    description: 'By one change, many users of a tenant lost some of their access.'
    severity: 2
    query: loadTextContent('../queries/mass-loss.kql')
    aggregation: 'Total'
    column: 'events'
    operator: 'GreaterThan'
    threshold: 0
    window: 'PT15M'
    frequency: 'PT5M'
    dimensions: []
  }
  {
    name: 'tenant-size'
    description: 'A tenant has more than 14 GB. At 20 GB, its writes fail.'
    severity: 2
    query: loadTextContent('../queries/tenant-size.kql')
    aggregation: 'Count'
    column: null
    operator: 'GreaterThan'
    threshold: 0
    window: 'P1D'
    frequency: 'PT1H'
    dimensions: [{ name: 'tenant', operator: 'Include', values: ['*'] }]
  }
]

resource people 'Microsoft.Insights/actionGroups@2023-01-01' = {
  name: 'ag-muster-${suffix}'
  location: 'global'
  tags: tags
  properties: {
    groupShortName: 'muster'
    enabled: true
    emailReceivers: [
      for email in emails: {
        name: email
        emailAddress: email
        useCommonAlertSchema: true
      }
    ]
  }
}

resource metricAlerts 'Microsoft.Insights/metricAlerts@2018-03-01' = [
  for alert in metrics: {
    name: 'muster-${suffix}-${alert.name}'
    location: 'global'
    tags: tags
    properties: {
      description: alert.description
      severity: alert.severity
      enabled: true
      scopes: [alert.resource]
      evaluationFrequency: 'PT5M'
      windowSize: alert.window
      autoMitigate: true
      criteria: {
        'odata.type': 'Microsoft.Azure.Monitor.SingleResourceMultipleMetricCriteria'
        allOf: [
          {
            criterionType: 'StaticThresholdCriterion'
            name: alert.name
            metricNamespace: alert.namespace
            metricName: alert.metric
            timeAggregation: alert.aggregation
            operator: 'GreaterThan'
            threshold: alert.threshold
            dimensions: alert.dimensions
          }
        ]
      }
      actions: [{ actionGroupId: people.id }]
    }
  }
]

// From outside, as Entra ID comes: the plan has no metric of failed requests
// (https://learn.microsoft.com/azure/azure-functions/monitor-functions-reference), and what never
// reaches the code is in no log.
resource outside 'Microsoft.Insights/webtests@2022-06-15' = if (!empty(healthUrl)) {
  name: 'muster-${suffix}-health'
  location: location
  tags: union(tags, { 'hidden-link:${insightsId}': 'Resource' }) // how the component finds its tests
  kind: 'standard'
  properties: {
    SyntheticMonitorId: 'muster-${suffix}-health'
    Name: 'muster-${suffix}-health'
    Description: 'Does the app answer, and does its database?'
    Enabled: true
    Kind: 'standard'
    Frequency: 300
    Timeout: 30
    RetryEnabled: true
    Locations: [for place in testLocations: { Id: place }]
    Request: {
      RequestUrl: healthUrl
      HttpVerb: 'GET'
      FollowRedirects: false
      ParseDependentRequests: false
    }
    ValidationRules: {
      ExpectedHttpStatusCode: 200
      SSLCheck: true
      SSLCertRemainingLifetimeCheck: 14
    }
  }
}

resource unavailable 'Microsoft.Insights/metricAlerts@2018-03-01' = if (!empty(healthUrl)) {
  name: 'muster-${suffix}-availability'
  location: 'global'
  tags: tags
  properties: {
    description: 'Seen from outside, the app or its database does not answer, or the certificate ends within two weeks.'
    severity: 1
    enabled: true
    scopes: [outside.id, insightsId]
    evaluationFrequency: 'PT5M'
    windowSize: 'PT15M'
    autoMitigate: true
    criteria: {
      'odata.type': 'Microsoft.Azure.Monitor.WebtestLocationAvailabilityCriteria'
      webTestId: outside.id
      componentId: insightsId
      failedLocationCount: 2
    }
    actions: [{ actionGroupId: people.id }]
  }
}

// Cosmos DB counts its own availability by the hour.
resource availability 'Microsoft.Insights/metricAlerts@2018-03-01' = {
  name: 'muster-${suffix}-database-availability'
  location: 'global'
  tags: tags
  properties: {
    description: 'Cosmos DB answers fewer requests than it promises.'
    severity: 1
    enabled: true
    scopes: [cosmosId]
    evaluationFrequency: 'PT1H'
    windowSize: 'PT1H'
    autoMitigate: true
    criteria: {
      'odata.type': 'Microsoft.Azure.Monitor.SingleResourceMultipleMetricCriteria'
      allOf: [
        {
          criterionType: 'StaticThresholdCriterion'
          name: 'database-availability'
          metricNamespace: 'Microsoft.DocumentDB/databaseAccounts'
          metricName: 'ServiceAvailability'
          timeAggregation: 'Average'
          operator: 'LessThan'
          threshold: 99
        }
      ]
    }
    actions: [{ actionGroupId: people.id }]
  }
}

resource logAlerts 'Microsoft.Insights/scheduledQueryRules@2022-06-15' = [
  for alert in logs: {
    name: 'muster-${suffix}-${alert.name}'
    location: location
    tags: tags
    kind: 'LogAlert'
    properties: {
      displayName: 'muster-${suffix}-${alert.name}'
      description: alert.description
      severity: alert.severity
      enabled: true
      scopes: [workspaceId]
      evaluationFrequency: alert.frequency
      windowSize: alert.window
      autoMitigate: true
      skipQueryValidation: true // the tables are there once the app has logged something
      criteria: {
        allOf: [
          {
            query: alert.query
            timeAggregation: alert.aggregation
            metricMeasureColumn: alert.column
            dimensions: alert.dimensions
            operator: alert.operator
            threshold: alert.threshold
            failingPeriods: {
              numberOfEvaluationPeriods: 1
              minFailingPeriodsToAlert: 1
            }
          }
        ]
      }
      actions: {
        actionGroups: [people.id]
      }
    }
  }
]
