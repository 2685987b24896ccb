"""Keys off, TLS, nothing public that need not be, and roles at the narrowest scope."""

import re
from collections.abc import Iterator
from typing import Any

from tests.infra.bicep import Expression, Infra
from tests.infra.policy import Change, policy

# type → property → what it must be
REQUIRED: dict[str, dict[str, Any]] = {
    "Microsoft.Storage/storageAccounts": {
        "properties.allowSharedKeyAccess": False,
        "properties.allowBlobPublicAccess": False,
        "properties.allowCrossTenantReplication": False,
        "properties.isLocalUserEnabled": False,
        "properties.defaultToOAuthAuthentication": True,
        "properties.supportsHttpsTrafficOnly": True,
        "properties.minimumTlsVersion": "TLS1_2",
    },
    "Microsoft.Storage/storageAccounts/blobServices/containers": {
        "properties.publicAccess": "None",
    },
    "Microsoft.DocumentDB/databaseAccounts": {
        "properties.disableLocalAuth": True,
        "properties.disableKeyBasedMetadataWriteAccess": True,
        "properties.minimalTlsVersion": "Tls12",
        "properties.networkAclBypass": "None",
    },
    "Microsoft.ServiceBus/namespaces": {
        "properties.disableLocalAuth": True,
        "properties.minimumTlsVersion": "1.2",
    },
    "Microsoft.KeyVault/vaults": {"properties.enableRbacAuthorization": True},
    "Microsoft.OperationalInsights/workspaces": {"properties.features.disableLocalAuth": True},
    "Microsoft.Insights/components": {"properties.DisableLocalAuth": True},
    "Microsoft.Web/sites": {
        "properties.httpsOnly": True,
        "properties.siteConfig.minTlsVersion": "1.2",
        "properties.siteConfig.scmMinTlsVersion": "1.2",
        "properties.siteConfig.ftpsState": "Disabled",
        "identity.type": "UserAssigned",
        "properties.functionAppConfig.deployment.storage.authentication.type": (
            "UserAssignedIdentity"
        ),
    },
    "Microsoft.Web/sites/basicPublishingCredentialsPolicies": {"properties.allow": False},
}

# type → what of it is reached through private endpoints
PRIVATE = {
    "Microsoft.DocumentDB/databaseAccounts": ("Sql",),
    "Microsoft.ServiceBus/namespaces": ("namespace",),
    "Microsoft.Storage/storageAccounts": ("blob", "table"),
    "Microsoft.KeyVault/vaults": ("vault",),
}

# https://learn.microsoft.com/azure/role-based-access-control/built-in-roles → where it may be
# assigned: the symbols' types.
ROLES = {
    "b7e6dc6d-f1e8-4753-8033-0f276bb0955b": ("Microsoft.Storage/storageAccounts",),
    "0a9a7e1f-b9d0-4cc4-a60d-0319b160aaa3": ("Microsoft.Storage/storageAccounts",),
    "3913510d-42f4-4e42-8a64-420c390055eb": ("Microsoft.Insights/components",),
    "4633458b-17de-408a-b874-0445c86b69e6": ("Microsoft.KeyVault/vaults",),
    "b86a8fe4-44ce-4948-aee5-eccb2c155cd7": ("Microsoft.KeyVault/vaults",),
    "090c5cfd-751d-490a-894a-3ce6f1109419": ("Microsoft.ServiceBus/namespaces/queues",),
    "69a216fc-b8fb-44d8-bc22-1f3c2cd27a39": (
        "Microsoft.ServiceBus/namespaces/queues",
        "Microsoft.ServiceBus/namespaces/topics",
    ),
    "4f6d3b9b-027b-4f4c-9142-0e5a2a2247e0": (
        "Microsoft.ServiceBus/namespaces/queues",
        "Microsoft.ServiceBus/namespaces/topics/subscriptions",
    ),
}

SECRETS = re.compile(
    r"\blist\w*Keys?\b|\blistAccountSas\b|AccountKey=|SharedAccessKey|primaryMasterKey|password:"
    r"|connectionStrings\b|@secure\(",
    re.IGNORECASE,
)


@policy(
    Change("modules/functionapp.bicep", "parent: app\n  name: 'scm'", "parent: app\n  name: 'x'"),
    Change("modules/functionapp.bicep", "parent: app\n  name: 'ftp'", "parent: app\n  name: 'x'"),
)
def both_publishing_passwords_are_off(infra: Infra) -> Iterator[str]:
    type = "Microsoft.Web/sites/basicPublishingCredentialsPolicies"
    named = {resource.get("name") for resource in infra.resources(type)}
    for missing in {"ftp", "scm"} - named:
        yield f"modules/functionapp.bicep: no basicPublishingCredentialsPolicies '{missing}'"


@policy(
    Change("modules/settings.bicep", "insightsConnection\n", "listKeys(app.id)\n"),
    Change("modules/settings.bicep", "storageName\n", "'AccountKey=…'\n"),
    Change("modules/domain.bicep", "keyVaultId: vaultId", "password: 'x'"),
)
def nothing_reads_or_holds_a_secret(infra: Infra) -> Iterator[str]:
    for name, file in infra.files.items():
        for number, line in enumerate(file.text.splitlines(), 1):
            code = line.partition("//")[0]
            if not code.lstrip().startswith("@description") and SECRETS.search(code):
                yield f"{name}:{number}: {code.strip()}"


@policy(
    *(
        Change(f"modules/{module}.bicep", "privateOnly ? 'Disabled' : 'Enabled'", "'Enabled'")
        for module in ("cosmos", "keyvault", "servicebus", "storage")
    ),
    *(
        Change("main.bicep", f"{name}.outputs.id\n        groupId", "''\n        groupId")
        for name in ("cosmos", "serviceBus", "storage", "vault!")
    ),
    Change("main.bicep", "privateOnly: vnetEnabled", "privateOnly: false"),
    Change("modules/servicebus.bicep", "privateOnly ? 'Premium' : 'Standard'", "'Standard'"),
)
def with_a_network_nothing_else_is_public(infra: Infra) -> Iterator[str]:
    served = {
        (str(service["serviceId"]).replace("!", ""), service["groupId"])
        for use in infra.modules()
        if use.type == "modules/endpoints.bicep"
        for service in use.get("params.services")
    }
    for type in PRIVATE:
        for resource in infra.resources(type):
            access = resource.get("properties.publicNetworkAccess")
            if access != "privateOnly ? 'Disabled' : 'Enabled'":
                yield f"{resource}: publicNetworkAccess is {access}, whatever vnetEnabled says"
            uses = [m for m in infra.modules() if m.type == resource.file]
            for use in uses:
                if use.get("params.privateOnly") != "vnetEnabled":
                    yield f"{use}: privateOnly does not follow vnetEnabled"
            for use in uses:
                for part in PRIVATE[type]:
                    if (f"{use.symbol}.outputs.id", part) not in served:
                        yield f"{resource}: no private endpoint of its {part}"
    if infra.files["modules/servicebus.bicep"].variables["sku"].value != (
        "privateOnly ? 'Premium' : 'Standard'"
    ):
        yield "modules/servicebus.bicep: a private endpoint needs Premium"


@policy(
    Change("modules/roles.bicep", "scope: queue", "scope: namespace"),
    Change("modules/roles.bicep", "scope: topic", "scope: resourceGroup()"),
    Change("modules/roles.bicep", "scope: insights", "description: ''"),
    Change("modules/roles.bicep", "4f6d3b9b", "b24988ac"),
    Change("modules/roles.bicep", "/dbs/${databaseName}'", "'"),
    Change("modules/roles.bicep", "[blobOwner, tableContributor]", "[serviceBusOwner]"),
)
def roles_are_assigned_at_the_narrowest_scope(infra: Infra) -> Iterator[str]:
    for file in infra.files.values():
        ids = {
            name: match[1]
            for name, variable in file.variables.items()
            if (match := re.search(r"roleDefinitions', '([0-9a-f-]{36})'", str(variable.value)))
        }
        loops = {"queueRoles": ("serviceBusOwner", "serviceBusReceiver", "serviceBusSender")}
        for resource in file.resources.values():
            if resource.type == "Microsoft.Authorization/roleAssignments":
                scope = file.resources.get(str(resource.get("scope")))
                text = (resource.node.text or b"").decode()
                header = text.partition("{")[0]
                names = {*re.findall(r"\w+", header.partition(" in ")[2])}
                names |= {str(resource.get("properties.roleDefinitionId"))}
                names |= {role for loop in names & {*loops} for role in loops[loop]}
                for name in names & {*ids}:
                    if ids[name] not in ROLES:
                        yield f"{resource}: {name} ({ids[name]}) is no role that anyone needs"
                    elif scope is None or scope.type not in ROLES[ids[name]]:
                        yield f"{resource}: {name} on {resource.get('scope')} is too wide"
                if not names & {*ids}:
                    yield f"{resource}: which role is this?"
            if resource.type.endswith("/sqlRoleAssignments"):
                scope_text = str(resource.get("properties.scope"))
                if scope_text != "'${cosmos.id}/dbs/${databaseName}'":
                    yield f"{resource}: {scope_text} is wider than the database"


@policy(
    Change(
        "modules/functionapp.bicep", "'${identityId}': {}", "'${identityId}': {}\n      other: {}"
    ),
    Change("modules/settings.bicep", "AZURE_CLIENT_ID: identityClientId", "AZURE_CLIENT_ID: ''"),
    Change("modules/settings.bicep", "AzureWebJobsStorage__credential: 'managedidentity'\n", "\n"),
    Change(
        "modules/settings.bicep", "ServiceBusConnection__clientId", "ServiceBusConnection__other"
    ),
)
def every_connection_uses_the_one_identity(infra: Infra) -> Iterator[str]:
    for app in infra.resources("Microsoft.Web/sites"):
        if [*app.get("identity.userAssignedIdentities")] != ["${identityId}"]:
            yield f"{app}: one identity, and no other"
    settings = infra.files["modules/settings.bicep"].resources["settings"].body["properties"]
    for name in (
        "AzureWebJobsStorage__clientId",
        "ServiceBusConnection__clientId",
        "AZURE_CLIENT_ID",
    ):
        if settings.get(name) != Expression("identityClientId"):
            yield f"modules/settings.bicep: {name} is not the app's identity"
    for connection in ("AzureWebJobsStorage", "ServiceBusConnection"):
        if settings.get(f"{connection}__credential") != "managedidentity":
            yield f"modules/settings.bicep: {connection}__credential is not managedidentity"


POLICIES = (
    both_publishing_passwords_are_off,
    nothing_reads_or_holds_a_secret,
    with_a_network_nothing_else_is_public,
    roles_are_assigned_at_the_narrowest_scope,
    every_connection_uses_the_one_identity,
)
