// One page that shows how the stamp does, from the queries that the alerts use too.
targetScope = 'resourceGroup'

import { tagSet } from '../types.bicep'

@description('Azure region.')
param location string

@description('Tags.')
param tags tagSet

@description('Name of the stamp.')
param stamp string

@description('The Cosmos DB account.')
param cosmosId string

@description('The Service Bus namespace.')
param serviceBusId string

@description('The workspace that the queries run in.')
param workspaceId string

// type 3: a query; its own time range comes from the parameter at the top.
var charts = [
  {
    title: 'Requests by surface and status'
    query: loadTextContent('../queries/requests.kql')
    visualization: 'timechart'
  }
  {
    title: 'Latency (p50 and p99, milliseconds)'
    query: loadTextContent('../queries/latency.kql')
    visualization: 'timechart'
  }
  {
    title: 'Age of the oldest pending event (seconds)'
    query: loadTextContent('../queries/oldest-pending.kql')
    visualization: 'timechart'
  }
  {
    title: 'Tenants: what they ask, and what it costs the database'
    query: loadTextContent('../queries/tenants.kql')
    visualization: 'table'
  }
  {
    title: 'What failed'
    query: loadTextContent('../queries/failures.kql')
    visualization: 'table'
  }
]

// type 10: metrics as Azure keeps them for 93 days at no cost; they are not copied into the workspace.
// aggregation: 1 total, 3 maximum, 4 average, 7 count
var measures = [
  {
    title: 'Queue and subscription: waiting'
    resource: serviceBusId
    type: 'microsoft.servicebus/namespaces'
    metric: 'ActiveMessages'
    aggregation: 4
    splitBy: 'EntityName'
  }
  {
    title: 'Queue and subscription: dead-lettered'
    resource: serviceBusId
    type: 'microsoft.servicebus/namespaces'
    metric: 'DeadletteredMessages'
    aggregation: 3
    splitBy: 'EntityName'
  }
  {
    title: 'Database: share of the request units that may be used (percent)'
    resource: cosmosId
    type: 'microsoft.documentdb/databaseaccounts'
    metric: 'NormalizedRUConsumption'
    aggregation: 4
    splitBy: null
  }
  {
    title: 'Database: answers by status'
    resource: cosmosId
    type: 'microsoft.documentdb/databaseaccounts'
    metric: 'TotalRequests'
    aggregation: 7
    splitBy: 'StatusCode'
  }
]

var time = {
  type: 9
  content: {
    version: 'KqlParameterItem/1.0'
    parameters: [
      {
        id: guid('muster', 'time')
        version: 'KqlParameterItem/1.0'
        name: 'time'
        label: 'Time'
        type: 4
        isRequired: true
        value: {
          durationMs: 86400000
        }
      }
    ]
  }
  name: 'time'
}

var tiles = map(charts, chart => {
  type: 3
  content: {
    version: 'KqlItem/1.0'
    title: chart.title
    query: chart.query
    size: 0
    timeContextFromParameter: 'time'
    queryType: 0
    resourceType: 'microsoft.operationalinsights/workspaces'
    visualization: chart.visualization
  }
  name: chart.title
})

var gauges = map(measures, measure => {
  type: 10
  content: {
    version: 'MetricsItem/2.0'
    chartId: guid('muster', measure.title)
    title: measure.title
    size: 0
    chartType: 2
    timeContextFromParameter: 'time'
    resourceType: measure.type
    metricScope: 0
    resourceIds: [measure.resource]
    metrics: [
      {
        namespace: measure.type
        metric: '${measure.type}--${measure.metric}'
        aggregation: measure.aggregation
        splitBy: measure.splitBy
      }
    ]
  }
  name: measure.title
})

resource workbook 'Microsoft.Insights/workbooks@2023-06-01' = {
  name: guid(resourceGroup().id, 'muster', 'operations')
  location: location
  tags: tags
  kind: 'shared'
  properties: {
    displayName: 'Muster ${stamp}'
    category: 'workbook'
    version: 'Notebook/1.0'
    sourceId: workspaceId
    serializedData: string({
      version: 'Notebook/1.0'
      items: concat([time], tiles, gauges)
      fallbackResourceIds: [workspaceId]
    })
  }
}
