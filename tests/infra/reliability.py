"""Backup, zones, duplicate detection, dead letters, and two regions that are the same."""

import re
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
    # Standard has zones without being asked, and always says so.
    "Microsoft.ServiceBus/namespaces": (
        "properties.zoneRedundant",
        "privateOnly ? zoneRedundant : null",
    ),
    "Microsoft.Storage/storageAccounts": (
        "sku.name",
        "zoneRedundant ? 'Standard_ZRS' : 'Standard_LRS'",
    ),
}
# What may differ between the stamps of the two regions
REGIONAL = {
    "exportLocation",
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
    Change("modules/servicebus.bicep", "privateOnly ? zoneRedundant : null", "zoneRedundant"),
    Change("main.bicep", "zoneRedundant: cosmosZoneRedundant", "zoneRedundant: zoneRedundant"),
    Change("us.bicepparam", "cosmosZoneRedundant = true", "cosmosZoneRedundant = false"),
    Change("modules/storage.bicep", "zoneRedundant ? 'Standard_ZRS' : ", ""),
    Change("modules/cosmos.bicep", "isZoneRedundant: zoneRedundant", "isZoneRedundant: false"),
    Change("main.bicep", "zoneRedundant: zoneRedundant", "zoneRedundant: false"),
    Change("us.bicepparam", "zoneRedundant = true", "zoneRedundant = false"),
)
def eu_and_us_are_spread_over_the_zones(infra: Infra) -> Iterator[str]:
    for type, (path, expected) in ZONES.items():
        for resource in infra.resources(type):
            copies = resource.file == "modules/exports.bicep"
            if resource.get(path) != expected and not copies:
                yield f"{resource}: {path} is not {expected}"
    cosmos = infra.texts["modules/cosmos.bicep"]
    if re.findall(r"isZoneRedundant: (.*)", cosmos) != ["zoneRedundant"] * 2:
        yield "modules/cosmos.bicep: isZoneRedundant of a region does not follow zoneRedundant"
    for use in infra.modules():
        given = use.get("params.zoneRedundant")
        follows = "cosmosZoneRedundant" if use.symbol == "cosmos" else "zoneRedundant"
        if given is not None and given != follows:
            yield f"{use}: zoneRedundant is {given}"
    for stamp in ("eu", "us"):
        for name in ("zoneRedundant", "cosmosZoneRedundant"):
            if infra.files[f"{stamp}.bicepparam"].parameters[name].value is not True:
                yield f"{stamp}.bicepparam: {name} is not true"


@policy(
    Change("modules/network.bicep", "zoneRedundant ? 'StandardV2' : 'Standard'", "'Standard'"),
    Change("modules/network.bicep", "    name: sku\n", "    name: 'Standard'\n"),
)
def the_way_out_is_in_every_zone(infra: Infra) -> Iterator[str]:
    """A Standard NAT gateway stands in one; its address must be of its kind."""
    network = infra.files["modules/network.bicep"]
    if network.variables["sku"].value != "zoneRedundant ? 'StandardV2' : 'Standard'":
        yield f"{network.name}: sku does not follow zoneRedundant"
    for type in ("natGateways", "publicIPAddresses"):
        for resource in infra.resources(f"Microsoft.Network/{type}"):
            if resource.get("sku.name") != "sku":
                yield f"{resource}: gateway and address must be of one kind"


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
    Change("eu.bicepparam", "alwaysReadyReconcilers = 2", "alwaysReadyReconcilers = 1"),
    Change("us.bicepparam", "exportLocation = 'westus3'", "exportLocation = ''"),
    Change("us.bicepparam", "'westus3'", "'eastus2'"),
    Change("test.bicepparam", "alwaysReadyInstances = 0", "alwaysReadyInstances = 1"),
    Change("drill.bicepparam", "deleteLock = false", "deleteLock = true"),
)
def production_is_safe_and_a_test_stamp_is_cheap(infra: Infra) -> Iterator[str]:
    production = {
        "deleteLock": True,
        "backupTier": "Continuous30Days",
        "capacityMode": "autoscale",
        # A zone-redundant plan keeps two instances of what is always ready.
        "alwaysReadyInstances": 2,
        "alwaysReadyReconcilers": 2,
    }
    cheap = {
        "deleteLock": False,
        "backupTier": "Continuous7Days",
        "capacityMode": "serverless",
        "alwaysReadyInstances": 0,
        "alwaysReadyReconcilers": 0,
        "cosmosZoneRedundant": False,
        "zoneRedundant": False,
    }
    drill = cheap | {"capacityMode": "autoscale"}  # as the account whose copy it serves
    for stamp, expected in (
        ("eu", production),
        ("us", production),
        ("test", cheap),
        ("drill", drill),
    ):
        parameters = infra.files[f"{stamp}.bicepparam"].parameters
        for name, value in expected.items():
            if name not in parameters or parameters[name].value != value:
                yield f"{stamp}.bicepparam: {name} is not {value}"
    for stamp in ("eu", "us"):
        parameters = infra.files[f"{stamp}.bicepparam"].parameters
        if parameters["exportLocation"].value in ("", parameters["location"].value):
            yield f"{stamp}.bicepparam: the tenants' settings would be lost with their region"


@policy(
    Change("modules/exports.bicep", "isVersioningEnabled: true", "isVersioningEnabled: false"),
    Change("modules/exports.bicep", "var days = 30", "var days = 3"),
    Change("modules/exports.bicep", "dependsOn: [blobs]", "dependsOn: [account]"),
    Change("main.bicep", "location: exportLocation", "location: location"),
    Change("modules/cosmos.bicep", "!empty(readLocations)\n    cap", "false\n    cap"),
    Change("modules/cosmos.bicep", "? fail('A serverless", "? concat('A serverless"),
)
def another_region_has_what_it_is_meant_to_have(infra: Infra) -> Iterator[str]:
    exports = infra.files["modules/exports.bicep"]
    if exports.resources["blobs"].get("properties.isVersioningEnabled") is not True:
        yield "modules/exports.bicep: an export that went wrong would replace the last good one"
    if exports.variables["days"].value < 30:
        yield "modules/exports.bicep: a month is what docs/deploy.md promises"
    if "blobs" not in infra.after("modules/exports.bicep")["expiry"]:
        yield "modules/exports.bicep: a rule about versions is refused while there are none"
    if infra.files["main.bicep"].resources["exports"].get("params.location") != "exportLocation":
        yield "main.bicep: the exports are in the home region"
    account = infra.files["modules/cosmos.bicep"].resources["account"]
    if account.get("properties.enableAutomaticFailover") != "!empty(readLocations)":
        yield f"{account}: nobody fails over to the replicas"
    if not re.search(r"serverless && .* \? fail\(", str(account.get("properties.locations"))):
        yield f"{account}: a serverless account has one region, and nobody says so"


@policy(
    Change("main.bicep", "output cosmosName string", "output accountName string"),
    Change("drill.bicepparam", "'DRILL_ACCOUNT'", "'ACCOUNT'"),
    Change("drill.bicepparam", "stamp = 'drill'", "stamp = 'eu'"),
    Change("test.bicepparam", "'AZURE_PRINCIPAL_TYPE'", "'TYPE'"),
)
def the_drill_can_be_done(infra: Infra) -> Iterator[str]:
    """Beside the running stamp, by whoever has a shell and the outputs of it."""
    if "cosmosName" not in infra.files["main.bicep"].outputs:
        yield "main.bicep: no output names the account whose backup is restored"
    drill = infra.files["drill.bicepparam"].parameters
    for name in ("DRILL_ACCOUNT", "DRILL_LOCATION", "DRILL_REGION"):
        if f"readEnvironmentVariable('{name}'" not in infra.texts["drill.bicepparam"]:
            yield f"drill.bicepparam: {name}, which docs/deploy.md exports, is not read"
    for stamp in ("eu", "us", "test"):
        if infra.files[f"{stamp}.bicepparam"].parameters["stamp"].value == drill["stamp"].value:
            yield f"drill.bicepparam: would be deployed over the stamp {stamp}"
    for file in ("drill", "test"):
        if (
            "readEnvironmentVariable('AZURE_PRINCIPAL_TYPE'"
            not in infra.texts[f"{file}.bicepparam"]
        ):
            yield f"{file}.bicepparam: an azd that signs in as a service principal has no role"


POLICIES = (
    the_drill_can_be_done,
    eu_and_us_are_spread_over_the_zones,
    the_way_out_is_in_every_zone,
    eu_and_us_are_the_same_but_for_their_region,
    production_is_safe_and_a_test_stamp_is_cheap,
    another_region_has_what_it_is_meant_to_have,
)
