"""The store on Azure Cosmos DB."""
