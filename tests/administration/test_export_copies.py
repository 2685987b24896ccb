"""Copies of tenants' files in Blob Storage: the real SDK against the service's wire protocol."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from administration.export_copies import CopiesIncomplete
from administration.tenants import Tenancy, create_tenant
from tests.emulators.blobs import Blobs, blobs
from tests.environment import TENANT, Environment, running

type Copied = tuple[Environment, Blobs]


@pytest.fixture
async def copied(tmp_path: Path) -> AsyncIterator[Copied]:
    """A Muster that copies its tenants' files."""
    async with (
        blobs() as container,
        running(tmp_path, export_url=f"{container.url}?") as environment,
    ):
        yield environment, container


def content(container: Blobs, name: str) -> Any:
    return json.loads(container.written[name][-1])


async def test_every_tenant_of_the_region_is_copied(copied: Copied) -> None:
    environment, container = copied
    application = environment.application
    await create_tenant(application.store, "second", "Second", "eu")
    await create_tenant(application.store, "elsewhere", "Elsewhere", "us")
    assert await application.write_copies() == 2
    assert {*container.written} == {f"eu/{TENANT}.json", "eu/second.json"}
    assert content(container, "eu/second.json")["tenant"]["name"] == "Second"


async def test_only_what_changed_is_written_again(copied: Copied) -> None:
    environment, container = copied
    application = environment.application
    await application.write_copies()
    assert await application.write_copies() == 0
    await Tenancy(application.service, TENANT).set_provisioning("disabled")
    assert await application.write_copies() == 1
    assert len(container.written[f"eu/{TENANT}.json"]) == 2
    assert content(container, f"eu/{TENANT}.json")["tenant"]["provisioning"] == "disabled"


async def test_one_tenant_that_cannot_be_copied_holds_up_no_other(
    copied: Copied, caplog: pytest.LogCaptureFixture
) -> None:
    environment, container = copied
    application = environment.application
    for name in ("a", "z"):
        await create_tenant(application.store, name, name, "eu")
    container.refused = {f"eu/{TENANT}.json"}
    with pytest.raises(CopiesIncomplete, match="1 tenants were not copied; 2 files were written"):
        await application.write_copies()
    assert {*container.written} == {"eu/a.json", "eu/z.json"}
    assert f"tenant {TENANT} was not copied: HttpResponseError" in caplog.text
    container.refused.clear()
    assert await application.write_copies() == 1


async def test_without_a_container_nothing_is_copied(environment: Environment) -> None:
    assert await environment.application.write_copies() == 0
