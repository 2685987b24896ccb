// What the code and the Functions host read: a test holds these names equal to settings.Settings and
// to local.settings.example.json. Nothing here is secret.
targetScope = 'resourceGroup'

import { urlsByRegion } from '../types.bicep'

@description('Name of the function app.')
param appName string

@description('Client id of the app\'s identity.')
param identityClientId string

@description('Name of the host\'s storage account.')
param storageName string

@description('Where telemetry goes.')
param insightsConnection string

@description('Host name of the Service Bus namespace.')
param serviceBusHost string

@description('URL of the Cosmos DB account.')
param cosmosEndpoint string

@description('Its database.')
param databaseName string

@description('The database\'s container.')
param containerName string

@description('Home region of the tenants of this stamp.')
@allowed(['eu', 'us'])
param region string

@description('Scheme and host that clients of this stamp address.')
param publicUrl string

@description('Region → scheme and host of the other stamps.')
param regionUrls urlsByRegion

@description('Audiences of Entra ID\'s own tokens; empty: the code\'s default.')
param entraAudiences string[]

@description('Applications that those tokens may be issued to; empty: the code\'s default.')
param entraApplications string[]

@description('Tenant ID of the vendor\'s own Entra ID directory; empty: none.')
param operatorDirectory string

@description('Application there that stands for Muster.')
param operatorAudience string

@description('Client id of the application that administrators sign in to; empty: no console.')
param consoleClientId string

@description('URL of the Key Vault that holds the console\'s secret; empty: no console.')
param vaultUri string

@description('Days for which events that are done are kept.')
@minValue(1)
param retentionDays int

@description('Folder of extension schemas inside the release; empty: none.')
param schemas string

@description('Kinds of entitlements, beside those that ship.')
param entitlementKinds string[]

@description('Share of the traces that are kept, 0 to 1.')
param traceShare string

@description('Requests a second that a tenant may send to one instance; 0: any number.')
@minValue(0)
param requestsPerSecond int

@description('Proxies that stand before the platform\'s own front end.')
@minValue(0)
param proxies int

@description('The container that the tenants\' files are copied to; empty: none.')
param exportUrl string

@description('Deliveries after which the queue dead-letters.')
@minValue(2)
param maxDeliveryCount int

resource app 'Microsoft.Web/sites@2025-03-01' existing = {
  name: appName
}

resource settings 'Microsoft.Web/sites/config@2025-03-01' = {
  parent: app
  name: 'appsettings'
  properties: {
    // The Functions host
    AzureWebJobsStorage__accountName: storageName
    AzureWebJobsStorage__credential: 'managedidentity'
    AzureWebJobsStorage__clientId: identityClientId
    AzureWebJobsDisableHomepage: 'true'
    FUNCTIONS_REQUEST_BODY_SIZE_LIMIT: '5242880' // bytes; the host's own is 100 MB, the code's 4 MB
    APPLICATIONINSIGHTS_CONNECTION_STRING: insightsConnection
    APPLICATIONINSIGHTS_AUTHENTICATION_STRING: 'ClientId=${identityClientId};Authorization=AAD'
    // The Service Bus trigger, and the code's own sender
    ServiceBusConnection__fullyQualifiedNamespace: serviceBusHost
    ServiceBusConnection__credential: 'managedidentity'
    ServiceBusConnection__clientId: identityClientId
    // Which identity the SDKs use
    AZURE_CLIENT_ID: identityClientId
    AZURE_TOKEN_CREDENTIALS: 'ManagedIdentityCredential' // DefaultAzureCredential tries nothing else first
    // Muster
    MUSTER_REGION: region
    MUSTER_PUBLIC_URL: publicUrl
    MUSTER_REGION_URLS: string(regionUrls)
    MUSTER_SCHEMAS: schemas
    MUSTER_ENTITLEMENT_KINDS: string(entitlementKinds)
    MUSTER_ENTRA_LOGIN_URL: environment().authentication.loginEndpoint
    MUSTER_ENTRA_ISSUER_URL: ''
    MUSTER_ENTRA_AUDIENCES: empty(entraAudiences) ? '' : string(entraAudiences)
    MUSTER_ENTRA_APPLICATIONS: empty(entraApplications) ? '' : string(entraApplications)
    MUSTER_OPERATOR_DIRECTORY: operatorDirectory
    MUSTER_OPERATOR_AUDIENCE: operatorAudience
    MUSTER_CONSOLE_CLIENT_ID: consoleClientId
    MUSTER_CONSOLE_AUTHORITY: '${environment().authentication.loginEndpoint}organizations/v2.0'
    MUSTER_CONSOLE_CLIENT_SECRET: empty(vaultUri)
      ? ''
      : '@Microsoft.KeyVault(SecretUri=${vaultUri}secrets/console-client-secret)'
    MUSTER_COSMOS_ENDPOINT: cosmosEndpoint
    MUSTER_COSMOS_DATABASE: databaseName
    MUSTER_COSMOS_CONTAINER: containerName
    MUSTER_RELAY_AFTER_SECONDS: '60'
    MUSTER_RELAY_APPLY_SECONDS: '120'
    MUSTER_REQUESTS_PER_SECOND: string(requestsPerSecond)
    MUSTER_REQUEST_SECONDS: '90'
    MUSTER_HSTS_SUBDOMAINS: 'false'
    MUSTER_PROXIES: string(proxies)
    MUSTER_EXPORT_URL: exportUrl
    MUSTER_TRACE_SHARE: traceShare
    MUSTER_RETENTION_DAYS: string(retentionDays)
    MUSTER_MAX_DELIVERY_COUNT: string(maxDeliveryCount)
  }
}
