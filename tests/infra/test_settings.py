"""Three lists of settings that must be one: what the code reads (settings.py), what Azure sets
(infra/modules/settings.bicep) and what a laptop with Core Tools sets
(local.settings.example.json). The code's is the one that counts; docs/settings.md explains each."""

import json
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import SecretStr
from pydantic.fields import FieldInfo

import laptop.devhost.http
from directory.cosmos.indexing import PARTITION_KEY, indexing_policy
from queues.port import ACCESS_CHANGES, DIRECTORY_EVENTS, WEBHOOK_DELIVERIES, WEBHOOKS
from queues.sqlite.file import DUPLICATE_DETECTION_SECONDS
from scim.exchange import BODY_BYTES
from settings import Settings
from tests.infra.bicep import Infra
from tests.triggers import triggers

ROOT = Path(__file__).parents[2]
BICEP = "infra/modules/settings.bicep"
LOCAL = "local.settings.example.json"

LAPTOP = {
    "MUSTER_COSMOS_KEY": "the emulator's; Azure has identities",
    "ServiceBusConnection": "the emulator's; Azure has identities",
    "MUSTER_DATA": "on Azure, state is in Cosmos DB and Service Bus",
    "MUSTER_WEBHOOK_PRIVATE": "for a receiver on the same machine; Azure sends to the internet",
    "MUSTER_TRACE": "writes traces to a terminal; Azure has Application Insights",
}
"""Settings that Azure does not set, and why."""

HOST = {
    "APPLICATIONINSIGHTS_AUTHENTICATION_STRING": "the host sends telemetry with the identity",
    "APPLICATIONINSIGHTS_CONNECTION_STRING": "the host, where telemetry goes",
    "AZURE_CLIENT_ID": "azure-identity, which identity to use",
    "AZURE_TOKEN_CREDENTIALS": "azure-identity, which kind of credential to use",
    "AzureWebJobsDisableHomepage": "the host",
    "AzureWebJobsStorage": "the host's own storage (Azurite)",
    "AzureWebJobsStorage__accountName": "the host's own storage",
    "AzureWebJobsStorage__clientId": "the host's own storage",
    "AzureWebJobsStorage__credential": "the host's own storage",
    "FUNCTIONS_REQUEST_BODY_SIZE_LIMIT": "the host, which reads a body before anybody looks at it",
    "FUNCTIONS_WORKER_RUNTIME": "Core Tools; Flex Consumption takes it from functionAppConfig",
    "ServiceBusConnection__clientId": "the trigger",
    "ServiceBusConnection__credential": "the trigger",
}
"""What is set for somebody else than the code."""


def code_settings() -> dict[str, FieldInfo]:
    """Environment variable → field of settings.Settings."""
    prefix = str(Settings.model_config.get("env_prefix"))
    return {
        str(field.validation_alias or (prefix + name).upper()): field
        for name, field in Settings.model_fields.items()
    }


def bicep_settings(infra: Infra) -> dict[str, Any]:
    settings = infra.files["modules/settings.bicep"].resources["settings"].get("properties")
    assert isinstance(settings, dict)
    return settings


def local_settings() -> dict[str, str]:
    values: dict[str, str] = json.loads((ROOT / LOCAL).read_text())["Values"]
    return values


def is_secret(field: FieldInfo) -> bool:
    return field.annotation is SecretStr


def problems(code: dict[str, FieldInfo], bicep: dict[str, Any], local: dict[str, str]) -> list[str]:
    """Each as what to do about it."""
    found = []
    for name, field in code.items():
        if is_secret(field) and name in bicep and "@Microsoft.KeyVault" not in str(bicep[name]):
            found.append(f"{name} is secret: {BICEP} may set it by a Key Vault reference only.")
        if name not in bicep and name not in LAPTOP:
            found.append(
                f"settings.Settings reads {name}, which {BICEP} does not set: add it there, with a "
                "parameter in main.bicep if stamps differ in it (or, if it is for "
                "laptops only, to LAPTOP in this test with the reason)."
            )
        # One connection has two forms: a host name for identities, a string for emulators.
        if name not in local and name.partition("__")[0] not in local:
            found.append(
                f"settings.Settings reads {name}, which {LOCAL} does not name: add it, with the "
                f"default ({field.default!r}) or what the emulators need."
            )
    for where, names in ((BICEP, bicep), (LOCAL, local)):
        found += [
            f"{where} sets {name}, which nothing reads: remove it."
            for name in names
            if name not in code and name not in HOST
        ]
    return found


def test_the_three_lists_are_one() -> None:
    assert problems(code_settings(), bicep_settings(Infra.read()), local_settings()) == []


def test_a_difference_is_seen() -> None:
    code, bicep, local = code_settings(), bicep_settings(Infra.read()), local_settings()
    other = {"MUSTER_OTHER": ""}
    for changed, told in (
        (
            problems(code, without(bicep, "MUSTER_REGION"), local),
            "reads MUSTER_REGION, which infra",
        ),
        (
            problems(code, bicep, without(local, "MUSTER_REGION")),
            "reads MUSTER_REGION, which local",
        ),
        (
            problems(without(code, "MUSTER_REGION"), bicep, local),
            "sets MUSTER_REGION, which nothing",
        ),
        (problems(code, bicep | other, local), "sets MUSTER_OTHER, which nothing"),
        (problems(code, bicep, local | other), "sets MUSTER_OTHER, which nothing"),
        (problems(code, bicep | {"MUSTER_COSMOS_KEY": "listed"}, local), "Key Vault reference"),
    ):
        assert any(told in problem for problem in changed), told


def without[T](settings: dict[str, T], name: str) -> dict[str, T]:
    return {other: value for other, value in settings.items() if other != name}


def test_the_readme_explains_every_setting() -> None:
    readme = (ROOT / "docs/settings.md").read_text()
    assert [name for name in code_settings() if f"`{name}`" not in readme] == []


def test_what_bicep_sets_is_read_as_it_is_meant(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in bicep_settings(Infra.read()).items():
        monkeypatch.setenv(name, value if isinstance(value, str) and value.isdigit() else "")
    assert Settings().schemas is None  # an empty setting is one that is not set
    defaults = Settings.model_fields.items()
    assert Settings().model_dump() == {
        name: field.get_default(call_default_factory=True) for name, field in defaults
    }


def test_names_and_numbers_are_those_of_the_code() -> None:
    infra = Infra.read()
    defaults = {name: field.default for name, field in code_settings().items()}
    bus = infra.files["modules/servicebus.bicep"]
    assert bus.resources["events"].get("name") == DIRECTORY_EVENTS
    assert bus.resources["changes"].get("name") == ACCESS_CHANGES
    assert bus.resources["application"].get("name") == "application"
    assert bus.resources["webhooks"].get("name") == WEBHOOKS
    assert bus.resources["deliveries"].get("name") == WEBHOOK_DELIVERIES
    assert bus.variables["duplicateWindow"].value == "PT10M"
    assert DUPLICATE_DETECTION_SECONDS == 10 * 60  # PT10M
    cosmos = infra.files["modules/cosmos.bicep"].resources
    assert cosmos["database"].get("name") == defaults["MUSTER_COSMOS_DATABASE"]
    assert cosmos["container"].get("name") == defaults["MUSTER_COSMOS_CONTAINER"]
    assert cosmos["container"].get("properties.resource.partitionKey.paths") == [
        "/" + "/".join(PARTITION_KEY)
    ]
    deliveries = infra.files["main.bicep"].variables["maxDeliveryCount"].value
    assert deliveries == defaults["MUSTER_MAX_DELIVERY_COUNT"]
    parameters = infra.files["main.bicep"].parameters
    assert parameters["retentionDays"].value == defaults["MUSTER_RETENTION_DAYS"]
    assert parameters["requestsPerSecond"].value == defaults["MUSTER_REQUESTS_PER_SECOND"]


def test_regions_are_those_of_the_code() -> None:
    regions = list(get_args(Settings.model_fields["region"].annotation))
    for file in Infra.read().files.values():
        if "region" in file.parameters and file.name.endswith(".bicep"):
            assert file.parameters["region"].decorators["allowed"] == regions, file.name


def test_triggers_find_their_queue_and_its_connection() -> None:
    infra = Infra.read()
    bus = infra.files["modules/servicebus.bicep"].resources
    queues = {bus[symbol].get("name") for symbol in ("events", "deliveries")}
    queued = [trigger for trigger in triggers().values() if trigger["type"] == "serviceBusTrigger"]
    assert {each["queueName"] for each in queued if "queueName" in each} == queues
    assert {
        (each["topicName"], each["subscriptionName"]) for each in queued if "topicName" in each
    } == {(bus["changes"].get("name"), bus["webhooks"].get("name"))}
    for trigger in queued:
        name = f"{trigger['connection']}__fullyQualifiedNamespace"
        assert name in bicep_settings(infra)


def test_the_indexing_policy_is_the_code_s() -> None:
    infra = Infra.read()
    container = infra.files["modules/cosmos.bicep"].resources["container"]
    loaded = container.get("properties.resource.indexingPolicy")
    assert loaded == "loadJsonContent('../indexing-policy.json')"
    assert json.loads(infra.texts["indexing-policy.json"]) == indexing_policy(), (
        "The indexes have changed: run `make indexing-policy`."
    )


def test_the_host_s_file_says_nothing_that_the_plan_ignores() -> None:
    """On Flex Consumption the number of requests at once is the app's, not the file's
    (https://learn.microsoft.com/azure/azure-functions/functions-concurrency)."""
    host = json.loads((ROOT / "host.json").read_text())
    assert [*host["extensions"]["http"]] == ["routePrefix"]
    assert not host.keys() & {"concurrency", "healthMonitor", "singleton", "aggregator"}


def test_every_host_takes_a_little_more_than_muster_takes() -> None:
    """Its refusal has no text: what is a little too large should reach Muster's own."""
    name = laptop.devhost.http.LIMIT_SETTING
    told = {"devhost": laptop.devhost.http.BODY_BYTES, LOCAL: int(local_settings()[name])}
    if name in (bicep := bicep_settings(Infra.read())):
        told[BICEP] = int(str(bicep[name]).strip("'"))
    assert set(told.values()) == {told[LOCAL]}, told
    assert BODY_BYTES < told[LOCAL] <= 2 * BODY_BYTES
