"""`manage.py simulate --dry-target`: does a Muster answer there, does it refuse requests without a
token, and would Test Connection in Entra ID be green? Nothing is written."""

import asyncio
import time
from typing import Any

import httpx

from administration.errors import AdministrationError
from laptop.simulation.provisioning import Provisioning, ProvisioningError

WAIT_SECONDS = 120.0
"""How long a deployment may take until it answers correctly."""
PAUSE_SECONDS = 5.0


async def try_target(url: str, token: str, wait_seconds: float = WAIT_SECONDS) -> dict[str, Any]:
    """The result, with the seconds until every check passed. A deployment that is still starting is
    tried again. Raises AdministrationError with the last error after `wait_seconds`."""
    tenant_url = f"{url.rstrip('/')}/scim"
    started = time.monotonic()
    while True:
        try:
            await _refuses_strangers(tenant_url)
            if token:
                await _connects(tenant_url, token)
        except (ProvisioningError, httpx.HTTPError) as error:
            if time.monotonic() - started > wait_seconds:
                raise AdministrationError(f"{tenant_url}: {str(error) or repr(error)}") from None
            await asyncio.sleep(min(PAUSE_SECONDS, wait_seconds))
            continue
        return {
            "target": tenant_url,
            "refusesStrangers": True,
            "testConnection": "green" if token else "not tried: no token",
            "seconds": round(time.monotonic() - started, 1),
        }


async def _refuses_strangers(tenant_url: str) -> None:
    async with httpx.AsyncClient(timeout=30) as client:
        answer = await client.get(f"{tenant_url}/Users", params={"count": 0})
    if answer.status_code != 401 or "WWW-Authenticate" not in answer.headers:
        raise ProvisioningError(
            f"GET /Users without a token answered {answer.status_code} in place of 401 with "
            f"WWW-Authenticate: {answer.text[:200]}"
        )


async def _connects(tenant_url: str, token: str) -> None:
    provisioning = Provisioning(tenant_url, token)
    try:
        await provisioning.test_connection()
    finally:
        await provisioning.close()
