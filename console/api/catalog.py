"""The catalog: what can be granted."""

from administration.catalog import CatalogFile, export_catalog, parse_catalog
from administration.catalog import list_catalog as listed
from administration.catalog_change import Catalog
from console.api.models import Name, NamedEntitlement
from console.api.operation import Call
from directory.lanes import apart
from web.operation import Answer, Operation, Parameters


class CatalogAnswer(Answer):
    """The catalog."""

    kinds: tuple[str, ...]
    """The kinds that entries can have."""
    entitlements: tuple[NamedEntitlement, ...]


class CatalogImport(Parameters):
    """How to import."""

    dry_run: bool = False
    """Only say what would change."""
    remove_missing: bool = False
    """Remove entries that the file lacks; the whole import is refused if one of them is in use."""


class Plan(Answer):
    """What the import changed, or would change."""

    added: tuple[NamedEntitlement, ...]
    changed: tuple[NamedEntitlement, ...]
    """Entries with another name."""
    removed: tuple[NamedEntitlement, ...]
    unchanged: int


class EntryQuery(Parameters):
    """Which entry."""

    kind: Name
    key: Name


async def list_catalog(call: Call[Parameters, None]) -> CatalogAnswer:
    """What can be granted, by kind and name."""
    entries = await listed(call.store, call.tenant_id)
    return CatalogAnswer(
        kinds=call.deployment.kinds,
        entitlements=tuple(NamedEntitlement.model_validate(one) for one in entries),
    )


async def catalog_as_csv(call: Call[Parameters, None]) -> str:
    """What can be granted, as CSV that can be imported: the columns kind, key, displayName."""
    return await export_catalog(call.store, call.tenant_id)


async def import_catalog(call: Call[CatalogImport, None]) -> Plan:
    """Add entries and rename those that exist. CSV has the columns kind, key, displayName."""
    file = await apart(
        call.tenant_id,
        len(call.content),
        lambda: parse_catalog(call.content, call.deployment.kinds),
    )
    plan = await call.changing(Catalog).load(
        file, remove_missing=call.query.remove_missing, dry_run=call.query.dry_run
    )
    return Plan.model_validate(plan)


async def remove_entitlement(call: Call[EntryQuery, None]) -> None:
    """Remove an entry that no mapping gives and no user holds by hand."""
    await call.changing(Catalog).remove(call.query.kind, call.query.key)


OPERATIONS = (
    Operation("GET", "/catalog", list_catalog, CatalogAnswer),
    Operation("GET", "/catalog.csv", catalog_as_csv, str),
    Operation("DELETE", "/catalog", remove_entitlement, None, EntryQuery, status=204),
    Operation("POST", "/catalog/import", import_catalog, Plan, CatalogImport, file=CatalogFile),
)
