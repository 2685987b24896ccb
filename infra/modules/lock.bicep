// Nothing in the resource group can be deleted until somebody removes the lock on purpose.
targetScope = 'resourceGroup'

resource lock 'Microsoft.Authorization/locks@2020-05-01' = {
  name: 'keep'
  properties: {
    level: 'CanNotDelete'
    notes: 'Holds customers\' directories. docs/deploy.md says when and how to lift this.'
  }
}
