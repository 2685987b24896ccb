// The European stamp.
using 'main.bicep'

param stamp = 'eu'
param region = 'eu'
param location = 'westeurope' // without quota for zones there: swedencentral, northeurope

// Yours to fill in
param alertEmails = ['platform@example.com']
param operators = [] // people who run manage.py: [{ principalId: '<object id>', principalType: 'Group' }]
param subscribers = [] // the application's identities, which receive access changes
param publicUrl = '' // only with a gateway of your own in front
param proxies = 0 // gateways of your own in front
param regionUrls = {}
param entraAudiences = []
param entraApplications = []
param operatorDirectory = '' // yours, for programs that have an app role: docs/deploy.md
param operatorAudience = ''
param consoleClientId = '' // with one: a Key Vault, some cents a month
param vaultCreateMode = 'default'
param customDomain = ''
param certificate = 'managed' // 'none' on the first deployment of a new name; managed costs nothing
param certificateVaultId = ''
param certificateName = ''
param budgetAmount = 0 // tells, and stops nothing
param budgetStartDate = ''

// How safe
param zoneRedundant = true // the loss of a zone is not noticed; needs two ready instances of each kind
param cosmosZoneRedundant = true // costs nothing more with autoscale; a new subscription may have to ask for quota
param readLocations = [] // each costs the database again; see docs/deploy.md, Loss of a region
param exportLocation = 'northeurope' // some cents a month
param backupTier = 'Continuous30Days' // 0.20 dollars per GB and month; 7 days cost nothing
param databaseAccountName = '' // after a restore: the restored account's
param deleteLock = true
param vnetEnabled = false // about 740 dollars a month: Premium Service Bus, NAT gateway, endpoints
param vnetAddressPrefix = '10.40.0.0/22'
param frontDoor = false // about 330 dollars a month and its traffic
param firewallMode = 'Detection' // Prevention once its log shows nothing that it should not refuse
param namespaceRole = 'Reader'

// How large
param capacityMode = 'autoscale' // a tenth of maxThroughput is always paid: 35 dollars a month for 4,000
param maxThroughput = 4000
param alwaysReadyInstances = 2 // 21 dollars a month each, of 2,048 MB
param alwaysReadyReconcilers = 2 // the same
param maximumInstances = 100
param instanceMemoryMB = 2048
param requestsPerInstance = 32
param siteUpdateStrategy = 'Recreate'
param retentionDays = 400
param schemas = ''
param entitlementKinds = []

// What it says of itself
param availabilityTest = true // about 16 dollars a month
param logRetentionDays = 90 // beyond 31 days 0.10 dollars per GB and month
param logDailyCapGB = 10 // 2.76 dollars per GB
param traceShare = '0.1'
