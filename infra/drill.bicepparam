// A stamp for the restore drill (docs/deploy.md): it serves a restored copy of another stamp's
// database for an hour, beside that stamp, and is then deleted.
using 'main.bicep'

param stamp = 'drill'
param region = readEnvironmentVariable('DRILL_REGION', 'eu') // the home region of the tenants in the copy
param location = readEnvironmentVariable('DRILL_LOCATION', 'westeurope') // where the backup is
param databaseAccountName = readEnvironmentVariable('DRILL_ACCOUNT', '') // the restored account

// Who hears of alerts, and who runs manage.py against the copy
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
param capacityMode = 'autoscale' // as the account that it was copied from
param backupTier = 'Continuous7Days' // of the copy
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
