"""The set-up page, and links to it: who gets in by one, how far, and how that ends."""

import ast
import asyncio
import re
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import httpx
import pytest

from administration.connections import Connections
from administration.invitations import LIFE, LIVE, Invitation, Invitations
from administration.tenants import Tenancy, read_tenant
from administration.tokens import ListedToken, list_tokens
from console.pages import PAGES
from console.program import PROGRAM, filled_in
from directory.tenants import Tenant
from laptop.graph.program import load
from tests.administration.operating import Operator
from tests.console.conftest import BASE, DIRECTORY, client
from tests.console.organisation import ADD_IN, Form, followed, organisation, shown
from tests.environment import TENANT, Environment, change_tenant, client_of
from wiring import utc_now

OPEN_TO_LINKS = {
    ("GET", "/set-up"),
    ("GET", "/set-up/checklist"),
    ("POST", "/set-up/enable"),
    ("POST", "/set-up/tokens"),
    ("POST", "/set-up/tokens/{token}"),
    ("POST", "/set-up/clients"),
    ("POST", "/set-up/clients/{connection}"),
    ("POST", "/set-up/federation"),
    ("POST", "/set-up/program"),
}
"""What a set-up link opens. A page that is added here must show nothing about people, and give no
more than the set-up of this organisation needs."""


async def invite(environment: Environment) -> Invitation:
    return await environment.changing(Invitations).create(BASE)


async def enter(browser: httpx.AsyncClient, link: str, **headers: str) -> httpx.Response:
    """Open a set-up link and press the button there; without one, what the link says."""
    page = await browser.get(link)
    if page.status_code != 200:
        return page
    form = Form(page, "/set-up/link")
    return await browser.post("/console/set-up/link", data=form.fields, headers=headers)


@pytest.fixture
async def invited(environment: Environment, browser: httpx.AsyncClient) -> Invitation:
    """The browser's way in."""
    invitation = await invite(environment)
    assert (await enter(browser, invitation.link)).headers["location"] == "/console/set-up"
    return invitation


async def test_a_link_opens_by_its_button_as_often_as_needed(
    environment: Environment, browser: httpx.AsyncClient, owner: httpx.AsyncClient
) -> None:
    invitation = await invite(environment)
    async with client(environment) as scanner:
        for method in ("GET", "HEAD", "GET"):
            assert (await scanner.request(method, invitation.link)).status_code == 200
        assert not scanner.cookies, "whoever follows links opens nothing"
        assert (await enter(scanner, invitation.link, **{"sec-fetch-site": "cross-site"})).text
        assert not scanner.cookies, "no page elsewhere brings a browser into a session"
    for _ in range(2):
        async with client(environment) as another:
            assert (await enter(another, invitation.link)).status_code == 303
            page = await shown(another, "/set-up")
            assert f"set-up link {invitation.id}" in page.text
    overview = await shown(owner, "")
    assert invitation.link not in overview.text
    (row,) = re.findall(rf"<tr>(?:(?!</tr>).)*{invitation.id}.*?</tr>", overview.text, re.DOTALL)
    assert "never" not in row


async def test_what_is_no_key_of_a_living_link_opens_nothing(
    environment: Environment, browser: httpx.AsyncClient
) -> None:
    ago = replace(environment.application.service, now=lambda: utc_now() - LIFE)
    old = await Invitations(ago, TENANT).create(BASE)
    link = (await invite(environment)).link
    key = link.partition("key=")[2]
    changed = key[:-1] + ("0" if key[-1] != "0" else "1")
    for wrong in (
        *("", "x", "%00", "%ED%A0%80", "x" * 900, changed, key.replace("acme", "other")),
        *(key.replace("invitation", "console"), environment.token, old.link.partition("key=")[2]),
    ):
        refused = await browser.get(link.replace(key, wrong))
        assert (refused.status_code, "sk the person who" in refused.text) == (403, True), wrong
        assert (await browser.post("/console/set-up/link", data={"key": wrong})).status_code == 403
    assert not browser.cookies
    bearer = {"Authorization": f"Bearer {key}"}
    assert (await environment.client.get("/Users", headers=bearer)).status_code == 401
    assert (await browser.get("/console/api/tokens", headers=bearer)).status_code == 401


async def test_a_link_opens_the_set_up_of_its_organisation_and_nothing_else(
    environment: Environment, browser: httpx.AsyncClient, invited: Invitation
) -> None:
    assert {(page.method, page.path) for page in PAGES if page.set_up} == OPEN_TO_LINKS
    csrf = Form(await shown(browser, "/set-up"), "/set-up/tokens").fields["csrf"][0]
    for page in PAGES:
        path = re.sub(r"{\w+}", "x", page.path)
        data = {"csrf": csrf} if page.method == "POST" else None
        answer = await browser.request(page.method, f"/console{path}", data=data)
        closed = "Not with a set-up link" in answer.text
        assert (closed, answer.status_code == 403) == (not page.set_up,) * 2, page
    assert (await browser.get("/console/api/tokens")).status_code == 401


async def test_a_link_makes_tokens_of_connections_and_no_others(
    environment: Environment, browser: httpx.AsyncClient, invited: Invitation
) -> None:
    store = environment.application.store
    await change_tenant(store, TENANT, lambda t: t.model_copy(update={"provisioning": "disabled"}))
    page = await shown(browser, "/set-up")
    form = Form(page, "/set-up/tokens")
    for kind in ("console", "access", "invitation", "secret"):
        assert (await form.send(browser, kind=kind)).status_code == 404
    tenant = await read_tenant(store, TENANT)
    (of_the_application,) = tenant.access_tokens
    other = f"/console/set-up/tokens/{of_the_application.token_id}"
    for do in ("rotate", "revoke"):
        refused = await browser.post(other, data={**form.fields, "do": do})
        assert refused.status_code == 404
    assert "muster_scim_acme_" in (await form.send(browser)).text
    await followed(browser, await Form(page, "/set-up/enable").send(browser))
    tenant = await read_tenant(store, TENANT)
    assert tenant.provisioning == "enabled"
    kinds = sorted(one.kind for one in await tokens_of(environment))
    assert kinds == ["access", "scim", "scim"]


async def test_the_page_says_what_is_left_to_do_and_nothing_about_people(
    environment: Environment, browser: httpx.AsyncClient, owner: httpx.AsyncClient
) -> None:
    acme = await organisation(environment)
    for name in ("zoe", "yan", "zoe"):
        await environment.client.post("/Users", json={"userName": f"{name}@acme.example"})
    await environment.application.counter.close()
    await environment.mappings.save(acme.staff, (ADD_IN,))
    page = (await shown(owner, "/set-up")).text
    assert re.findall(r'href="/console/groups/(\w+)"', page) == [acme.empty, acme.sales]
    await enter(browser, (await invite(environment)).link)
    page = (await shown(browser, "/set-up")).text
    assert "these give nothing yet" in page
    refused = page.partition('id="refused"')[2]
    assert re.findall(r'data-label="Times" class="right">(\d+)<', refused) == ["3"]
    assert not re.search(r"/console/(?!set-up|static|sign-out)\w", page), "nothing that is closed"
    for name in ("ada", "Lovelace", "zoe@"):
        assert name not in page


ENTRA = f"https://login.microsoftonline.com/{DIRECTORY}/v2.0"
APPLICATION = "3c1f6f6e-9c0e-4f0a-8f43-6a1d6f0f7b11"


async def test_a_link_makes_an_oauth_client_and_exchanges_its_secrets(
    environment: Environment, browser: httpx.AsyncClient, invited: Invitation
) -> None:
    async def provisions(id: str, secret: str) -> bool:
        """Whether the token endpoint gives the client a token that SCIM takes."""
        form = {"grant_type": "client_credentials", "client_id": id, "client_secret": secret}
        async with client_of(environment.application.oauth, "/oauth", "") as oauth:
            granted = await oauth.post("/token", data=form, headers={"Authorization": ""})
        bearer = f"Bearer {granted.json().get('access_token')}"
        answer = await environment.client.get("/Users", headers={"Authorization": bearer})
        return answer.status_code == 200

    store = environment.application.store
    form = Form(await shown(browser, "/set-up"), "/set-up/clients")
    pairs = []
    for _ in range(2):
        page = (await form.send(browser, days="730")).text
        pairs.append(re.findall(r'id="fresh-\w+"[^>]*value="(muster_[^"]+)"', page))
    (id, first), (same, second) = pairs
    assert same == id
    assert [await provisions(id, each) for each in (first, second, first[:-1])] == [1, 1, 0]
    for days, says in (("730", "two secrets already"), ("1096", "one, two or three years")):
        assert says in (await form.send(browser, days=days)).text
    again = await shown(browser, "/set-up")
    assert second not in again.text
    ended = await Form(again, "/set-up/clients/entra").send(browser, do="end")
    await followed(browser, ended)
    client = (await read_tenant(store, TENANT)).connections[0].client
    assert client is not None
    assert [each.token_id for each in client.secrets] == [second.split("_")[3]]
    removed = await Form(again, "/set-up/clients/entra").send(browser, do="remove")
    assert "No client so far" in (await followed(browser, removed)).text
    assert (await read_tenant(store, TENANT)).connections[0].client is None


async def test_only_entra_id_vouches_for_a_workload_here(
    environment: Environment, browser: httpx.AsyncClient, invited: Invitation
) -> None:
    """Keys are fetched from where the issuer has them, so it is no URL of anybody's choice."""
    form = Form(await shown(browser, "/set-up"), "/set-up/federation")
    assert form.fields["issuer"] == [ENTRA]
    named = {"subject": "sync-fabric", "audience": f"api://{APPLICATION}/.default"}
    for issuer in ("http://127.0.0.1:1/", "https://idp.example", f"{ENTRA}/x", "x" * 501, ""):
        keys = "http://169.254.169.254/keys"
        refused = await form.send(browser, **named, issuer=issuer, keysUrl=keys, keys_url=keys)
        assert refused.status_code == 422, issuer
    page = await followed(browser, await form.send(browser, **named))
    assert f"sync-fabric for api://{APPLICATION}" in page.text
    tenant = await read_tenant(environment.application.store, TENANT)
    assert tenant.connections[0].client is not None
    federation = tenant.connections[0].client.federation
    assert federation is not None
    assert federation.keys_url.startswith("https://login.microsoftonline.com/")


async def test_the_program_comes_with_what_it_needs(
    environment: Environment, browser: httpx.AsyncClient, invited: Invitation, tmp_path: Path
) -> None:
    page = await shown(browser, "/set-up")
    assert 'value="python3 muster_entra.py setup --group' in page.text
    form = Form(page, "/set-up/program")
    tokens = []
    for number in range(3):  # more often than tokens of a kind can live at once
        taken = await form.send(browser)
        assert taken.headers["content-disposition"] == 'attachment; filename="muster_entra.py"'
        assert taken.headers["cache-control"] == "no-store"
        file = tmp_path / f"handed_out_{number}.py"
        file.write_text(taken.text)
        options = load(file).parse(["audit"], {})
        assert (options.tenant_url, options.directory) == (f"{BASE}/scim", DIRECTORY)
        assert (options.name, options.api_token) == ("Muster", "")
        tokens.append(options.token)
    bearers = [{"Authorization": f"Bearer {token}"} for token in tokens]
    read = [(await environment.client.get("/Users", headers=one)).status_code for one in bearers]
    assert read == [401, 401, 200]
    (listed,) = [one for one in await tokens_of(environment) if one.of_program]
    assert listed.token.expires is not None
    assert timedelta(minutes=59) < listed.token.expires - utc_now() <= timedelta(hours=1)
    await environment.changing(Connections).create("hr", "HR")
    page = await shown(browser, "/set-up")
    assert 'value="python3 muster_entra.py setup --credentials token --group' in page.text
    path = f"/set-up/tokens/{listed.token.token_id}"
    rotated = await Form(page, path).send(browser, do="rotate")
    assert (rotated.status_code, "download the program again" in rotated.text) == (422, True)
    await followed(browser, await Form(page, path).send(browser, do="revoke"))
    assert not [one for one in await tokens_of(environment) if one.of_program]


async def tokens_of(environment: Environment) -> list[ListedToken]:
    store = environment.application.store
    return await list_tokens(store, await read_tenant(store, TENANT), utc_now())


def test_what_is_filled_in_is_no_code() -> None:
    values = dict.fromkeys(
        ("tenant_url", "name", "directory", "token", "api_token"), '"}\n\\g<0>\nimport os #\u2028'
    )
    tree = ast.parse(filled_in(values), feature_version=(3, 9))
    (filled,) = [
        node.value
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "FILLED_IN"
    ]
    assert ast.literal_eval(filled) == values
    assert len(tree.body) == len(ast.parse(PROGRAM.read_text()).body)
    assert {*values} == {*load().FILLED_IN}


async def revoked(environment: Environment, id: str) -> None:
    await environment.changing(Invitations).revoke(id)


async def all_ended(environment: Environment, _: str) -> None:
    await environment.changing(Tenancy).end_sessions()


async def expired(environment: Environment, _: str) -> None:
    def ended(tenant: Tenant) -> Tenant:
        over = (one.model_copy(update={"expires": utc_now()}) for one in tenant.invitations)
        return tenant.model_copy(update={"invitations": tuple(over)})

    await change_tenant(environment.application.store, TENANT, ended)


@pytest.mark.parametrize("end", [revoked, all_ended, expired])
async def test_a_session_ends_with_its_link(
    environment: Environment,
    browser: httpx.AsyncClient,
    invited: Invitation,
    end: Callable[[Environment, str], Awaitable[None]],
) -> None:
    await shown(browser, "/set-up")
    await end(environment, invited.id)
    ended = await browser.get("/console/set-up")
    assert (ended.status_code, "This session has ended" in ended.text) == (403, True)
    assert (await browser.get(invited.link)).status_code == 403


async def test_administrators_make_and_revoke_links_which_the_log_has(
    environment: Environment, owner: httpx.AsyncClient
) -> None:
    made = await Form(await shown(owner, ""), "/invitations").send(owner)
    (link,) = re.findall(r'id="fresh-link"[^>]*value="([^"]+)"', made.text)
    assert link.startswith(f"{BASE}/console/set-up/link?key=muster_invitation_acme_")
    (id,) = re.findall(r'action="/console/invitations/(\w+)"', made.text)
    revoked = await Form(made, f"/invitations/{id}").send(owner)
    assert f"/invitations/{id}" not in (await followed(owner, revoked)).text
    log = (await shown(owner, "/log")).text
    assert log.count(f"set-up link {id}") == 2
    assert "Set-up link made" in log
    for _ in range(LIVE):
        await invite(environment)
    refused = await Form(made, "/invitations").send(owner)
    assert (refused.status_code, "Revoke one" in refused.text) == (422, True)


async def test_an_operator_makes_lists_and_revokes_links(
    environment: Environment, tmp_path: Path, browser: httpx.AsyncClient
) -> None:
    operator = Operator(tmp_path)
    made = await asyncio.to_thread(operator.does, "console", "invite", TENANT, "--url", BASE)
    assert {*made} == {"tenant", "id", "link", "expires"}
    assert (await enter(browser, made["link"])).status_code == 303
    (listed,) = await asyncio.to_thread(operator.does, "console", "invitations", TENANT)
    assert (listed["id"], listed["live"]) == (made["id"], True)
    assert listed["lastOpened"]
    left = ("console", "invitations", TENANT, "--revoke", made["id"])
    assert await asyncio.to_thread(operator.does, *left) == []
    assert (await browser.get("/console/set-up")).status_code == 403
