// Binds Kusto queries with Microsoft's own parser to the tables of a Log Analytics workspace:
//
//   npm install --prefix <folder> @kusto/language-service-next@12.4.1
//   NODE_PATH=<folder>/node_modules node tests/infra/kusto.js infra/queries/*.kql
//
// Prints what is wrong and ends with 1 where anything is. An alert's query is not checked by Azure
// when it is deployed (skipQueryValidation), and one that is wrong is silent for ever. The columns
// are those of https://learn.microsoft.com/azure/azure-monitor/reference/tables that are asked for.
const { readFileSync } = require('node:fs')
const { basename, dirname, join } = require('node:path')

globalThis.window = globalThis // the library looks for a browser
const library = dirname(require.resolve('@kusto/language-service-next/package.json'))
require(join(library, 'bridge.min.js'))
require(join(library, 'Kusto.Language.Bridge.min.js'))
const { GlobalState, KustoCode, Symbols } = globalThis.Kusto.Language

const APP = 'TimeGenerated: datetime, OperationName: string, OperationId: string, Properties: dynamic, ClientIP: string, ItemCount: int'
const COSMOS = 'TimeGenerated: datetime, AccountName: string, DatabaseName: string, CollectionName: string, PartitionKey: string'
const TABLES = {
  AppAvailabilityResults: `${APP}, Name: string, Location: string, Success: bool, Message: string, DurationMs: real`,
  AppExceptions: `${APP}, ExceptionType: string, OuterMessage: string, SeverityLevel: int`,
  AppRequests: `${APP}, Name: string, Url: string, Success: bool, ResultCode: string, DurationMs: real`,
  AppTraces: `${APP}, Message: string, SeverityLevel: int`,
  CDBPartitionKeyRUConsumption: `${COSMOS}, OperationName: string, RequestCharge: real`,
  CDBPartitionKeyStatistics: `${COSMOS}, SizeKb: int`,
  Usage: 'TimeGenerated: datetime, DataType: string, Quantity: real, IsBillable: bool',
  _LogOperation: 'TimeGenerated: datetime, Category: string, Operation: string, Level: string, Detail: string',
}

const tables = Object.entries(TABLES).map(([name, columns]) => Symbols.TableSymbol.From(`(${columns})`).WithName(name))
const workspace = GlobalState.Default.WithDatabase(new Symbols.DatabaseSymbol.$ctor1('workspace', tables))

let found = 0
for (const file of process.argv.slice(2)) {
  const query = readFileSync(file, 'utf8')
  const diagnostics = KustoCode.ParseAndAnalyze(query, workspace).GetDiagnostics()
  for (let index = 0; index < diagnostics.Count; index++, found++) {
    const { Start, Code, Message } = diagnostics.getItem(index)
    const before = query.slice(0, Start).split('\n')
    console.log(`${basename(file)}:${before.length}:${before.at(-1).length + 1}: ${Code} ${Message}`)
  }
}
process.exit(found ? 1 : 0)
