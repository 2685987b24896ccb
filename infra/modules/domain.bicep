// The app under a name of your own, with a certificate from Key Vault: the plan knows no
// certificates of App Service's making. DNS must have the CNAME and the TXT record asuid.<name>
// before; docs/deploy.md has the order.
targetScope = 'resourceGroup'

import { tagSet } from '../types.bicep'

@description('Name of the function app.')
param appName string

@description('The plan it runs on.')
param planId string

@description('Azure region.')
param location string

@description('Tags.')
param tags tagSet

@description('Host name, such as eu.muster.example.com.')
param hostName string

@description('Resource id of the Key Vault that holds the certificate.')
param vaultId string

@description('Name of the certificate in it.')
param certificateName string

resource app 'Microsoft.Web/sites@2025-03-01' existing = {
  name: appName
}

resource certificate 'Microsoft.Web/certificates@2025-03-01' = {
  name: 'cert-${hostName}'
  location: location
  tags: tags
  properties: {
    serverFarmId: planId
    keyVaultId: vaultId
    keyVaultSecretName: certificateName
  }
}

resource binding 'Microsoft.Web/sites/hostNameBindings@2025-03-01' = {
  parent: app
  name: hostName
  properties: {
    siteName: appName
    hostNameType: 'Verified'
    customHostNameDnsRecordType: 'CName'
    sslState: 'SniEnabled'
    thumbprint: certificate.properties.thumbprint
  }
}
