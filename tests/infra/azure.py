"""What Azure does, whatever its types allow: changes that it refuses, metrics that it does not
have, properties that nobody can set later."""

import re
from collections.abc import Iterator
from itertools import combinations
from typing import Any

from tests.infra.bicep import STAMPS, Infra
from tests.infra.policy import Change, policy
from tests.triggers import triggers

# type → property → what it must be
REQUIRED: dict[str, dict[str, Any]] = {
    # Can be set at the app's creation only.
    "Microsoft.Web/sites": {
        "properties.siteScopedCertificatesEnabled": True,
        # 1 for Python, if nobody says more; host.json does not count here.
        "properties.functionAppConfig.scaleAndConcurrency.triggers.http.perInstanceConcurrency": (
            "requestsPerInstance"
        ),
        "properties.functionAppConfig.siteUpdateStrategy.type": "siteUpdateStrategy",
    },
    "Microsoft.Web/sites/hostNameBindings": {
        "properties.sslState": "certificate == 'none' ? 'Disabled' : 'SniEnabled'",
    },
    "Microsoft.KeyVault/vaults": {"properties.createMode": "createMode"},
    # A location must fail twice, so that one lost packet wakes nobody.
    "Microsoft.Insights/webtests": {"properties.RetryEnabled": True},
}

# The metrics that each type publishes, of those that an alert may be on: Azure ends a deployment
# with an alert on another one. https://learn.microsoft.com/azure/azure-monitor/reference/metrics-index
METRICS = {
    "Microsoft.ServiceBus/namespaces": {
        "ActiveMessages",
        "DeadletteredMessages",
        "ServerErrors",
        "ThrottledRequests",
    },
    "Microsoft.DocumentDB/databaseAccounts": {
        "NormalizedRUConsumption",
        "ServiceAvailability",
        "TotalRequests",
    },
}
CONTINENT = {"eu": "emea-", "us": "us-"}
# Longest names, https://learn.microsoft.com/azure/azure-resource-manager/management/resource-name-rules
NAMES = {"kv-muster-": 24, "stmuster": 24, "stexport": 24, "cosmos-muster-": 44, "sb-muster-": 50}
SUFFIX = len("-") + 6


@policy(
    Change("modules/alerts.bicep", "metric: 'ActiveMessages'", "metric: 'Http5xx'"),
    Change("modules/alerts.bicep", "metricName: 'ServiceAvailability'", "metricName: 'Http5xx'"),
    Change(
        "modules/alerts.bicep",
        "namespace: 'Microsoft.ServiceBus/namespaces'",
        "namespace: 'Microsoft.Web/sites'",
    ),
)
def alerts_are_on_metrics_that_exist(infra: Infra) -> Iterator[str]:
    module = infra.files["modules/alerts.bicep"]
    asked = [(row["namespace"], row["metric"]) for row in module.variables["metrics"].value]
    for alert in infra.resources("Microsoft.Insights/metricAlerts"):
        criteria = alert.get("properties.criteria.allOf") or []
        asked += [(each["metricNamespace"], each["metricName"]) for each in criteria]
    for namespace, metric in asked:
        if not metric.startswith("alert.") and metric not in METRICS.get(namespace, ()):
            yield f"modules/alerts.bicep: {namespace} publishes no {metric} (if it does: METRICS)"


@policy(
    Change("modules/alerts.bicep", "failedLocationCount: 2", "failedLocationCount: 3"),
    Change("main.bicep", "healthPath = '/health'", "healthPath = '/healthy'"),
    Change("main.bicep", "${tenantHost}${healthPath}", "${ownUrl}${healthPath}"),
    Change("main.bicep", "'us-tx-sn1-azr'", "'emea-nl-ams-azr'"),
    Change("main.bicep", "'emea-nl-ams-azr', ", ""),
    Change("eu.bicepparam", "availabilityTest = true", "availabilityTest = false"),
    Change("test.bicepparam", "availabilityTest = false", "availabilityTest = true"),
)
def production_is_asked_from_outside(infra: Infra) -> Iterator[str]:
    main = infra.files["main.bicep"]
    url = main.resources["alerts"].get("params.healthUrl")
    if url != "availabilityTest ? '${tenantHost}${healthPath}' : ''":
        yield f"main.bicep: healthUrl is {url}, not where customers call"
    if main.variables["healthPath"].value != f"/{triggers()['health']['route']}":
        yield "main.bicep: healthPath is not the route of the function health"
    places = main.variables["testLocations"].value
    for region, prefix in CONTINENT.items():
        if len({*places[region]}) < 3 or not all(p.startswith(prefix) for p in places[region]):
            yield f"main.bicep: {places[region]} are not three places of {region}"
    if "failedLocationCount: 2\n" not in infra.texts["modules/alerts.bicep"]:
        yield "modules/alerts.bicep: one place alone must not wake anybody, and two must"
    for stamp in STAMPS:
        asked = infra.files[f"{stamp}.bicepparam"].parameters["availabilityTest"].value
        if asked is not (stamp in CONTINENT):
            yield f"{stamp}.bicepparam: availabilityTest is {asked}"


def _one_after_the_other(infra: Infra, file: str, symbols: list[str]) -> Iterator[str]:
    """Which of them may change at the same time."""
    after = infra.after(file)
    for one, other in combinations(symbols, 2):
        if one not in after[other] and other not in after[one]:
            yield f"{file}: {one} and {other} may change the same resource at once"


def _writers(infra: Infra, *prefixes: str) -> Iterator[str]:
    """What changes resources whose type begins so at once: in a file, and among modules."""
    files = {
        file.name: [
            symbol
            for symbol, resource in file.resources.items()
            if resource.type.startswith(prefixes) and not resource.existing
        ]
        for file in infra.files.values()
    }
    for name, symbols in files.items():
        yield from _one_after_the_other(infra, name, symbols)
    modules = [module.symbol for module in infra.modules() if files.get(module.type)]
    yield from _one_after_the_other(infra, "main.bicep", modules)


@policy(
    Change("modules/functionapp.bicep", "dependsOn: [ftpPassword]", "dependsOn: [app]"),
    Change("main.bicep", "dependsOn: [settings] // a site", "dependsOn: [app] // a site"),
)
def a_site_takes_one_change_at_a_time(infra: Infra) -> Iterator[str]:
    yield from _writers(infra, "Microsoft.Web/sites")


@policy(
    Change("modules/roles.bicep", "dependsOn: [appDatabase]", "dependsOn: [appQueue]"),
    Change(
        "modules/roles.bicep",
        "@batchSize(1)\nresource operatorDatabase",
        "resource operatorDatabase",
    ),
    Change("modules/endpoints.bicep", "@batchSize(1)\n", ""),
    Change("main.bicep", "  dependsOn: [roles]\n", ""),
)
def a_cosmos_db_account_takes_one_change_at_a_time(infra: Infra) -> Iterator[str]:
    yield from _one_after_the_other(infra, "main.bicep", ["cosmos", "roles", "endpoints"])
    yield from _writers(infra, "Microsoft.DocumentDB/")
    for resource in infra.resources():
        one_account = resource.type.endswith("/sqlRoleAssignments")
        if one_account or resource.type == "Microsoft.Network/privateEndpoints":
            looped = re.search(r"=\s*\[\s*for ", resource.text) is not None
            if looped and resource.decorators.get("batchSize") != 1:
                yield f"{resource}: no @batchSize(1)"


@policy(
    Change("main.bicep", "@maxLength(7)\nparam stamp", "@maxLength(8)\nparam stamp"),
    Change("main.bicep", "'kv-muster-${suffix}'", "'vault-muster-${suffix}'"),
    Change("test.bicepparam", "stamp = 'test'", "stamp = 'testing1'"),
)
def names_are_no_longer_than_azure_takes(infra: Infra) -> Iterator[str]:
    longest = infra.files["main.bicep"].parameters["stamp"].decorators["maxLength"]
    text = infra.texts["main.bicep"]
    for prefix, most in NAMES.items():
        if f"'{prefix}${{" not in text:
            yield f"main.bicep: no name begins with {prefix}: NAMES is out of date"
        if len(prefix) + longest + SUFFIX > most:
            yield f"main.bicep: {prefix}… may have more than {most} characters"
    for name, file in infra.files.items():
        stamp = file.parameters.get("stamp")
        if name.endswith(".bicepparam") and stamp and len(str(stamp.value)) > longest:
            yield f"{name}: {stamp.value} has more than {longest} characters"


@policy(
    Change(
        "modules/cosmos.bicep",
        "    backupPolicy: {",
        "    capacity: {\n      totalThroughputLimit: 4000\n    }\n    backupPolicy: {",
    ),
    Change(
        "modules/domain.bicep", "Microsoft.Web/sites/certificates@", "Microsoft.Web/certificates@"
    ),
)
def nothing_is_set_that_azure_refuses(infra: Infra) -> Iterator[str]:
    for account in infra.resources("Microsoft.DocumentDB/databaseAccounts"):
        # Must not lie below what is provisioned, and counts each region.
        if account.get("properties.capacity") is not None:
            yield f"{account}: a limit for the account stands in the way of its own container"
    for certificate in infra.resources("Microsoft.Web/certificates"):
        yield f"{certificate}: the plan takes certificates of the site only"


@policy(
    Change("modules/alerts.bicep", "'Average' // the maximum", "'Maximum' // the maximum"),
)
def request_units_are_judged_by_their_average(infra: Infra) -> Iterator[str]:
    """Under autoscale, the maximum is 100 % whenever there is a peak of one second."""
    for row in infra.files["modules/alerts.bicep"].variables["metrics"].value:
        if row["metric"] == "NormalizedRUConsumption" and row["aggregation"] != "Average":
            yield "modules/alerts.bicep: NormalizedRUConsumption by another figure than its average"


@policy(
    Change("modules/functionapp.bicep", "alwaysReadyReconcilers) < 2", "2) < 2"),
    Change("modules/functionapp.bicep", "? fail('With zone", "? concat('With zone"),
    Change("modules/functionapp.bicep", "'function:reconcile'", "'function:reconciler'"),
    Change("modules/functionapp.bicep", "name: 'http'", "name: 'function:scim'"),
    Change("us.bicepparam", "alwaysReadyReconcilers = 2", "alwaysReadyReconcilers = 1"),
)
def with_zones_two_instances_of_each_kind_are_ready(infra: Infra) -> Iterator[str]:
    """A zone-redundant plan refuses one."""
    file = infra.files["modules/functionapp.bicep"]
    if file.variables["tooFew"].value != (
        "zoneRedundant && min(alwaysReadyInstances, alwaysReadyReconcilers) < 2"
    ):
        yield f"{file.name}: tooFew is not what Azure refuses"
    ready = file.resources["app"].get(
        "properties.functionAppConfig.scaleAndConcurrency.alwaysReady"
    )
    if not str(ready).startswith("tooFew ? fail("):
        yield f"{file.name}: nobody says that there are too few"
    queued = {name for name, each in triggers().items() if each["type"] == "serviceBusTrigger"}
    named = [group["name"] for group in file.variables["alwaysReady"].value]
    # Webhooks may wait until an instance starts; access may not.
    if named != ["http", "function:reconcile"] or "reconcile" not in queued:
        yield f"{file.name}: {named} are not the app's groups"
    for stamp in STAMPS:
        parameters = infra.files[f"{stamp}.bicepparam"].parameters
        least = 2 if parameters["zoneRedundant"].value else 0
        for name in ("alwaysReadyInstances", "alwaysReadyReconcilers"):
            if parameters[name].value < least:
                yield f"{stamp}.bicepparam: {name} is less than {least}"


POLICIES = (
    request_units_are_judged_by_their_average,
    with_zones_two_instances_of_each_kind_are_ready,
    alerts_are_on_metrics_that_exist,
    production_is_asked_from_outside,
    a_site_takes_one_change_at_a_time,
    a_cosmos_db_account_takes_one_change_at_a_time,
    names_are_no_longer_than_azure_takes,
    nothing_is_set_that_azure_refuses,
)
