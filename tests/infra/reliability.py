"""Backup, zones, duplicate detection, dead letters, and two regions that are the same."""

from collections.abc import Iterator
from typing import Any

from tests.infra.bicep import Infra
from tests.infra.policy import Change, policy

# type → property → what it must be
REQUIRED: dict[str, dict[str, Any]] = {
    "Microsoft.DocumentDB/databaseAccounts": {
        "properties.backupPolicy.type": "Continuous",
        "properties.consistencyPolicy.defaultConsistencyLevel": "Strong",
        "properties.enableMultipleWriteLocations": False,
    },
    "Microsoft.DocumentDB/databaseAccounts/sqlDatabases/containers": {
        "properties.resource.defaultTtl": -1,
        "properties.resource.partitionKey.paths": ["/tenantId"],
    },
    "Microsoft.ServiceBus/namespaces/queues": {
        "properties.deadLetteringOnMessageExpiration": True,
        "properties.requiresDuplicateDetection": True,
        "properties.requiresSession": False,
        "properties.enablePartitioning": False,
    },
    "Microsoft.ServiceBus/namespaces/topics": {
        "properties.requiresDuplicateDetection": True,
        "properties.enablePartitioning": False,
    },
    "Microsoft.ServiceBus/namespaces/topics/subscriptions": {
        "properties.deadLetteringOnMessageExpiration": True,
        "properties.deadLetteringOnFilterEvaluationExceptions": True,
        "properties.requiresSession": False,
    },
    "Microsoft.Storage/storageAccounts/blobServices": {
        "properties.deleteRetentionPolicy.enabled": True,
        "properties.containerDeleteRetentionPolicy.enabled": True,
    },
    "Microsoft.KeyVault/vaults": {
        "properties.enableSoftDelete": True,
        "properties.enablePurgeProtection": True,
    },
    "Microsoft.Web/serverfarms": {"sku.name": "FC1", "properties.reserved": True},
    "Microsoft.Web/sites": {
        "properties.functionAppConfig.runtime.name": "python",
        "properties.functionAppConfig.runtime.version": "3.13",
    },
    "Microsoft.Authorization/locks": {"properties.level": "CanNotDelete"},
}

# What follows the parameter zoneRedundant
ZONES = {
    "Microsoft.Web/serverfarms": ("properties.zoneRedundant", "zoneRedundant"),
    "Microsoft.ServiceBus/namespaces": ("properties.zoneRedundant", "zoneRedundant"),
    "Microsoft.Storage/storageAccounts": (
        "sku.name",
        "zoneRedundant ? 'Standard_ZRS' : 'Standard_LRS'",
    ),
}
# What may differ between the stamps of the two regions
REGIONAL = {
    "stamp",
    "region",
    "location",
    "vnetAddressPrefix",
    "publicUrl",
    "regionUrls",
    "consoleClientId",
    "databaseAccountName",
    "customDomain",
    "certificateVaultId",
    "certificateName",
    "operators",
    "subscribers",
    "alertEmails",
    "budgetAmount",
    "budgetStartDate",
}


@policy(
    Change("modules/functionapp.bicep", "zoneRedundant: zoneRedundant", "zoneRedundant: false"),
    Change("modules/servicebus.bicep", "zoneRedundant: zoneRedundant\n", "\n"),
    Change("modules/storage.bicep", "zoneRedundant ? 'Standard_ZRS' : ", ""),
    Change("modules/cosmos.bicep", "isZoneRedundant: zoneRedundant", "isZoneRedundant: false"),
    Change("main.bicep", "zoneRedundant: zoneRedundant", "zoneRedundant: false"),
    Change("us.bicepparam", "zoneRedundant = true", "zoneRedundant = false"),
)
def eu_and_us_are_spread_over_the_zones(infra: Infra) -> Iterator[str]:
    for type, (path, expected) in ZONES.items():
        for resource in infra.resources(type):
            if resource.get(path) != expected:
                yield f"{resource}: {path} is not {expected}"
    for account in infra.resources("Microsoft.DocumentDB/databaseAccounts"):
        for location in account.get("properties.locations"):
            if location.get("isZoneRedundant") != "zoneRedundant":
                yield f"{account}: isZoneRedundant does not follow zoneRedundant"
    for use in infra.modules():
        given = use.get("params.zoneRedundant")
        if given is not None and given != "zoneRedundant":
            yield f"{use}: zoneRedundant is {given}"
    for stamp in ("eu", "us"):
        if infra.files[f"{stamp}.bicepparam"].parameters["zoneRedundant"].value is not True:
            yield f"{stamp}.bicepparam: zoneRedundant is not true"


@policy(
    Change("eu.bicepparam", "param retentionDays = 400\n", ""),
    Change("us.bicepparam", "maxThroughput = 4000", "maxThroughput = 1000"),
    Change("us.bicepparam", "param region = 'us'", "param region = 'eu'"),
    Change("eu.bicepparam", "westeurope", "eastus2"),
)
def eu_and_us_are_the_same_but_for_their_region(infra: Infra) -> Iterator[str]:
    eu, us = (infra.files[f"{stamp}.bicepparam"].parameters for stamp in ("eu", "us"))
    for name in sorted({*eu} ^ {*us}):
        yield f"{name} is set in one of eu.bicepparam and us.bicepparam only"
    for name in sorted({*eu} & {*us} - REGIONAL):
        if eu[name].value != us[name].value:
            yield f"{name} is {eu[name].value} in eu.bicepparam and {us[name].value} in us"
    for name in ("stamp", "region", "location"):
        if eu[name].value == us[name].value:
            yield f"{name} is the same in eu.bicepparam and us.bicepparam"


@policy(
    Change("eu.bicepparam", "param deleteLock = true", "param deleteLock = false"),
    Change("us.bicepparam", "Continuous30Days", "Continuous7Days"),
    Change("eu.bicepparam", "alwaysReadyInstances = 2", "alwaysReadyInstances = 0"),
    Change("test.bicepparam", "serverless", "autoscale"),
    Change("test.bicepparam", "alwaysReadyInstances = 0", "alwaysReadyInstances = 1"),
)
def production_is_safe_and_a_test_stamp_is_cheap(infra: Infra) -> Iterator[str]:
    production = {
        "deleteLock": True,
        "backupTier": "Continuous30Days",
        "capacityMode": "autoscale",
        # A zone-redundant plan keeps two instances of what is always ready.
        "alwaysReadyInstances": 2,
    }
    cheap = {
        "deleteLock": False,
        "backupTier": "Continuous7Days",
        "capacityMode": "serverless",
        "alwaysReadyInstances": 0,
        "zoneRedundant": False,
    }
    for stamp, expected in (("eu", production), ("us", production), ("test", cheap)):
        parameters = infra.files[f"{stamp}.bicepparam"].parameters
        for name, value in expected.items():
            if name not in parameters or parameters[name].value != value:
                yield f"{stamp}.bicepparam: {name} is not {value}"


POLICIES = (
    eu_and_us_are_spread_over_the_zones,
    eu_and_us_are_the_same_but_for_their_region,
    production_is_safe_and_a_test_stamp_is_cheap,
)
