"""Tenants: creating, listing, changing, exporting and importing them, and their health."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Field

from administration import fleet
from administration.catalog import default_catalog
from administration.directories import Directories, claim_directory
from administration.reading import checklist, health
from administration.tenant_file import TenantFile, export_tenant, parse_tenant_file
from administration.tenant_import import TenantImport, TenantImported
from administration.tenants import Tenancy, create_tenant
from administration.tokens import list_tokens
from directory import fleet as summaries
from directory.documents import EntitlementKey
from directory.reasons import REASONS, Reason
from directory.tenants import (
    FEWEST_LOST,
    MOST_PROTECTED,
    EntraTrust,
    MassLossLimits,
    Policy,
    Tenant,
)
from operators.call import OF_TENANT, Call
from operators.models import Continued, Name, Region, State
from web.operation import Answer, Body, Operation, Parameters

MOST_PER_PAGE = 1_000


class Connection(Answer):
    """An Enterprise Application."""

    connection_id: str
    name: str


class TenantAnswer(Answer):
    """A customer organisation."""

    id: str
    name: str
    region: str
    provisioning: State
    directory_id: str | None
    """The tenant's Entra ID directory."""
    tenant_url: str
    """What to enter as Tenant URL in Entra ID."""
    entra: EntraTrust
    policy: Policy
    connections: tuple[Connection, ...]


class TenantRow(Answer):
    """A tenant at a glance, as of `asOf`."""

    tenant: str
    name: str
    region: str
    directory_id: str | None
    provisioning: State
    troubles: tuple[summaries.Trouble, ...]
    """What is wrong with it, the worst first."""
    requests: int
    """SCIM requests of the last 24 hours, and those that got an error."""
    errors: int
    last_request: datetime | None
    refusals: int
    """Kinds of requests that were refused in the last 24 hours."""
    pending: int
    """How many events are pending."""
    oldest_pending: datetime | None
    failed: int
    """How many events have failed."""
    secret_ends: datetime | None
    """When a connection, a client or an API first has no valid secret left. null: not within 30
    days."""
    last_write: datetime | None
    """The last write of a connection."""
    users: int
    groups: int
    as_of: datetime | None
    """null: the tenant is new, and no summary has been written yet."""


class TenantRows(Answer):
    """A page of tenants, those in the worst trouble first."""

    tenants: tuple[TenantRow, ...]
    next_cursor: str | None


class TenantsQuery(Continued):
    """Which tenants."""

    q: Annotated[str, Field(max_length=200)] = ""
    """A part of the name or of the id."""
    limit: Annotated[int, Field(ge=1, le=MOST_PER_PAGE)] = 100
    """Rows of a page."""


class NewTenant(Body):
    """A tenant to create."""

    id: Name
    """Lower-case letters, digits and hyphens, such as `contoso`."""
    name: Name
    region: Region | None = None
    """The tenant's home region; left out: this deployment's."""
    directory_id: Name | None = None
    """The tenant's Entra ID directory (a GUID)."""


class ProvisioningState(Body):
    """Whether the tenant's connections may write."""

    state: State


class HomeRegion(Body):
    """The tenant's home region."""

    region: Region


class Directory(Body):
    """The tenant's Entra ID directory."""

    directory_id: Name | None
    """null: none."""


class Trust(Body):
    """Which of Entra ID's own tokens count for the tenant; what is left out stays as it is."""

    accepted: bool | None = None
    """Whether Secret Token may be left blank."""
    audiences: Annotated[tuple[Name, ...], Field(max_length=20)] | None = None
    """Replaces the deployment's audiences; empty: the deployment's count."""
    applications: Annotated[tuple[Name, ...], Field(max_length=20)] | None = None
    """The applications that tokens may be issued to. Replaces the deployment's; empty: the
    deployment's count."""


class Protected(Body):
    """An entitlement, as the catalog names it."""

    kind: Name
    key: Name


class Limits(Body):
    """When an event is a mass loss: at least so many users lost something by it, and at least this
    share of those who held anything."""

    users: Annotated[int, Field(ge=FEWEST_LOST)]
    percent: Annotated[int, Field(ge=1, le=100)]


class Rules(Body):
    """Rules of the policy; what is left out stays as it is."""

    strict: bool | None = None
    accept_incomplete_users: bool | None = None
    cost_center_from_attribute: bool | None = None
    app_roles: bool | None = None
    disable_when: Annotated[tuple[Reason, ...], Field(max_length=len(REASONS))] | None = None
    protected: Annotated[tuple[Protected, ...], Field(max_length=MOST_PROTECTED)] | None = None
    mass_loss: Limits | None = None

    @property
    def changes(self) -> dict[str, Any]:
        """The rules to change, as fields of Policy."""
        given = {name: value for name, value in self if value is not None}
        if self.disable_when is not None:
            given["disable_when"] = tuple(one for one in REASONS if one in self.disable_when)
        if self.protected is not None:
            keys = (EntitlementKey(one.kind, one.key) for one in self.protected)
            given["protected"] = tuple(dict.fromkeys(keys))
        if self.mass_loss is not None:
            given["mass_loss"] = MassLossLimits(**self.mass_loss.model_dump())
        return given


class Step(Answer):
    """One step of the set-up in Entra ID, judged by its requests."""

    key: str
    title: str
    state: Literal["done", "waiting", "wrong"]
    says: str
    """What was seen, and, where the state is `wrong`, what to do about it."""
    at: datetime | None


class Hour(Answer):
    """The SCIM requests of one hour, and how many of them got an error."""

    begins: datetime
    requests: int
    errors: int


class HealthAnswer(Answer):
    """A tenant's health at this moment."""

    summary: TenantRow
    hours: tuple[Hour, ...]
    """The last 24 hours; the last one is not over."""
    checklist: tuple[Step, ...]


class ImportQuery(Parameters):
    """How a file is imported."""

    tenant: Annotated[str, Field(max_length=100)] = ""
    """The tenant's id; left out: the one in the file."""
    dry_run: bool = False
    """Only say what would change."""


async def list_tenants(call: Call[TenantsQuery, None]) -> TenantRows:
    """Every tenant at a glance, those in the worst trouble first. The rows are some minutes old
    (`asOf`); a tenant whose trouble changes between two pages may come twice, or on neither."""
    query = call.query
    after = call.pages.continuation(query.cursor)
    page = await fleet.list_fleet(call.store, query.q, after, query.limit)
    rows = tuple(TenantRow.model_validate(one) for one in page.rows)
    return TenantRows(tenants=rows, next_cursor=call.pages.cursor(page.next))


async def add_tenant(call: Call[Parameters, NewTenant]) -> TenantAnswer:
    """Create a tenant with the default catalog, provisioning not enabled."""
    new, store = call.body, call.store
    claimed = await claim_directory(store, new.id, new.directory_id) if new.directory_id else None
    region = new.region or call.deployment.home.region
    catalog = default_catalog()
    return shown(call, await create_tenant(store, new.id, new.name, region, claimed, catalog))


async def read_one_tenant(call: Call[Parameters, None]) -> TenantAnswer:
    """One tenant, with its policy and its connections."""
    return shown(call, await call.tenant())


async def set_provisioning(call: Call[Parameters, ProvisioningState]) -> TenantAnswer:
    """Allow or refuse writes by the tenant's connections. Reads stay allowed."""
    return shown(call, await call.changing(Tenancy).set_provisioning(call.body.state))


async def set_region(call: Call[Parameters, HomeRegion]) -> TenantAnswer:
    """Set the tenant's home region, and end its sessions at the console. Nothing that is stored is
    moved."""
    return shown(call, await call.changing(Tenancy).set_region(call.body.region))


async def set_directory(call: Call[Parameters, Directory]) -> TenantAnswer:
    """Make an Entra ID directory the tenant's; it replaces the one before."""
    return shown(call, await call.changing(Directories).register(call.body.directory_id))


async def change_entra_tokens(call: Call[Parameters, Trust]) -> TenantAnswer:
    """Set which of Entra ID's own tokens count for the tenant."""
    changes = {name: value for name, value in call.body if value is not None}
    return shown(call, await call.changing(Directories).change_trust(changes))


async def change_policy(call: Call[Parameters, Rules]) -> TenantAnswer:
    """Set rules of the tenant's policy. It is applied to every user afterwards."""
    if not call.body.changes:
        return shown(call, await call.tenant())
    return shown(call, await call.changing(Tenancy).change_policy(call.body.changes))


async def end_sessions(call: Call[Parameters, None]) -> None:
    """End every session at the tenant's console, and its set-up links, at once."""
    await call.changing(Tenancy).end_sessions()


async def read_tenant_health(call: Call[Parameters, None]) -> HealthAnswer:
    """The tenant's health at this moment: its requests, what waits or has failed, and how far the
    set-up in Entra ID is."""
    tenant, store, now = await call.tenant(), call.store, call.deployment.service.now()
    tokens = await list_tokens(store, tenant, now)
    return HealthAnswer(
        summary=TenantRow.model_validate(await fleet.summarize(store, tenant, now)),
        hours=tuple(
            Hour.model_validate(each)
            for each in (await health.read_hours(store, call.tenant_id, now)).hours
        ),
        checklist=tuple(
            Step.model_validate(one)
            for one in await checklist.read_checklist(store, tenant, tokens, now)
        ),
    )


async def export_file(call: Call[Parameters, None]) -> TenantFile:
    """The tenant's settings, catalog, mappings and digests of tokens as one file: for another
    region, or from staging to production. Nothing in it is secret."""
    return await export_tenant(call.deployment.service, call.tenant_id)


async def import_file(call: Call[ImportQuery, None]) -> TenantImported:
    """Import a tenant's file: it creates a tenant, disabled, or changes what differs in one that
    exists. Importing the same file again changes nothing."""
    file, deployment = parse_tenant_file(call.content), call.deployment
    tenant_id = call.query.tenant or file.tenant.id
    importing = TenantImport(deployment.service, tenant_id, call.actor)
    return await importing.load(
        file, deployment.home.region, deployment.kinds, dry_run=call.query.dry_run
    )


def shown[Q, B](call: Call[Q, B], tenant: Tenant) -> TenantAnswer:
    """A tenant in the form of an answer."""
    return TenantAnswer(
        id=tenant.tenant_id,
        name=tenant.name,
        region=tenant.region,
        provisioning=tenant.provisioning,
        directory_id=tenant.directory_id,
        tenant_url=f"{call.origin}/scim",
        entra=tenant.entra,
        policy=tenant.policy,
        connections=tuple(Connection.model_validate(one) for one in tenant.connections),
    )


def _put(path: str, handler: Any, body: type[Body], method: str = "PUT") -> Operation:
    return Operation(method, OF_TENANT + path, handler, TenantAnswer, body=body)


OPERATIONS = (
    Operation("GET", "/tenants", list_tenants, TenantRows, query=TenantsQuery),
    Operation("POST", "/tenants", add_tenant, TenantAnswer, body=NewTenant, status=201),
    Operation("GET", OF_TENANT, read_one_tenant, TenantAnswer),
    _put("/provisioning", set_provisioning, ProvisioningState),
    _put("/region", set_region, HomeRegion),
    _put("/directory", set_directory, Directory),
    _put("/entra-tokens", change_entra_tokens, Trust, "PATCH"),
    _put("/policy", change_policy, Rules, "PATCH"),
    Operation("DELETE", f"{OF_TENANT}/sessions", end_sessions, None, status=204),
    Operation("GET", f"{OF_TENANT}/health", read_tenant_health, HealthAnswer),
    Operation("GET", f"{OF_TENANT}/file", export_file, TenantFile),
    Operation(
        "POST",
        "/tenant-files",
        import_file,
        TenantImported,
        query=ImportQuery,
        file=TenantFile,
        in_csv=False,
    ),
)
