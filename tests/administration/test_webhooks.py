"""`manage.py webhook`: endpoints, their secrets, and what is sent to them once more."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import orjson
import pytest

from administration.tenants import Tenancy
from delivery.message import Delivery, told_by
from queues.port import WEBHOOK_DELIVERIES
from queues.sqlite.queue import SqliteQueue
from settings import DATABASE
from tests.administration.operating import Operator
from tests.contract.counting import counted
from tests.environment import Environment
from tests.hosting import running_host

URL = "https://app.example/hooks"


def waiting(folder: Path) -> int:
    """How many messages wait to be delivered."""

    async def count() -> int:
        queue = SqliteQueue(folder / DATABASE, WEBHOOK_DELIVERIES)
        try:
            return (await counted(queue)).active
        finally:
            await queue.close()

    return asyncio.run(count())


def test_an_endpoint_from_its_making_to_its_end(operator: Operator, tmp_path: Path) -> None:
    operator.does("tenant", "create", "acme", "--name", "Acme")
    made = operator.does(
        "webhook", "create", URL, "--label", "App", "--type", "access.changed", "--tenant", "acme"
    )
    id, (secret,) = made["endpointId"], made["secrets"]
    assert secret.startswith("whsec_")
    assert secret not in operator.reads("webhook", "list") + operator.reads("webhook", "show", id)
    assert secret in operator.reads("webhook", "show", id, "--secret")
    assert operator.does("webhook", "show", id)["keys"][0]["version"] == 1
    rotated = operator.does("webhook", "rotate", id)["secrets"]
    assert (len(rotated), rotated[1]) == (2, secret)
    assert "two live secrets" in operator.fails("webhook", "rotate", id)
    leaked = operator.does("webhook", "rotate", id, "--at-once")["secrets"]
    assert len(leaked) == 1
    assert leaked[0] not in rotated
    operator.does("store", "roll-key")
    assert operator.does("webhook", "show", id, "--secret")["secrets"] == leaked
    operator.does("store", "roll-key", "--at-once")
    assert operator.does("webhook", "show", id, "--secret")["secrets"] != leaked

    assert operator.does("webhook", "disable", id)["state"] == "disabled"
    (listed,) = operator.does("webhook", "list")
    assert (listed["reason"], listed["label"], listed["tenants"]) == (
        "An operator disabled it.",
        "App",
        ["acme"],
    )
    assert "webhook enable" in operator.fails("webhook", "resend", id, "--since", "2026-01-01")
    assert operator.does("webhook", "enable", id)["reason"] == ""
    assert "webhook log" in operator.fails("webhook", "resend", id, "01m9bq3kq8x5n7c2v4r6t8y0aa")
    test = operator.does("webhook", "test", id)
    assert waiting(tmp_path) == 1
    assert operator.does("webhook", "resend", id, test["messageId"])["messages"] == 1
    assert waiting(tmp_path) == 2
    assert operator.does("webhook", "log", id) == []
    assert operator.does("webhook", "delete", id) == {"deleted": id}
    assert operator.does("webhook", "list") == []
    for gone in (id, "no/id"):
        assert "webhook list" in operator.fails("webhook", "delete", gone)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["http://app.example/"], "https URL"),
        (["https://169.254.169.254/"], "public address"),
        ([URL, "--type", "access.gone"], "no type access.gone"),
        ([URL, "--label", "x" * 201], "200 characters"),
        ([URL, "--tenant", "nobody"], "no tenant nobody"),
    ],
)
def test_what_can_be_no_endpoint_is_refused(
    operator: Operator, arguments: list[str], said: str
) -> None:
    assert said in operator.fails("webhook", "create", *arguments).replace("\n", " ")


@contextmanager
def refusing() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """A receiver that answers 500: its URL, and what it is sent."""
    received: list[dict[str, Any]] = []

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received.append(orjson.loads(self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(500)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Nobody reads it."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Receiver) as server:
        serving = Thread(target=server.serve_forever, args=(0.01,))
        serving.start()
        yield f"http://127.0.0.1:{server.server_port}/", received
        server.shutdown()
        serving.join()


def test_a_running_server_sends_what_happens(tmp_path: Path) -> None:
    """From a command to the receiver, through the Functions host, and what came of it."""
    folder, settings = tmp_path / "data", {"MUSTER_WEBHOOK_PRIVATE": "true"}
    operator = Operator(folder, **settings)
    with refusing() as (url, received), running_host(folder, **settings):
        made = operator.does("webhook", "create", url, "--type", "access.changed")
        id = made["endpointId"]
        operator.does("webhook", "test", id)
        ada = "--given-name Ada --family-name Hansen --email ada@contoso.example".split()
        operator.does("user", "create", "demo", "ada@contoso.example", *ada)
        for _ in range(300):
            log = operator.does("webhook", "log", id, "--failed")
            if {one["type"] for one in log} == {"test", "access.changed"}:
                break
            time.sleep(0.1)
    assert {one["type"] for one in received} == {"test", "access.changed"}
    assert {one["data"].get("tenantId", "") for one in received} == {"", "demo"}
    assert {(one["type"], one["outcome"], bool(one["nextAt"])) for one in log} == {
        ("test", "500", False),
        ("access.changed", "500", True),
    }


async def test_a_tenant_that_is_enabled_or_disabled_is_told_of_once(
    environment: Environment,
) -> None:
    application, tenancy = environment.application, environment.changing(Tenancy)
    await application.webhooks.create(URL)
    for state in ("disabled", "disabled", "enabled"):
        await tenancy.set_provisioning(state)
    assert [await application.deliveries.send_notices() for _ in range(2)] == [2, 0]
    queue = application.webhook_queue
    assert isinstance(queue, SqliteQueue)
    for message in await queue.receive(10):
        await application.deliveries.handle(Delivery.parse(message.body), last=False)
        await queue.complete(message)
    told = []
    for message in await queue.receive(10):
        delivery = Delivery.parse(message.body)
        stored = await application.store.read(delivery.partition, delivery.document)
        told.append(orjson.loads(told_by(stored.document).body))
    assert [(one["type"], one["data"]["tenantId"]) for one in told] == [
        ("tenant.disabled", environment.tenant_id),
        ("tenant.enabled", environment.tenant_id),
    ]
