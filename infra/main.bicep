// One stamp of Muster: everything that one region needs, in a resource group of its own.
//
//   az deployment sub create --name muster-eu --location westeurope --parameters infra/eu.bicepparam
//
// docs/deploy.md tells the rest.
targetScope = 'subscription'

import { certificateSource, principal, tagSet, urlsByRegion } from 'types.bicep'

@description('Name of the stamp; part of every resource\'s name, of which a Key Vault\'s may have 24 characters.')
@minLength(2)
@maxLength(7)
param stamp string

@description('Home region of the tenants that this stamp serves.')
@allowed(['eu', 'us'])
param region string

@description('Azure region of every resource.')
param location string

@description('The azd environment; azd finds its resource group by it.')
param environmentName string = stamp

@description('Tags of every resource, beside those that say which stamp it belongs to.')
param tags tagSet = {}

@description('Scheme and host that clients of this stamp address, such as https://eu.muster.example.com. Empty: the custom domain, or else Front Door\'s name, or else the function app\'s own.')
param publicUrl string = ''

@description('Region → scheme and host of the other stamps, so that a tenant of another region is told the right URL: { us: \'https://us.muster.example.com\' }')
param regionUrls urlsByRegion = {}

@description('Audiences of Entra ID\'s own tokens; empty: that of every non-gallery application. An application in the gallery has its own.')
param entraAudiences string[] = []

@description('Applications that those tokens may be issued to; empty: Entra ID\'s provisioning service.')
param entraApplications string[] = []

@description('Tenant ID of your own Entra ID directory, whose applications may read access or manage tenants by an app role; empty: none.')
param operatorDirectory string = ''

@description('Application ID, or its URI, of the application in that directory that stands for Muster and has the app roles Access.Read.All and Tenants.ReadWrite.All.')
param operatorAudience string = ''

@description('Client id of the application in Entra ID that administrators sign in to; empty: no console. Its secret goes into the stamp\'s Key Vault.')
param consoleClientId string = ''

@description('What to do where a Key Vault of this name was deleted: recover brings it back with its secret, default refuses. A deleted vault keeps its name for 90 days.')
@allowed(['default', 'recover'])
param vaultCreateMode string = 'default'

@description('Spread app, storage and network over the region\'s availability zones.')
param zoneRedundant bool

@description('Spread the database over them, too. New subscriptions are refused this in busy regions until they ask for quota, and a region that an account has cannot change it.')
param cosmosZoneRedundant bool

@description('Azure regions that keep a replica of the database. Under strong consistency a write waits for them, and with a single one an outage there stops writes: none, or two and more.')
param readLocations string[] = []

@description('Azure region of the same geography that keeps copies of the tenants\' settings for 30 days; empty: none.')
param exportLocation string = ''

@description('Cosmos DB is paid per request (serverless) or follows the load up to maxThroughput (autoscale).')
@allowed(['autoscale', 'serverless'])
param capacityMode string

@description('Request units a second that autoscale may reach; a tenth of it is always paid.')
@minValue(1000)
@maxValue(1000000)
param maxThroughput int = 4000

@description('Name of the Cosmos DB account; empty: the stamp\'s own. After a restore, the restored account\'s.')
@maxLength(44)
param databaseAccountName string = ''

@description('How far back the database can be restored.')
@allowed(['Continuous7Days', 'Continuous30Days'])
param backupTier string

@description('Days for which events that are done and changes of access are kept.')
@minValue(1)
@maxValue(3650)
param retentionDays int = 400

@description('Folder of extension schemas inside the release; empty: none.')
param schemas string = ''

@description('Kinds of entitlements, beside those that ship.')
param entitlementKinds string[] = []

@description('Instances that always run for HTTP, so that Entra ID never waits for a cold start. With zones 2 or more.')
@minValue(0)
@maxValue(20)
param alwaysReadyInstances int

@description('Instances that always run for the queue of events, so that access follows at once and whether the platform wakes one or not. With zones 2 or more.')
@minValue(0)
@maxValue(20)
param alwaysReadyReconcilers int

@description('Requests that an instance is given at once. Azure\'s own number for Python is 1.')
@minValue(1)
@maxValue(1000)
param requestsPerInstance int = 32

@description('How running instances give way to new code or settings: Recreate ends all at once, RollingUpdate (a preview) one after the other.')
@allowed(['Recreate', 'RollingUpdate'])
param siteUpdateStrategy string = 'Recreate'

@description('The most instances that the app may scale out to.')
@minValue(1)
@maxValue(1000)
param maximumInstances int = 100

@description('Memory of an instance.')
@allowed([512, 2048, 4096])
param instanceMemoryMB int = 2048

@description('What the app may do on the Service Bus namespace beside sending and receiving. Reader lets the platform see the length of the queue; DataOwner is for a subscription in which that is not enough (docs/operate.md, queue-length).')
@allowed(['Reader', 'DataOwner'])
param namespaceRole string = 'Reader'

@description('Put Azure Front Door and its firewall before the app, which then answers to nobody else.')
param frontDoor bool = false

@description('What the firewall\'s managed rules do: Detection logs, Prevention refuses.')
@allowed(['Detection', 'Prevention'])
param firewallMode string = 'Detection'

@description('Put database, queue and storage behind private endpoints. Service Bus is then Premium.')
param vnetEnabled bool = false

@description('Address space of the virtual network, a /22 or larger.')
param vnetAddressPrefix string = '10.40.0.0/22'

@description('Days for which logs are kept.')
@minValue(30)
@maxValue(730)
param logRetentionDays int

@description('Gigabytes of logs a day after which the workspace stops taking any; -1: no limit.')
@minValue(-1)
param logDailyCapGB int = -1

@description('Share of the traces that are kept, 0 to 1. Requests are counted whole, whatever it is.')
param traceShare string = '1'

@description('Requests a second that a tenant may send to one instance; 0: any number.')
@minValue(0)
param requestsPerSecond int = 200

@description('Proxies of your own before the app, such as a gateway, beside Front Door: by them the log knows which network a request came from.')
@minValue(0)
param proxies int = 0

@description('Who is told when an alert fires, and when the budget is reached.')
@minLength(1)
param alertEmails string[]

@description('Who may run manage.py against this stamp: objects of principalId and principalType (Group, User, ServicePrincipal).')
param operators principal[] = []

@description('The application\'s own identities, which receive access changes: objects of principalId and principalType.')
param subscribers principal[] = []

@description('Ask from three places of the continent every five minutes whether the stamp answers, and alert when it does not. Costs about 16 dollars a month, and keeps an idle stamp awake.')
param availabilityTest bool = true

@description('Refuse to delete anything in the resource group.')
param deleteLock bool

@description('Monthly budget in the subscription\'s currency; 0: none.')
@minValue(0)
param budgetAmount int = 0

@description('First day of the month in which the budget was first deployed (yyyy-MM-01). Azure does not let it change.')
param budgetStartDate string = ''

@description('Host name of your own, such as eu.muster.example.com, for Front Door where there is one, else for the app.')
param customDomain string = ''

@description('Where the custom domain\'s certificate comes from. A new name needs a deployment with none first; see docs/deploy.md.')
param certificate certificateSource = 'managed'

@description('Resource id of the Key Vault that holds the custom domain\'s certificate, where it comes from one.')
param certificateVaultId string = ''

@description('Name of that certificate in the Key Vault.')
param certificateName string = ''

var allTags = union(tags, {
  application: 'muster'
  stamp: stamp
  region: region
  'azd-env-name': environmentName
})

resource group 'Microsoft.Resources/resourceGroups@2025-04-01' = {
  name: 'rg-muster-${stamp}'
  location: location
  tags: allTags
}

// Stable for a subscription and a stamp, different everywhere else.
var suffix = '${stamp}-${take(uniqueString(group.id), 6)}'
var vaultName = empty(consoleClientId) ? '' : 'kv-muster-${suffix}'
// The queue dead-letters after as many deliveries as the code takes for the last one.
var maxDeliveryCount = 10

module monitoring 'modules/monitoring.bicep' = {
  scope: group
  params: {
    suffix: suffix
    location: location
    tags: allTags
    retentionDays: logRetentionDays
    dailyCapGB: logDailyCapGB
  }
}

module identity 'modules/identity.bicep' = {
  scope: group
  params: {
    name: 'id-muster-${suffix}'
    location: location
    tags: allTags
  }
}

module storage 'modules/storage.bicep' = {
  scope: group
  params: {
    name: 'stmuster${replace(suffix, '-', '')}'
    location: location
    tags: allTags
    zoneRedundant: zoneRedundant
    privateOnly: vnetEnabled
    workspaceId: monitoring.outputs.workspaceId
  }
}

module cosmos 'modules/cosmos.bicep' = {
  scope: group
  params: {
    name: empty(databaseAccountName) ? 'cosmos-muster-${suffix}' : databaseAccountName
    location: location
    tags: allTags
    zoneRedundant: cosmosZoneRedundant
    readLocations: readLocations
    privateOnly: vnetEnabled
    capacityMode: capacityMode
    maxThroughput: maxThroughput
    backupTier: backupTier
    workspaceId: monitoring.outputs.workspaceId
  }
}

module serviceBus 'modules/servicebus.bicep' = {
  scope: group
  params: {
    name: 'sb-muster-${suffix}'
    location: location
    tags: allTags
    zoneRedundant: zoneRedundant
    privateOnly: vnetEnabled
    maxDeliveryCount: maxDeliveryCount
    workspaceId: monitoring.outputs.workspaceId
  }
}

module vault 'modules/keyvault.bicep' = if (!empty(consoleClientId)) {
  scope: group
  params: {
    name: vaultName
    createMode: vaultCreateMode
    location: location
    tags: allTags
    privateOnly: vnetEnabled
    appPrincipalId: identity.outputs.principalId
    operators: operators
    workspaceId: monitoring.outputs.workspaceId
  }
}

module exports 'modules/exports.bicep' = if (!empty(exportLocation)) {
  scope: group
  params: {
    name: 'stexport${replace(suffix, '-', '')}'
    location: exportLocation
    tags: allTags
    privateOnly: vnetEnabled
    appPrincipalId: identity.outputs.principalId
    workspaceId: monitoring.outputs.workspaceId
  }
}

module roles 'modules/roles.bicep' = {
  scope: group
  params: {
    appPrincipalId: identity.outputs.principalId
    operators: operators
    subscribers: subscribers
    namespaceRole: namespaceRole
    storageName: storage.outputs.name
    insightsName: monitoring.outputs.insightsName
    cosmosName: cosmos.outputs.name
    databaseName: cosmos.outputs.database
    serviceBusName: serviceBus.outputs.name
    queueName: serviceBus.outputs.queue
    topicName: serviceBus.outputs.topic
    subscriptionName: serviceBus.outputs.subscription
    webhookSubscriptionName: serviceBus.outputs.webhookSubscription
    webhookQueueName: serviceBus.outputs.webhookQueue
  }
}

module network 'modules/network.bicep' = if (vnetEnabled) {
  scope: group
  params: {
    suffix: suffix
    location: location
    tags: allTags
    addressPrefix: vnetAddressPrefix
    zoneRedundant: zoneRedundant
  }
}

// Cosmos DB takes one change of an account at a time: its endpoint waits for its roles.
module endpoints 'modules/endpoints.bicep' = if (vnetEnabled) {
  scope: group
  params: {
    suffix: suffix
    location: location
    tags: allTags
    networkId: network!.outputs.id
    subnetId: network!.outputs.endpointSubnetId
    services: concat(
      [
        {
          name: 'cosmos'
          serviceId: cosmos.outputs.id
          groupId: 'Sql'
          zone: 'privatelink.documents.azure.com'
        }
        {
          name: 'servicebus'
          serviceId: serviceBus.outputs.id
          groupId: 'namespace'
          zone: 'privatelink.servicebus.windows.net'
        }
        {
          name: 'blob'
          serviceId: storage.outputs.id
          groupId: 'blob'
          zone: 'privatelink.blob.${environment().suffixes.storage}'
        }
        {
          name: 'table'
          serviceId: storage.outputs.id
          groupId: 'table'
          zone: 'privatelink.table.${environment().suffixes.storage}'
        }
      ],
      empty(vaultName)
        ? []
        : [
            {
              name: 'vault'
              serviceId: vault!.outputs.id
              groupId: 'vault'
              zone: 'privatelink.vaultcore.azure.net'
            }
          ],
      empty(exportLocation)
        ? []
        : [
            {
              name: 'exports'
              serviceId: exports!.outputs.id
              groupId: 'blob'
              zone: 'privatelink.blob.${environment().suffixes.storage}'
            }
          ]
    )
  }
  dependsOn: [roles]
}

module frontDoorProfile 'modules/frontdoor.bicep' = if (frontDoor) {
  scope: group
  params: {
    suffix: suffix
    tags: allTags
    firewallMode: firewallMode
    workspaceId: monitoring.outputs.workspaceId
  }
}

module app 'modules/functionapp.bicep' = {
  scope: group
  params: {
    suffix: suffix
    location: location
    tags: allTags
    zoneRedundant: zoneRedundant
    identityId: identity.outputs.id
    releasesUrl: storage.outputs.releasesUrl
    alwaysReadyInstances: alwaysReadyInstances
    alwaysReadyReconcilers: alwaysReadyReconcilers
    requestsPerInstance: requestsPerInstance
    siteUpdateStrategy: siteUpdateStrategy
    frontDoorId: frontDoor ? frontDoorProfile!.outputs.frontDoorId : ''
    maximumInstances: maximumInstances
    instanceMemoryMB: instanceMemoryMB
    subnetId: vnetEnabled ? network!.outputs.appSubnetId : ''
  }
  dependsOn: [roles, endpoints] // its host reads storage and queue as soon as it starts
}

var healthPath = '/health'

module frontDoorRoute 'modules/frontdoorroute.bicep' = if (frontDoor) {
  scope: group
  params: {
    suffix: suffix
    tags: allTags
    profileName: frontDoorProfile!.outputs.name
    firewallId: frontDoorProfile!.outputs.firewallId
    appHostName: app.outputs.hostName
    healthPath: healthPath
    customDomain: customDomain
  }
}

// Reachable as soon as it is deployed, whatever DNS says
var ownUrl = 'https://${frontDoor ? frontDoorRoute!.outputs.hostName : app.outputs.hostName}'
var tenantHost = !empty(publicUrl) ? publicUrl : empty(customDomain) ? ownUrl : 'https://${customDomain}'

module settings 'modules/settings.bicep' = {
  scope: group
  params: {
    appName: app.outputs.name
    identityClientId: identity.outputs.clientId
    storageName: storage.outputs.name
    insightsConnection: monitoring.outputs.insightsConnection
    serviceBusHost: serviceBus.outputs.host
    cosmosEndpoint: cosmos.outputs.endpoint
    databaseName: cosmos.outputs.database
    containerName: cosmos.outputs.container
    region: region
    publicUrl: tenantHost
    regionUrls: regionUrls
    entraAudiences: entraAudiences
    entraApplications: entraApplications
    operatorDirectory: operatorDirectory
    operatorAudience: operatorAudience
    consoleClientId: consoleClientId
    vaultUri: empty(consoleClientId) ? '' : vault!.outputs.uri
    retentionDays: retentionDays
    schemas: schemas
    entitlementKinds: entitlementKinds
    traceShare: traceShare
    requestsPerSecond: requestsPerSecond
    proxies: proxies + (frontDoor ? 1 : 0)
    exportUrl: empty(exportLocation) ? '' : exports!.outputs.containerUrl
    maxDeliveryCount: maxDeliveryCount
  }
}

module domain 'modules/domain.bicep' = if (!empty(customDomain) && !frontDoor) {
  scope: group
  params: {
    appName: app.outputs.name
    location: location
    tags: allTags
    hostName: customDomain
    certificate: certificate
    vaultId: certificateVaultId
    certificateName: certificateName
  }
  dependsOn: [settings] // a site takes one change at a time
}

// https://learn.microsoft.com/azure/azure-monitor/app/availability#location-population-tags
var testLocations = {
  eu: ['emea-nl-ams-azr', 'emea-gb-db3-azr', 'emea-fr-pra-edge'] // West Europe, North Europe, France Central
  us: ['us-va-ash-azr', 'us-il-ch1-azr', 'us-tx-sn1-azr'] // East, North Central and South Central US
}

module alerts 'modules/alerts.bicep' = {
  scope: group
  params: {
    suffix: suffix
    location: location
    tags: allTags
    emails: alertEmails
    insightsId: monitoring.outputs.insightsId
    healthUrl: availabilityTest ? '${tenantHost}${healthPath}' : ''
    testLocations: testLocations[region]
    cosmosId: cosmos.outputs.id
    serviceBusId: serviceBus.outputs.id
    workspaceId: monitoring.outputs.workspaceId
  }
}

module workbook 'modules/workbook.bicep' = {
  scope: group
  params: {
    cosmosId: cosmos.outputs.id
    serviceBusId: serviceBus.outputs.id
    location: location
    tags: allTags
    stamp: stamp
    workspaceId: monitoring.outputs.workspaceId
  }
}

module lock 'modules/lock.bicep' = if (deleteLock) {
  scope: group
  dependsOn: [settings, domain, frontDoorRoute, alerts, workbook] // last: a deployment may replace what it made
}

module budget 'modules/budget.bicep' = if (budgetAmount > 0) {
  scope: group
  params: {
    amount: max(budgetAmount, 1)
    startDate: budgetStartDate
    emails: alertEmails
  }
}

@description('The stamp\'s resource group.')
output resourceGroupName string = group.name

@description('The function app that releases are deployed to.')
output functionAppName string = app.outputs.name

@description('Scheme and host that answer without your DNS: the function app\'s own, or Front Door\'s where it stands before the app.')
output functionAppUrl string = ownUrl

@description('What a customer pastes into Entra ID.')
output tenantUrl string = '${tenantHost}/scim'

@description('The Key Vault of the console\'s secret; empty: no console.')
output vaultName string = vaultName

@description('The Cosmos DB account, for backups.')
output cosmosName string = cosmos.outputs.name

@description('The container of the tenants\' exports; empty: none.')
output exportUrl string = empty(exportLocation) ? '' : exports!.outputs.containerUrl

@description('MUSTER_COSMOS_ENDPOINT for manage.py.')
output cosmosEndpoint string = cosmos.outputs.endpoint

@description('ServiceBusConnection__fullyQualifiedNamespace for manage.py, and for who receives access changes.')
output serviceBusHost string = serviceBus.outputs.host
