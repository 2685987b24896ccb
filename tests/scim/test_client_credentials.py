"""A SCIM client that fetches its tokens, on every store and through the Functions runtime."""

from datetime import timedelta
from uuid import uuid4

from administration.clients import Clients
from administration.directories import Directories, holder_of
from tests.scim.messages import create_group, group
from tests.transports import Tenant
from web.surface import HEADERS


async def test_from_secret_to_group(tenant: Tenant) -> None:
    """Product section 2: way (c), from end to end."""
    id, secret = await tenant.changing(Clients).add_secret("entra", timedelta(days=1))
    form = {"grant_type": "client_credentials"}
    async with tenant.muster.connect("/oauth", None) as oauth:
        granted = await oauth.post("/token", data=form, auth=(id, secret))
        wrong = await oauth.post("/token", data=form, auth=(id, secret[:-1]))
        unknown = await oauth.post("/nowhere", headers={"x-request-id": "6f1d-7"})
    statuses = [answer.status_code for answer in (granted, wrong, unknown)]
    assert statuses == [200, 401, 404]
    assert unknown.headers["x-request-id"] == "6f1d-7"
    for answer in (granted, wrong, unknown):
        assert HEADERS.items() <= answer.headers.items()
        assert answer.headers["x-request-id"]
    scim = await tenant.muster.scim(granted.json()["access_token"])
    sales = await create_group(scim, "Sales")
    renamed = await tenant.scim.put(f"/Groups/{sales}", json=group("Renamed"))
    assert renamed.status_code == 200, "both are the connection that brought it"


async def test_a_directory_is_one_tenants_on_every_store(tenant: Tenant) -> None:
    """Its claim lies in a partition of its own."""
    store = tenant.muster.store
    directory = str(uuid4())
    await tenant.changing(Directories).register(directory)
    assert await holder_of(store, directory) == tenant.tenant_id
    await tenant.changing(Directories).register(None)
    assert await holder_of(store, directory) is None
