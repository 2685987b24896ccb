"""The emulators of compose.yaml have what the code, the example settings and Bicep name."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from queues.port import ACCESS_CHANGES, DIRECTORY_EVENTS, WEBHOOK_DELIVERIES, WEBHOOKS
from queues.servicebus.sender import ServiceBusNamespace, ServiceBusSender
from settings import Settings
from tests.infra.bicep import Infra
from wiring import Application

ROOT = Path(__file__).parents[2]
CONFIG = "infra/emulators/service-bus.json"
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]
VALUES: dict[str, str] = json.loads((ROOT / "local.settings.example.json").read_text())["Values"]


def published(service: str) -> set[int]:
    """The ports of this machine that lead to a service, each the service's own."""
    ports = [port.split(":") for port in COMPOSE[service]["ports"]]
    assert all(address == "127.0.0.1" and here == there for address, here, there in ports)
    return {int(here) for _, here, _ in ports}


def namespace() -> dict[str, Any]:
    """The one namespace that the emulator has."""
    (found,) = json.loads((ROOT / CONFIG).read_text())["UserConfig"]["Namespaces"]
    assert found["Name"] == "sbemulatorns", "the emulator knows no other"
    return dict(found)


def deployed(type: str) -> dict[str, dict[str, Any]]:
    """What Bicep makes of a type, by name."""
    resources = Infra.read().files["modules/servicebus.bicep"].resources.values()
    found = [resource.body for resource in resources if resource.type.endswith(type)]
    return {body["name"]: body for body in found}


def test_the_queues_are_those_of_the_code() -> None:
    names = {DIRECTORY_EVENTS, WEBHOOK_DELIVERIES}
    queues = {queue["Name"]: queue["Properties"] for queue in namespace()["Queues"]}
    assert queues.keys() == deployed("/queues").keys() == names


@pytest.mark.parametrize("name", [DIRECTORY_EVENTS, WEBHOOK_DELIVERIES])
def test_a_queue_is_the_one_of_azure(name: str) -> None:
    (properties,) = [one["Properties"] for one in namespace()["Queues"] if one["Name"] == name]
    azure = deployed("/queues")[name]
    assert properties["MaxDeliveryCount"] == Settings.model_fields["max_delivery_count"].default
    assert properties["LockDuration"] == azure["properties"]["lockDuration"]
    assert properties["RequiresDuplicateDetection"] is True
    assert properties["DuplicateDetectionHistoryTimeWindow"] == "PT5M", "the emulator's longest"
    assert properties["RequiresSession"] is azure["properties"]["requiresSession"] is False


def test_the_topic_has_the_subscriptions_of_the_application_and_of_webhooks() -> None:
    (topic,) = namespace()["Topics"]
    assert [topic["Name"]] == [*deployed("/topics")] == [ACCESS_CHANGES]
    assert topic["Properties"]["RequiresDuplicateDetection"] is True
    names = {subscription["Name"] for subscription in topic["Subscriptions"]}
    assert names == deployed("/topics/subscriptions").keys() == {"application", WEBHOOKS}


def test_the_emulator_finds_its_configuration_and_its_database() -> None:
    emulator, sql = COMPOSE["service-bus"], COMPOSE["sql"]
    assert f"./{CONFIG}:/ServiceBus_Emulator/ConfigFiles/Config.json:ro" in emulator["volumes"]
    assert emulator["environment"]["SQL_SERVER"] == "sql"
    assert emulator["depends_on"] == {"sql": {"condition": "service_healthy"}}
    password = "MSSQL_SA_PASSWORD"
    assert emulator["environment"][password] == sql["environment"][password]
    assert f"$${password}" in sql["healthcheck"]["test"]


async def test_the_example_settings_lead_to_the_emulators(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in VALUES.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("MUSTER_DATA", str(tmp_path))
    settings = Settings()
    assert settings.cosmos_endpoint == "http://localhost:8081/"
    assert 8081 in published("cosmos")
    assert settings.cosmos_key.get_secret_value()
    namespace = ServiceBusNamespace(settings.service_bus_connection.get_secret_value())
    async with namespace.client() as client:
        assert client.fully_qualified_namespace == "localhost"  # on AMQP's own port
    assert 5672 in published("service-bus")
    assert VALUES["AzureWebJobsStorage"] == "UseDevelopmentStorage=true"
    assert published("storage") == {10000, 10001, 10002}
    application = Application(settings)
    assert isinstance(application.sender, ServiceBusSender)
    await application.close()
