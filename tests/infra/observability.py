"""Alerts reach somebody, everything is tagged, and sends the logs that somebody reads."""

import re
from collections.abc import Iterator
from typing import Any

from tests.infra.bicep import Infra
from tests.infra.policy import Change, policy

# type → property → what it must be
REQUIRED: dict[str, dict[str, Any]] = {
    "Microsoft.Insights/metricAlerts": {
        "properties.actions": [{"actionGroupId": "people.id"}],
        "properties.enabled": True,
    },
    "Microsoft.Insights/scheduledQueryRules": {
        "properties.actions.actionGroups": ["people.id"],
        "properties.enabled": True,
    },
    "Microsoft.Insights/actionGroups": {"properties.enabled": True},
    "Microsoft.Insights/webtests": {
        "properties.Enabled": True,
        "properties.Kind": "standard",
        "properties.Request.FollowRedirects": False,
        "properties.ValidationRules.ExpectedHttpStatusCode": 200,
        "properties.ValidationRules.SSLCheck": True,
    },
}

# type → what of its logs is worth its price. Metrics are never copied: alerts and workbook ask
# Azure's own, which keeps them for 93 days at no cost. FunctionAppLogs repeats AppTraces, and
# DataPlaneRequests alone would fill a workspace.
CHOSEN = {
    "Microsoft.Cdn/profiles": ("FrontDoorWebApplicationFirewallLog",),
    "Microsoft.DocumentDB/databaseAccounts": (
        "PartitionKeyStatistics",
        "PartitionKeyRUConsumption",
        "ControlPlaneRequests",
    ),
    "Microsoft.KeyVault/vaults": ("AuditEvent",),
    "Microsoft.OperationalInsights/workspaces": ("Audit",),
    "Microsoft.ServiceBus/namespaces": ("OperationalLogs",),
    "Microsoft.Storage/storageAccounts/blobServices": ("StorageDelete",),
}
# What a file's own resources send beyond that
MORE = {"modules/exports.bicep": ("StorageRead", "StorageWrite", "StorageDelete")}

UNDIAGNOSED = {
    "Microsoft.Cdn/profiles/afdEndpoints": "its profile's logs",
    "Microsoft.Cdn/profiles/afdEndpoints/routes": "its profile's logs",
    "Microsoft.Cdn/profiles/customDomains": "its profile's logs",
    "Microsoft.Cdn/profiles/originGroups": "its profile's logs",
    "Microsoft.Cdn/profiles/originGroups/origins": "its profile's logs",
    "Microsoft.Cdn/profiles/securityPolicies": "its profile's logs",
    "Microsoft.Authorization/locks": "has no logs",
    "Microsoft.Authorization/roleAssignments": "the activity log has its changes",
    "Microsoft.Consumption/budgets": "has no logs",
    "Microsoft.DocumentDB/databaseAccounts/sqlDatabases": "its account's logs",
    "Microsoft.DocumentDB/databaseAccounts/sqlDatabases/containers": "its account's logs",
    "Microsoft.DocumentDB/databaseAccounts/sqlRoleAssignments": "its account's logs",
    "Microsoft.Insights/actionGroups": "has no logs",
    "Microsoft.Insights/components": "is on the workspace itself",
    "Microsoft.Insights/diagnosticSettings": "is what this is about",
    "Microsoft.Insights/metricAlerts": "has no logs",
    "Microsoft.Insights/scheduledQueryRules": "has no logs",
    "Microsoft.Insights/webtests": "its results are in the workspace",
    "Microsoft.Insights/workbooks": "has no logs",
    "Microsoft.ManagedIdentity/userAssignedIdentities": "Entra ID's sign-in logs",
    "Microsoft.Network/FrontDoorWebApplicationFirewallPolicies": "Front Door's logs",
    "Microsoft.Network/natGateways": "its metrics need no setting",
    "Microsoft.Network/networkSecurityGroups": "a refused packet is no news",
    "Microsoft.Network/privateDnsZones": "its metrics need no setting",
    "Microsoft.Network/privateDnsZones/virtualNetworkLinks": "has no logs",
    "Microsoft.Network/privateEndpoints": "its metrics need no setting",
    "Microsoft.Network/privateEndpoints/privateDnsZoneGroups": "has no logs",
    "Microsoft.Network/publicIPAddresses": "logs only with DDoS protection",
    "Microsoft.Network/virtualNetworks": "logs only with DDoS protection",
    "Microsoft.Resources/resourceGroups": "the activity log has its changes",
    "Microsoft.ServiceBus/namespaces/queues": "its namespace's logs",
    "Microsoft.ServiceBus/namespaces/topics": "its namespace's logs",
    "Microsoft.ServiceBus/namespaces/topics/subscriptions": "its namespace's logs",
    "Microsoft.Storage/storageAccounts": "its blobs' logs",
    "Microsoft.Storage/storageAccounts/managementPolicies": "has no logs",
    "Microsoft.Storage/storageAccounts/tableServices": "the host's own notes",
    "Microsoft.Storage/storageAccounts/blobServices/containers": "its service's logs",
    "Microsoft.Web/serverfarms": "has no logs",
    "Microsoft.Web/sites": "FunctionAppLogs repeats what the app sends to Application Insights",
    "Microsoft.Web/sites/basicPublishingCredentialsPolicies": "its site's logs",
    "Microsoft.Web/sites/certificates": "has no logs",
    "Microsoft.Web/sites/config": "its site's logs",
    "Microsoft.Web/sites/hostNameBindings": "its site's logs",
}
# What the issue of an alert may be, by the name of its signal
SIGNALS = {
    "DeadletteredMessages": "dead letters",
    "ActiveMessages": "queue length",
    "ThrottledRequests": "throttling of the queue",
    "TotalRequests": "throttling of the database",
    "NormalizedRUConsumption": "request units",
    "ServiceAvailability": "availability of the database",
    "outside.id": "the app not answering from outside",
    "oldest-pending.kql": "age of the oldest pending event",
    "applied-by-timer.kql": "a queue whose trigger does not wake",
    "webhooks-disabled.kql": "an endpoint of the application that is gone",
    "mass-loss.kql": "many users who lost access",
    "failed-requests.kql": "5xx",
    "refused-tokens.kql": "401 bursts",
    "logs-stopped.kql": "the workspace's cap",
    "tenant-size.kql": "the size of a tenant",
}


@policy(
    *(Change("modules/alerts.bicep", f"'{s}'", "'Other'") for s in SIGNALS if "." not in s),
    Change("modules/alerts.bicep", "webTestId: outside.id", "webTestId: ''"),
    Change("modules/alerts.bicep", "queries/refused-tokens.kql", "queries/requests.kql"),
)
def everything_that_can_go_wrong_has_an_alert(infra: Infra) -> Iterator[str]:
    text = infra.texts["modules/alerts.bicep"]
    for signal, what in SIGNALS.items():
        if not re.search(rf"['/ ]{re.escape(signal)}['\n]", text):
            yield f"modules/alerts.bicep: no alert on {what} ({signal})"


@policy(
    Change("modules/cosmos.bicep", "  tags: tags\n", ""),
    Change("modules/alerts.bicep", "    tags: tags\n", ""),
    Change("main.bicep", "  tags: allTags\n", ""),
    Change("main.bicep", "    tags: allTags\n", "    tags: {}\n"),
    Change("modules/functionapp.bicep", "union(tags, { 'azd-service-name': 'muster' })", "{}"),
)
def every_resource_is_tagged(infra: Infra) -> Iterator[str]:
    for resource in infra.resources():
        # Whatever has a place of its own has tags.
        if "location" in resource.body and not re.search(
            r"\b(tags|allTags)\b", str(resource.get("tags"))
        ):
            yield f"{resource}: tags are not the stamp's"
    for use in infra.modules():
        given = use.get("params.tags")
        if given is not None and given not in ("tags", "allTags"):
            yield f"{use}: passes other tags on"


@policy(
    Change("modules/cosmos.bicep", "scope: account", "scope: container"),
    Change("modules/servicebus.bicep", "category: 'OperationalLogs'", "categoryGroup: 'allLogs'"),
    Change("modules/cosmos.bicep", "'PartitionKeyStatistics'", "'DataPlaneRequests'"),
    Change("modules/cosmos.bicep", "'ControlPlaneRequests', enabled: true", "'x', enabled: true"),
    Change(
        "modules/storage.bicep",
        "    logs: [",
        "    metrics: [{ category: 'AllMetrics', enabled: true }]\n    logs: [",
    ),
    Change("modules/keyvault.bicep", "workspaceId: workspaceId", "storageAccountId: ''"),
    Change("modules/identity.bicep", "userAssignedIdentities@", "somethingNew@"),
)
def every_resource_sends_the_logs_that_are_worth_it(infra: Infra) -> Iterator[str]:
    for file in infra.files.values():
        settings = {
            str(r.get("scope")): r
            for r in file.resources.values()
            if r.type == "Microsoft.Insights/diagnosticSettings"
        }
        for resource in file.resources.values():
            if not resource.version or resource.existing or resource.type in UNDIAGNOSED:
                continue
            setting = settings.get(resource.symbol)
            if setting is None:
                yield (
                    f"{resource}: no diagnosticSettings has it as its scope; if {resource.type} "
                    "has nothing to send, say why in UNDIAGNOSED"
                )
                continue
            if setting.get("properties.workspaceId") not in ("workspaceId", "workspace.id"):
                yield f"{setting}: does not go to the workspace"
            chosen = MORE.get(file.name) or CHOSEN.get(resource.type, ())
            logs = [{"category": category, "enabled": True} for category in chosen]
            if setting.get("properties.logs") != logs:
                yield f"{setting}: sends something else than {chosen}"
            if setting.get("properties.metrics") is not None:
                yield f"{setting}: copies metrics, which Azure keeps anyway"


@policy(
    Change("modules/workbook.bicep", "queries/tenants.kql", "queries/gone.kql"),
    Change("modules/workbook.bicep", "queries/latency.kql", "queries/tenants.kql"),
)
def every_query_is_there_and_used(infra: Infra) -> Iterator[str]:
    used = {
        (file.name, f"queries/{name}")
        for file in infra.files.values()
        for name in re.findall(r"loadTextContent\('\.\./queries/([\w.-]+)'\)", file.text)
    }
    there = {name for name in infra.texts if name.endswith(".kql")}
    for file_name, name in used:
        if name not in there:
            yield f"{file_name}: {name} does not exist"
    for name in there - {name for _, name in used}:
        yield f"{name}: nothing uses it"


POLICIES = (
    everything_that_can_go_wrong_has_an_alert,
    every_resource_is_tagged,
    every_resource_sends_the_logs_that_are_worth_it,
    every_query_is_there_and_used,
)
