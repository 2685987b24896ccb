// A stamp to try things in: one zone, nothing that costs while nobody uses it. `azd up` deploys
// this one, into a stamp and a region of its environment.
using 'main.bicep'

param stamp = 'test'
param region = 'eu'
param location = readEnvironmentVariable('AZURE_LOCATION', 'westeurope')
param environmentName = readEnvironmentVariable('AZURE_ENV_NAME', 'test')

// Yours to fill in (azd knows who you are: User, or ServicePrincipal in a pipeline)
param alertEmails = [readEnvironmentVariable('MUSTER_ALERT_EMAIL', 'platform@example.com')]
param operators = empty(readEnvironmentVariable('AZURE_PRINCIPAL_ID', ''))
  ? []
  : [
      {
        principalId: readEnvironmentVariable('AZURE_PRINCIPAL_ID', '')
        principalType: readEnvironmentVariable('AZURE_PRINCIPAL_TYPE', 'User') == 'ServicePrincipal'
          ? 'ServicePrincipal'
          : 'User'
      }
    ]

// How safe, how large: one zone, and nothing that costs while nobody uses it
param zoneRedundant = false
param cosmosZoneRedundant = false
param capacityMode = 'serverless'
param backupTier = 'Continuous7Days'
param retentionDays = 30
param schemas = ''
param entitlementKinds = []
param alwaysReadyInstances = 0
param alwaysReadyReconcilers = 0
param maximumInstances = 40
param instanceMemoryMB = 2048
param availabilityTest = false
param logRetentionDays = 30
param logDailyCapGB = 1
param traceShare = '1'
param deleteLock = false
