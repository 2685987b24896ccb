"""The smoke test after a deployment, against a Muster that runs and against what is none."""

import pytest

from administration.errors import AdministrationError
from laptop.simulation.dry import try_target
from tests.hosting import Host
from tests.transports import through_functions


async def test_a_muster_is_recognised_and_nothing_is_written(host: Host) -> None:
    async with through_functions(host) as muster:
        tenant = await muster.tenant(enabled=False)  # as it is before anybody enables it
        url = str(tenant.scim.base_url).removesuffix("/").removesuffix("/scim")
        seen = await try_target(url, tenant.token)
        assert seen["refusesStrangers"] is True
        assert seen["testConnection"] == "green"
        assert (await try_target(url, ""))["testConnection"].startswith("not tried")
        assert await tenant.events() == []
        with pytest.raises(AdministrationError, match="test connection: GET answered 401"):
            await try_target(url, "muster_scim_wrong", wait_seconds=0)
        with pytest.raises(AdministrationError, match="in place of 401"):
            await try_target(f"{url}/nothing-here", tenant.token, wait_seconds=0)


async def test_nobody_there(unused_tcp_port: int) -> None:
    with pytest.raises(AdministrationError, match="connection attempts failed"):
        await try_target(f"http://127.0.0.1:{unused_tcp_port}", "", wait_seconds=0)
