// Azure Front Door and its firewall, before the app: what stands in the way of a flood. The route to
// the app is in frontdoorroute.bicep, because the app must know this profile before it exists.
targetScope = 'resourceGroup'

import { tagSet } from '../types.bicep'

@description('Suffix of the resources\' names.')
param suffix string

@description('Tags.')
param tags tagSet

@description('Detection logs what the managed rules would refuse, Prevention refuses it.')
@allowed(['Detection', 'Prevention'])
param firewallMode string

@description('Where logs go.')
param workspaceId string

resource profile 'Microsoft.Cdn/profiles@2025-06-01' = {
  name: 'afd-muster-${suffix}'
  location: 'global'
  tags: tags
  sku: {
    name: 'Premium_AzureFrontDoor' // managed rules need it
  }
  properties: {
    originResponseTimeoutSeconds: 120 // longer than the code takes for a request (MUSTER_REQUEST_SECONDS)
  }
}

resource firewall 'Microsoft.Network/FrontDoorWebApplicationFirewallPolicies@2025-10-01' = {
  name: 'wafmuster${replace(suffix, '-', '')}'
  location: 'Global'
  tags: tags
  sku: {
    name: 'Premium_AzureFrontDoor'
  }
  properties: {
    policySettings: {
      enabledState: 'Enabled'
      mode: firewallMode
      requestBodyCheck: 'Enabled'
      // A query holds filters, and those hold people's names and addresses.
      logScrubbing: {
        state: 'Enabled'
        scrubbingRules: [
          {
            matchVariable: 'QueryStringArgNames'
            selectorMatchOperator: 'EqualsAny'
            state: 'Enabled'
          }
          {
            matchVariable: 'RequestBodyJsonArgNames'
            selectorMatchOperator: 'EqualsAny'
            state: 'Enabled'
          }
        ]
      }
    }
    customRules: {
      rules: [
        {
          // To the managed rules, `emails[type eq "work"]`, a quoted filter, PATCH and the content
          // type application/scim+json look like attacks. Their exclusions go by the names of
          // arguments and know no paths, so the rules as a whole leave SCIM out; there, every
          // request needs a token and a body that the code can parse.
          name: 'scim'
          priority: 100
          enabledState: 'Enabled'
          ruleType: 'MatchRule'
          action: 'Allow'
          matchConditions: [
            {
              matchVariable: 'RequestUri'
              operator: 'RegEx'
              matchValue: ['^(https?://[^/]+)?/scim/']
            }
          ]
        }
      ]
    }
    managedRules: {
      managedRuleSets: [
        {
          ruleSetType: 'Microsoft_DefaultRuleSet'
          ruleSetVersion: '2.1'
          ruleSetAction: 'Block'
        }
        {
          ruleSetType: 'Microsoft_BotManagerRuleSet'
          ruleSetVersion: '1.0'
        }
      ]
    }
  }
}

// Not the access log: the app logs each request itself.
resource diagnostics 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  name: 'chosen'
  scope: profile
  properties: {
    workspaceId: workspaceId
    logs: [{ category: 'FrontDoorWebApplicationFirewallLog', enabled: true }]
  }
}

@description('The profile\'s name.')
output name string = profile.name

@description('What this profile writes into x-azure-fdid, and no other.')
output frontDoorId string = profile.properties.frontDoorId

@description('Resource id of the firewall\'s policy.')
output firewallId string = firewall.id
