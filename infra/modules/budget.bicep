// What a month may cost before somebody hears of it. A budget tells; it stops nothing.
targetScope = 'resourceGroup'

@description('A month, in the subscription\'s currency.')
@minValue(1)
param amount int

@description('First day of a month (yyyy-MM-01), the current one when the budget is created.')
@minLength(10)
@maxLength(10)
param startDate string

@description('Who is told.')
@minLength(1)
param emails string[]

resource budget 'Microsoft.Consumption/budgets@2024-08-01' = {
  name: 'muster'
  properties: {
    category: 'Cost'
    amount: amount
    timeGrain: 'Monthly'
    timePeriod: {
      startDate: startDate
    }
    notifications: {
      spent: {
        enabled: true
        operator: 'GreaterThan'
        threshold: 80
        thresholdType: 'Actual'
        contactEmails: emails
      }
      forecast: {
        enabled: true
        operator: 'GreaterThan'
        threshold: 100
        thresholdType: 'Forecasted'
        contactEmails: emails
      }
    }
  }
}
