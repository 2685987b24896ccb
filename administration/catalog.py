"""The catalog: what can be granted in a tenant."""

from collections.abc import Iterable, Sequence
from importlib.resources import files
from typing import Annotated

from pydantic import Field, ValidationError

from administration.tenants import AdministrationError
from directory.documents import Entitlement, EntitlementKey, Model, entitlement_id
from directory.reading import every, read_all
from directory.store import BATCH_OPERATIONS, Operation, Query, Store, Upsert

type Text = Annotated[str, Field(min_length=1, max_length=200)]


class CatalogEntry(Model):
    """One entitlement, as a catalog file lists it."""

    kind: Text
    key: Text
    display_name: Text


class CatalogFile(Model):
    """A catalog file: `{"entitlements": [{"kind", "key", "displayName"}, …]}`."""

    entitlements: tuple[CatalogEntry, ...]


def default_catalog() -> CatalogFile:
    """The roles that every new tenant starts with."""
    return parse_catalog(files("administration").joinpath("default_catalog.json").read_bytes())


def parse_catalog(content: bytes) -> CatalogFile:
    """Read a catalog file. Raises AdministrationError that names the place."""
    try:
        return CatalogFile.model_validate_json(content)
    except ValidationError as error:
        raise AdministrationError(f"The catalog cannot be read: {places(error)}") from None


async def load_catalog(store: Store, tenant_id: str, catalog: CatalogFile) -> int:
    """Add the entries to the tenant's catalog, replacing those of equal kind and key. Loading it
    again changes nothing. Returns how many there were."""
    operations: list[Operation] = [
        Upsert(
            Entitlement(
                tenant_id=tenant_id,
                kind=entry.kind,
                key=entry.key,
                display_name=entry.display_name,
            ).to_document()
        )
        for entry in catalog.entitlements
    ]
    for start in range(0, len(operations), BATCH_OPERATIONS):
        await store.batch(tenant_id, operations[start : start + BATCH_OPERATIONS])
    return len(operations)


async def list_catalog(store: Store, tenant_id: str) -> list[Entitlement]:
    """The tenant's catalog by kind and display name."""
    found = [
        Entitlement.from_document(item.document)
        async for item in every(store, tenant_id, Query("Entitlement", limit=1000))
    ]
    return sorted(found, key=lambda entry: (entry.kind, entry.display_name))


async def unknown_entitlements(
    store: Store, tenant_id: str, wanted: Sequence[tuple[str, str]]
) -> list[tuple[str, str]]:
    """Those of the (kind, key) pairs that the catalog does not have."""
    pairs = list(dict.fromkeys(wanted))
    found = await read_all(store, tenant_id, [entitlement_id(*pair) for pair in pairs])
    return [pair for pair in pairs if entitlement_id(*pair) not in found]


async def entitlement_names(
    store: Store, tenant_id: str, wanted: Iterable[EntitlementKey]
) -> dict[tuple[str, str], str]:
    """(kind, key) → display name, of those that the catalog has."""
    pairs = sorted({(one.kind, one.key) for one in wanted})
    found = await read_all(store, tenant_id, [entitlement_id(*pair) for pair in pairs])
    entries = [Entitlement.from_document(stored.document) for stored in found.values()]
    return {(entry.kind, entry.key): entry.display_name for entry in entries}


def places(error: ValidationError) -> str:
    """What is wrong where, for a person."""
    return "; ".join(
        f"{'.'.join(str(step) for step in one['loc']) or 'the file'}: {one['msg']}"
        for one in error.errors(include_url=False, include_input=False)[:5]
    )
