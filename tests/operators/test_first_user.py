"""From nothing to the first provisioned user, by the operators' interface and the set-up page
alone."""

import re

import httpx

from tests.console.conftest import BASE
from tests.console.organisation import Form, followed, shown
from tests.environment import Environment, client_of
from tests.scim.messages import user


async def test_a_customer_begins(muster: Environment, operator: httpx.AsyncClient) -> None:
    tenant = {"id": "contoso", "name": "Contoso"}
    assert (await operator.post("/tenants", json=tenant)).status_code == 201
    made = (await operator.post("/tenants/contoso/set-up-links")).json()

    transport = httpx.ASGITransport(app=muster.application.console)
    _, console, way_in = made["link"].partition("/console")
    async with httpx.AsyncClient(transport=transport, base_url=BASE) as browser:
        page = await browser.get(console + way_in)
        assert page.status_code == 200, page.text
        await followed(browser, await Form(page, "/set-up/link").send(browser))
        page = await shown(browser, "/set-up")
        fresh = await Form(page, "/set-up/tokens").send(browser)
        (secret,) = {*re.findall(r"muster_scim_contoso_\w+", fresh.text)}
        await followed(browser, await Form(fresh, "/set-up/enable").send(browser))

    async with client_of(muster.application.scim, "/scim", secret) as scim:
        assert (await scim.post("/Users", json=user("ada", externalId="1"))).status_code == 201
    health = (await operator.get("/tenants/contoso/health")).json()
    assert health["summary"]["users"] == 1
    done = {step["key"] for step in health["checklist"] if step["state"] == "done"}
    assert {"credential", "enabled", "user", "externalId"} <= done
