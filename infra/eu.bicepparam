// The European stamp.
using 'main.bicep'

param stamp = 'eu'
param region = 'eu'
param location = 'westeurope'

// Yours to fill in
param alertEmails = ['platform@example.com']
param operators = []
param subscribers = []
param publicUrl = ''
param regionUrls = {}
param entraAudiences = []
param entraApplications = []
param consoleClientId = ''
param customDomain = ''
param certificateVaultId = ''
param certificateName = ''
param budgetAmount = 0
param budgetStartDate = ''

// How large, how safe
param zoneRedundant = true
param capacityMode = 'autoscale'
param maxThroughput = 4000
param databaseAccountName = ''
param backupTier = 'Continuous30Days'
param retentionDays = 400
param schemas = ''
param entitlementKinds = []
param alwaysReadyInstances = 2
param maximumInstances = 100
param instanceMemoryMB = 2048
param targetBasedScaling = false
param vnetEnabled = false
param vnetAddressPrefix = '10.40.0.0/22'
param availabilityTest = true
param logRetentionDays = 90
param logDailyCapGB = 10
param traceShare = '0.1'
param deleteLock = true
