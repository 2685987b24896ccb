"""Set-up: all that the administrator of a customer's Entra ID needs, on one page. Sessions that a
set-up link began may open these pages. So nothing here may give more than such a link: only tokens
of connections, and nothing about people."""

from datetime import timedelta

from starlette.responses import Response

from administration.clients import Clients, list_clients
from administration.connections import connection_of
from administration.reading.checklist import read_checklist
from administration.reading.groups import unmapped_groups
from administration.reading.refusals import remedies
from administration.tenants import Tenancy
from administration.tokens import Tokens, list_tokens
from console.pages.tokens import OVERLAP, Fresh, changed, created
from console.program import PROGRAM, filled_in
from console.visit import NoSuchPage, Page, Visit
from directory.tenants import ENTRA_CONNECTION
from trust.tokens import TokenKind

PATH = "/set-up"
KINDS: tuple[TokenKind, ...] = ("scim",)
"""The kind of token that Entra ID sends, which belongs to a connection."""
LIFETIMES = (365, 730, 1095)
"""Lifetimes of a client's secret that can be chosen, in days."""
DAY = timedelta(days=1)
REMEDIES = 10
"""The most refusals that are shown."""
MAPPINGS = (
    ("objectId", "externalId", "first"),
    ("mail", 'emails[type eq "work"].value', "second"),
    ("userPrincipalName", "userName", ""),
    ('Switch([IsSoftDeleted], , "False", "True", "True", "False")', "active", ""),
    ("givenName", "name.givenName", ""),
    ("surname", "name.familyName", ""),
    ("displayName", "displayName", ""),
)
"""(Entra ID's attribute, Muster's attribute, matching precedence)."""


async def set_up(
    visit: Visit, fresh: Fresh | None = None, client: tuple[str, str] | None = None
) -> Response:
    """The page; `fresh` is a new token and `client` the id and secret of an OAuth client, shown
    only once."""
    tokens = await list_tokens(visit.store, visit.tenant, visit.now)
    tenant = visit.tenant
    # Entra ID's own tokens all belong to one connection, whichever application sends them
    blank = tenant.directory_id and tenant.entra.accepted and len(tenant.connections) == 1
    return visit.page(
        "set_up.html",
        blank=blank,
        tokens=[one for one in tokens if one.kind in KINDS],
        fresh=fresh,
        client=client,
        clients=await list_clients(visit.store, visit.tenant, visit.now),
        lifetimes=LIFETIMES,
        token_endpoint=f"{visit.origin}/oauth/token",
        issuer=visit.deployment.cloud.issuer("2.0", visit.tenant.directory_id or "<directory id>"),
        tenant_url=f"{visit.origin}/scim",
        mappings=MAPPINGS,
        overlap_days=OVERLAP.days,
        checklist=await read_checklist(visit.store, visit.tenant, tokens, visit.now),
        unmapped=await unmapped_groups(visit.store, visit.tenant_id),
        refused=(await remedies(visit.store, visit.tenant_id, visit.now - DAY))[:REMEDIES],
    )


async def checklist(visit: Visit) -> Response:
    """The part of the page that says how far the set-up is."""
    tokens = await list_tokens(visit.store, visit.tenant, visit.now)
    found = await read_checklist(visit.store, visit.tenant, tokens, visit.now)
    return visit.page("checklist.html", checklist=found)


async def enable(visit: Visit) -> Response:
    """Enable provisioning."""
    await visit.changing(Tenancy).set_provisioning("enabled")
    return visit.go(PATH, told="enabled")


async def make_token(visit: Visit) -> Response:
    """Create a secret token and show it, only once."""
    fresh = await created(visit, KINDS)
    return await set_up(await visit.again(), fresh)


async def change_token(visit: Visit) -> Response:
    """Rotate a secret token, which shows the new one, or revoke it."""
    fresh = await changed(visit, KINDS)
    if fresh is None:
        return visit.go(PATH, told="token-revoked")
    return await set_up(await visit.again(), fresh)


async def make_secret(visit: Visit) -> Response:
    """Create a secret of a connection's OAuth client and show it, only once."""
    days = next((each for each in LIFETIMES if str(each) == visit.given("days")), None)
    if days is None:
        raise NoSuchPage("A client's secret lives for one, two or three years.")
    client = await visit.changing(Clients).add_secret(_connection(visit), timedelta(days=days))
    return await set_up(await visit.again(), client=client)


async def federate(visit: Visit) -> Response:
    """Let a workload identity replace a client's secret."""
    await visit.changing(Clients).federate(
        _connection(visit),
        issuer=visit.given("issuer"),
        subject=visit.given("subject"),
        audience=visit.given("audience"),
        cloud=visit.deployment.cloud,
    )
    return visit.go(PATH, told="federated")


async def change_client(visit: Visit) -> Response:
    """End one of a client's secrets, or remove the client."""
    connection, clients = visit.path("connection"), visit.changing(Clients)
    if visit.given("do") == "remove":
        await clients.remove(connection)
        return visit.go(PATH, told="client-removed")
    await clients.revoke_secret(connection, visit.given("secret"))
    return visit.go(PATH, told="secret-ended")


async def download_program(visit: Visit) -> Response:
    """The set-up program with this organisation's values. It is the answer to a POST, because it
    makes a token."""
    connection = connection_of(visit.tenant, _connection(visit))
    first = connection.connection_id == ENTRA_CONNECTION
    values = {
        "tenant_url": f"{visit.origin}/scim",
        "name": "Muster" if first else connection.name,
        "directory": visit.tenant.directory_id or "organizations",
        "token": await visit.changing(Tokens).for_program(connection.connection_id),
        "api_token": "",  # an API token would open more than a set-up link does
    }
    return visit.download(PROGRAM.name, filled_in(values), "text/x-python")


def _connection(visit: Visit) -> str:
    return visit.given("connection") or ENTRA_CONNECTION


PAGES = (
    Page(PATH, set_up, set_up=True),
    Page(f"{PATH}/checklist", checklist, set_up=True),
    Page(f"{PATH}/enable", enable, "POST", set_up=True),
    Page(f"{PATH}/tokens", make_token, "POST", set_up=True),
    Page(f"{PATH}/tokens/{{token}}", change_token, "POST", set_up=True),
    Page(f"{PATH}/clients", make_secret, "POST", set_up=True),
    Page(f"{PATH}/clients/{{connection}}", change_client, "POST", set_up=True),
    Page(f"{PATH}/federation", federate, "POST", set_up=True),
    Page(f"{PATH}/program", download_program, "POST", set_up=True),
)
