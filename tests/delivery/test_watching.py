"""The application hears in time that a secret ends, and that a tenant's requests are refused."""

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from administration.credentials import Credentials
from administration.tenants import new_tenant
from delivery.watching import Watch
from directory.notices import Notice
from directory.reading import every_tenant
from directory.store import Create, Query, Upsert
from directory.tenants import RequestCount, Tenant, Token
from tests.delivery.world import TENANT, World, world
from tests.reconciler.places import PLACES


async def notices(world: World) -> list[tuple[str, dict[str, Any]]]:
    found = every_tenant(world.store, Query("Notice"))
    told = [Notice.from_document(stored.document) async for stored in found]
    return [(notice.kind, notice.details) for notice in sorted(told, key=lambda one: one.at)]


def counted(now: datetime, process: str, requests: int, errors: int) -> RequestCount:
    return RequestCount(
        tenant_id=TENANT,
        hour=now.replace(minute=0, second=0, microsecond=0),
        process=process,
        requests=requests,
        errors=errors,
        last=now,
        ttl=90_000,
    )


def with_token(days: float, now: datetime) -> Tenant:
    token = Token(token_id="t1", digest="", created=now, expires=now + timedelta(days=days))
    tenant = new_tenant(TENANT, "Contoso", "eu")
    return tenant.model_copy(update={"access_tokens": (token,)})


@pytest.mark.parametrize("place", PLACES)
async def test_a_secret_that_ends_is_told_of_at_each_stage_once(tmp_path: Path, place: str) -> None:
    async with world(tmp_path, place=place) as found:
        watch, begin = Watch(found.store, found.now), found.now()
        await found.store.batch(TENANT, [Create(with_token(40, begin).to_document())])
        found.clock[0] = begin + timedelta(days=20)
        assert await watch.look() == 0, "there is nobody to tell"
        await found.endpoint("there")
        expected = {0: 0, 10: 1, 20: 0, 33.5: 1, 38: 0, 39.5: 1, 40: 0, 41: 0}
        for days, count in expected.items():
            found.clock[0] = begin + timedelta(days=days)
            assert [await watch.look() for _ in range(2)] == [count, 0], days
        (kind, details), *_ = await notices(found)
        assert (kind, details["secretId"], details["kind"]) == ("secret.ending", "t1", "access")


async def test_a_credential_of_the_deployment_that_ends_is_told_of(tmp_path: Path) -> None:
    async with world(tmp_path) as found:
        watch, credentials = Watch(found.store, found.now), Credentials(found.store, found.now)
        await found.endpoint("there")
        ends = found.now() + timedelta(days=6)
        credential, _ = await credentials.create("application", "billing", ends)
        assert [await watch.look() for _ in range(2)] == [1, 0]
        said = {
            "credentialId": credential.credential_id,
            "name": "billing",
            "kind": "application",
            "secretId": credential.tokens[0].token_id,
            "expires": ends.isoformat().replace("+00:00", "Z"),
        }
        assert await notices(found) == [("secret.ending", said)]


async def test_a_tenant_whose_requests_are_refused_is_told_of_once_a_day(tmp_path: Path) -> None:
    async with world(tmp_path) as found:
        found.clock[0] = found.now().replace(hour=12, minute=30)
        watch, now = Watch(found.store, found.now), found.now()
        await found.endpoint("there")
        await found.store.batch(TENANT, [Create(new_tenant(TENANT, "C", "eu").to_document())])
        for process, requests, errors, told in (
            ("a", 40, 19, 0),  # few
            ("b", 100, 40, 0),  # less than half
            ("b", 70, 40, 1),
            ("c", 100, 100, 0),  # said already
        ):
            count = counted(now, process, requests, errors)
            await found.store.batch(TENANT, [Upsert(count.to_document())])
            assert await watch.look() == told
        assert await notices(found) == [
            ("tenant.refusing", {"tenantId": TENANT, "name": "C", "requests": 110, "errors": 59})
        ]
        found.clock[0] += timedelta(hours=2)
        assert await watch.look() == 0, "they are forgotten"
        found.clock[0] += timedelta(days=1)
        await found.store.batch(TENANT, [Upsert(counted(found.now(), "a", 20, 20).to_document())])
        assert await watch.look() == 1
