// The app under a name of your own. Azure wants two deployments for a certificate of its own
// making: it proves the name by asking the app under it, so that the name comes first
// (`certificate` none) and the certificate afterwards. DNS must have the CNAME and the TXT record
// asuid.<name> before; docs/deploy.md has the order.
targetScope = 'resourceGroup'

import { certificateSource, tagSet } from '../types.bicep'

@description('Name of the function app.')
param appName string

@description('Azure region.')
param location string

@description('Tags.')
param tags tagSet

@description('Host name, such as eu.muster.example.com.')
param hostName string

@description('Where its certificate comes from.')
param certificate certificateSource

@description('Resource id of the Key Vault that holds the certificate, where it comes from there.')
param vaultId string

@description('Name of the certificate in it.')
param certificateName string

resource app 'Microsoft.Web/sites@2025-03-01' existing = {
  name: appName
}

// Of the site: the plan takes no others (https://github.com/hashicorp/terraform-provider-azurerm/issues/31884).
resource siteCertificate 'Microsoft.Web/sites/certificates@2025-03-01' = if (certificate != 'none') {
  parent: app
  name: 'cert-${replace(hostName, '.', '-')}'
  location: location
  tags: tags
  properties: certificate == 'keyVault'
    ? {
        keyVaultId: vaultId
        keyVaultSecretName: certificateName
      }
    : {
        canonicalName: hostName
      }
}

resource binding 'Microsoft.Web/sites/hostNameBindings@2025-03-01' = {
  parent: app
  name: hostName
  properties: {
    siteName: appName
    hostNameType: 'Verified'
    customHostNameDnsRecordType: 'CName'
    sslState: certificate == 'none' ? 'Disabled' : 'SniEnabled'
    thumbprint: certificate == 'none' ? null : siteCertificate!.properties.thumbprint
  }
}
