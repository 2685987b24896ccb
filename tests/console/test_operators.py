"""What an operator changes of a tenant is in its provisioning log: on the page, as CSV, in the
API."""

import asyncio
import csv
import io
import re
from pathlib import Path
from typing import get_args

import httpx
import pytest

from console.rendering import OPERATIONS
from directory.documents import Event
from directory.tenants import Tenant
from tests.administration.operating import Operator
from tests.console.organisation import shown
from tests.environment import TENANT, Environment

DIRECTORY = "5f0a7c3e-1b2d-4c55-9a10-0c4f7a7d1e01"
WORKLOAD = ("--subject", "an-object-id", "--audience", "api://muster")
HR = ("--connection", "hr")
CHANGES: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("disable", "provisioning", ("tenant", "disable", TENANT)),
    ("enable", "provisioning", ("tenant", "enable", TENANT)),
    ("policy", "strict", ("tenant", "policy", TENANT, "--strict")),
    ("connectionCreate", "connection hr", ("connection", "create", TENANT, "hr", "--name", "HR")),
    ("connectionRename", "connection hr", ("connection", "rename", TENANT, "hr", "--name", "H")),
    ("tokenCreate", "scim {id}", ("token", "create", TENANT, *HR)),
    ("tokenRotate", "scim {id} scim {id}", ("token", "rotate", TENANT, "{token}")),
    ("tokenRevoke", "scim {id}", ("token", "revoke", TENANT, "{token}")),
    (
        "secretCreate",
        "connection hr client {client} secret {id}",
        ("client", "create", TENANT, *HR),
    ),
    ("secretRotate", "connection hr secret {id} secret {id}", ("client", "rotate", TENANT, *HR)),
    ("secretRevoke", "connection hr secret {id}", ("client", "revoke", TENANT, "{secret}", *HR)),
    (
        "federation",
        "connection hr federation {id}",
        (
            *("client", "federate", TENANT, *HR, *WORKLOAD),
            *("--issuer", f"https://login.microsoftonline.com/{DIRECTORY}/v2.0"),
        ),
    ),
    (
        "clientRemove",
        "connection hr client {client} secret {id} federation {id}",
        ("client", "remove", TENANT, *HR),
    ),
    (
        "directory",
        f"directory {DIRECTORY}",
        ("tenant", "entra", TENANT, "--directory-id", DIRECTORY),
    ),
    ("entraTokens", "accepted", ("tenant", "entra", TENANT, "--no-accept")),
    ("directory", "no directory", ("tenant", "entra", TENANT, "--no-directory")),
    ("region", "region", ("tenant", "region", TENANT, "us")),
    ("region", "region", ("tenant", "region", TENANT, "eu")),
)
"""The operation, what its entry names, and the command."""


class Secrets(set[str]):
    """Everything secret that a tenant ever had, digests and keys included."""

    def add_those_of(self, tenant: Tenant, printed: object) -> None:
        """What is stored now, and what a command showed once."""
        self.update(re.findall(r"[0-9a-f]{64}", tenant.model_dump_json() + str(printed)))


async def stored(environment: Environment) -> Tenant:
    found = await environment.application.store.read(TENANT, "tenant")
    return Tenant.from_document(found.document)


def newest(tenant: Tenant) -> dict[str, str]:
    """The ids of what a command names, as they are now."""
    hr = next((each for each in tenant.connections if each.connection_id == "hr"), None)
    tokens = hr.tokens if hr else ()
    secrets = hr.client.secrets if hr and hr.client else ()
    return {
        "token": tokens[-1].token_id if tokens else "",
        "secret": secrets[-1].token_id if secrets else "",
    }


@pytest.fixture
async def performed(environment: Environment, tmp_path: Path) -> Secrets:
    """Every change of a tenant that operators make, and the secrets that came with them."""
    operator, secrets = Operator(tmp_path), Secrets()
    for _, _, command in CHANGES:
        ids = newest(await stored(environment))
        arguments = [part.format(**ids) for part in command]
        printed = await asyncio.to_thread(operator.does, *arguments)
        secrets.add_those_of(await stored(environment), printed)
    return secrets


def assert_named(found: str, named: str) -> None:
    """That an entry names this, whatever ids were made up."""
    pattern = re.escape(named).replace(r"\{id\}", "[0-9a-f]{8}").replace(r"\{client\}", r"[\w-]+")
    assert re.fullmatch(pattern, found), (found, named)


async def test_every_change_is_in_the_log_without_its_secrets(
    performed: Secrets, owner: httpx.AsyncClient, api: httpx.AsyncClient
) -> None:
    page = await shown(owner, "/log?type=Tenant")
    export = await shown(owner, "/log.csv?type=Tenant")
    answer = await api.get("/log", params={"type": "Tenant", "limit": 50})
    assert (await api.get("/log.csv", params={"type": "Tenant"})).text == export.text
    rows = list(csv.DictReader(io.StringIO(export.text)))[: len(CHANGES)]
    entries = [entry["event"] for entry in answer.json()["entries"]][: len(CHANGES)]
    entry_pages = [await shown(owner, f"/log/{entry['eventId']}") for entry in entries]
    titles = re.findall(r'data-label="What">([^<]*)<', page.text)
    listed = re.findall(r'data-label="Attributes">([^<]*)<', page.text)
    for number, (operation, named, _) in enumerate(reversed(CHANGES)):
        assert (rows[number]["operation"], entries[number]["operation"]) == (operation, operation)
        assert_named(rows[number]["attributes"], named)
        names = entries[number]["attributes"]
        assert_named(" ".join(names), named)
        assert rows[number]["actor"] == "operator manage.py"
        assert f"<h1>{OPERATIONS[operation]}:" in entry_pages[number].text
        assert ", ".join(names) in entry_pages[number].text
        assert (titles[number], listed[number]) == (OPERATIONS[operation], ", ".join(names))
    assert len(performed) >= 8
    everything = "".join(one.text for one in (page, export, answer, *entry_pages))
    assert not [secret for secret in performed if secret in everything]


def test_every_operation_has_words() -> None:
    """The filter of the page offers them all."""
    assert set(OPERATIONS) == set(get_args(Event.model_fields["operation"].annotation))


async def test_what_is_so_already_leaves_no_entry(
    environment: Environment, tmp_path: Path, performed: Secrets, api: httpx.AsyncClient
) -> None:
    assert performed
    before = (await api.get("/log")).json()
    operator = Operator(tmp_path)
    for command in (
        ("tenant", "enable", TENANT),
        ("tenant", "policy", TENANT, "--strict"),
        ("connection", "rename", TENANT, "hr", "--name", "H"),
        ("tenant", "entra", TENANT, "--no-accept", "--no-directory"),
        ("tenant", "region", TENANT, "eu"),
    ):
        await asyncio.to_thread(operator.does, *command)
    assert (await api.get("/log")).json() == before
