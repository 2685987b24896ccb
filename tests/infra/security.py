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
    "Microsoft.Cdn/profiles/afdEndpoints/routes": {
        "properties.forwardingProtocol": "HttpsOnly",
        "properties.supportedProtocols": ["Https"],
    },
    "Microsoft.Cdn/profiles/originGroups/origins": {
        "properties.enforceCertificateNameCheck": True,
    },
    "Microsoft.Web/sites/basicPublishingCredentialsPolicies": {"properties.allow": False},
}

# type → what of it is reached through private endpoints; in a file, where that has less
PRIVATE = {
    "Microsoft.DocumentDB/databaseAccounts": ("Sql",),
    "Microsoft.ServiceBus/namespaces": ("namespace",),
    "Microsoft.Storage/storageAccounts": ("blob", "table"),
    "Microsoft.KeyVault/vaults": ("vault",),
    "modules/exports.bicep": ("blob",),
}

# https://learn.microsoft.com/azure/role-based-access-control/built-in-roles → where it may be
# assigned: the symbols' types.
ROLES = {
    "b7e6dc6d-f1e8-4753-8033-0f276bb0955b": ("Microsoft.Storage/storageAccounts",),
    "0a9a7e1f-b9d0-4cc4-a60d-0319b160aaa3": ("Microsoft.Storage/storageAccounts",),
    "ba92f5b4-2d11-453d-a403-e96b0029c9fe": (
        "Microsoft.Storage/storageAccounts/blobServices/containers",
    ),
    "3913510d-42f4-4e42-8a64-420c390055eb": ("Microsoft.Insights/components",),
    "4633458b-17de-408a-b874-0445c86b69e6": ("Microsoft.KeyVault/vaults",),
    "b86a8fe4-44ce-4948-aee5-eccb2c155cd7": ("Microsoft.KeyVault/vaults",),
    # The platform reads the queue's length from the namespace, with the app's identity.
    "acdd72a7-3385-48ef-bd42-f606fba81ae7": ("Microsoft.ServiceBus/namespaces",),
    "090c5cfd-751d-490a-894a-3ce6f1109419": ("Microsoft.ServiceBus/namespaces",),
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
        for module in ("cosmos", "exports", "keyvault", "servicebus", "storage")
    ),
    *(
        Change("main.bicep", f"serviceId: {name}.outputs.id", "serviceId: ''")
        for name in ("cosmos", "serviceBus", "storage", "vault!", "exports!")
    ),
    Change("main.bicep", "privateOnly: vnetEnabled", "privateOnly: false"),
    Change("modules/servicebus.bicep", "privateOnly ? 'Premium' : 'Standard'", "'Standard'"),
)
def with_a_network_nothing_else_is_public(infra: Infra) -> Iterator[str]:
    served = {
        service
        for use in infra.modules()
        if use.type == "modules/endpoints.bicep"
        for service in re.findall(r"serviceId: (\w+)!?\.outputs\.id\s+groupId: '(\w+)'", use.text)
    }
    for type, whole in PRIVATE.items():
        for resource in infra.resources(type):
            parts = PRIVATE.get(resource.file, whole)
            access = resource.get("properties.publicNetworkAccess")
            if access != "privateOnly ? 'Disabled' : 'Enabled'":
                yield f"{resource}: publicNetworkAccess is {access}, whatever vnetEnabled says"
            uses = [m for m in infra.modules() if m.type == resource.file]
            for use in uses:
                if use.get("params.privateOnly") != "vnetEnabled":
                    yield f"{use}: privateOnly does not follow vnetEnabled"
            for use in uses:
                for part in parts:
                    if (use.symbol, part) not in served:
                        yield f"{resource}: no private endpoint of its {part}"
    if infra.files["modules/servicebus.bicep"].variables["sku"].value != (
        "privateOnly ? 'Premium' : 'Standard'"
    ):
        yield "modules/servicebus.bicep: a private endpoint needs Premium"


@policy(
    Change("modules/roles.bicep", "scope: queue\n", "scope: namespace\n"),
    Change("modules/exports.bicep", "scope: container", "scope: account"),
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
        loops = {"namespaceRoleId": ("serviceBusOwner", "reader")}
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
    Change("modules/roles.bicep", "'DataOwner' ? serviceBusOwner : reader", "'' ? reader : reader"),
    Change("modules/roles.bicep", "acdd72a7", "b24988ac"),
    Change("modules/roles.bicep", "roleDefinitionId: namespaceRoleId", "roleDefinitionId: ''"),
    Change("eu.bicepparam", "namespaceRole = 'Reader'", "namespaceRole = 'DataOwner'"),
)
def the_platform_can_read_the_length_of_the_queue(infra: Infra) -> Iterator[str]:
    roles = infra.files["modules/roles.bicep"]
    given = roles.resources["appNamespace"]
    if given.get("properties.roleDefinitionId") != "namespaceRoleId":
        yield f"{given}: not the role that namespaceRole chooses"
    if roles.variables["namespaceRoleId"].value != (
        "namespaceRole == 'DataOwner' ? serviceBusOwner : reader"
    ):
        yield "modules/roles.bicep: namespaceRole chooses between two roles"
    if "acdd72a7-3385-48ef-bd42-f606fba81ae7" not in str(roles.variables["reader"].value):
        yield "modules/roles.bicep: reader is not Reader"
    for stamp in ("eu", "us"):
        if infra.files[f"{stamp}.bicepparam"].parameters["namespaceRole"].value != "Reader":
            yield f"{stamp}.bicepparam: the app may more than it needs"


DENY = "empty(frontDoorId) ? 'Allow' : 'Deny'"


@policy(
    Change("modules/functionapp.bicep", "'Allow' : 'Deny'", "'Allow' : 'Allow'"),
    Change("modules/functionapp.bicep", "'x-azure-fdid': [frontDoorId]", "host: ['x']"),
    Change("modules/functionapp.bicep", "'AzureFrontDoor.Backend'", "'Internet'"),
    Change("main.bicep", "frontDoorProfile!.outputs.frontDoorId : ''", "'' : ''"),
    Change("main.bicep", "proxies + (frontDoor ? 1 : 0)", "proxies"),
    Change("modules/frontdoorroute.bicep", "id: firewallId", "id: ''"),
    Change("modules/frontdoorroute.bicep", "[{ id: endpoint.id }], empty", "[], empty"),
    Change("modules/frontdoorroute.bicep", "httpsRedirect: 'Disabled'", "httpsRedirect: 'Enabled'"),
    Change("modules/frontdoor.bicep", "[^/]+)?/scim/", "[^/]+)?/console/"),
    Change("main.bicep", "firewallMode string = 'Detection'", "firewallMode string = 'Prevention'"),
)
def behind_front_door_the_app_answers_to_it_alone(infra: Infra) -> Iterator[str]:
    app = infra.files["modules/functionapp.bicep"].resources["app"]
    config = "properties.siteConfig"
    if app.get(f"{config}.ipSecurityRestrictionsDefaultAction") != DENY:
        yield f"{app}: with a Front Door, everybody else is refused"
    rule = str(app.get(f"{config}.ipSecurityRestrictions"))
    for needed in (
        "tag: 'ServiceTag'",
        "'AzureFrontDoor.Backend'",
        "'x-azure-fdid': [frontDoorId]",
    ):
        if needed not in rule:
            yield f"{app}: its rule lacks {needed}: another customer's Front Door could reach it"
    main = infra.files["main.bicep"].resources
    if main["app"].get("params.frontDoorId") != (
        "frontDoor ? frontDoorProfile!.outputs.frontDoorId : ''"
    ):
        yield "main.bicep: the app does not know its Front Door"
    if main["settings"].get("params.proxies") != "proxies + (frontDoor ? 1 : 0)":
        yield "main.bicep: the log would take Front Door for the client"
    way = infra.files["modules/frontdoorroute.bicep"].resources
    if way["route"].get("properties.httpsRedirect") != "Disabled":
        yield f"{way['route']}: SCIM clients follow no redirect"
    protected = way["protection"].get("properties.parameters")
    if protected["wafPolicy"] != {"id": "firewallId"}:
        yield f"{way['protection']}: not the stamp's firewall"
    if "{ id: endpoint.id }" not in str(protected["associations"][0]["domains"]):
        yield f"{way['protection']}: Front Door's own name is not protected"
    firewall = infra.files["modules/frontdoor.bicep"].resources["firewall"]
    (scim,) = firewall.get("properties.customRules.rules")
    pattern = scim["matchConditions"][0]["matchValue"][0]
    for url, exempt in (
        ('https://eu.muster.example.com:443/scim/Users?filter=userName eq "a"', True),
        ("/scim/v2/Groups/1", True),
        ("https://eu.muster.example.com/console?next=/scim/", False),
        ("/console/scim/", False),
    ):
        if (re.search(pattern, url) is not None) is not exempt:
            yield f"{firewall}: {url} must {'' if exempt else 'not '}be left to the code"
    if infra.files["main.bicep"].parameters["firewallMode"].value != "Detection":
        yield "main.bicep: a firewall that nobody has watched refuses customers"


@policy(
    Change(
        "modules/functionapp.bicep", "'${identityId}': {}", "'${identityId}': {}\n      other: {}"
    ),
    Change("modules/settings.bicep", "AZURE_CLIENT_ID: identityClientId", "AZURE_CLIENT_ID: ''"),
    Change("modules/settings.bicep", "'ManagedIdentityCredential'", "'dev'"),
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
    if settings.get("AZURE_TOKEN_CREDENTIALS") != "ManagedIdentityCredential":
        yield "modules/settings.bicep: DefaultAzureCredential may try other identities first"
    for connection in ("AzureWebJobsStorage", "ServiceBusConnection"):
        if settings.get(f"{connection}__credential") != "managedidentity":
            yield f"modules/settings.bicep: {connection}__credential is not managedidentity"


POLICIES = (
    both_publishing_passwords_are_off,
    nothing_reads_or_holds_a_secret,
    with_a_network_nothing_else_is_public,
    roles_are_assigned_at_the_narrowest_scope,
    the_platform_can_read_the_length_of_the_queue,
    behind_front_door_the_app_answers_to_it_alone,
    every_connection_uses_the_one_identity,
)
