"""The catalog: what can be granted in a tenant."""

from collections.abc import Collection, Iterable, Sequence
from importlib.resources import files
from typing import Annotated

from pydantic import Field

from administration.errors import AdministrationError
from administration.files import (
    as_csv,
    is_json,
    read_csv,
    read_json,
    refuse_long,
    validated,
)
from directory.documents import (
    ENTITLEMENT_KINDS,
    Entitled,
    Entitlement,
    EntitlementKey,
    Model,
    entitlement_id,
)
from directory.reading import every, read_all
from directory.store import Query, Store

COLUMNS = ("kind", "key", "displayName")
"""The columns of a catalog file in CSV."""
MOST_ENTITLEMENTS = 1_000
"""The most that one mapping gives, or one user gets by hand."""
MOST_ENTRIES = 10_000
"""The most in a file, and in a catalog: every page that offers entitlements shows them all."""

type Text = Annotated[str, Field(min_length=1, max_length=200)]


class CatalogEntry(Entitled):
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


def parse_catalog(content: bytes, kinds: Collection[str] = ENTITLEMENT_KINDS) -> CatalogFile:
    """Read a catalog file: JSON, or CSV with the columns kind, key, displayName. Raises
    AdministrationError that says where the fault is, also for an entry of a kind that is not in
    `kinds`."""
    what = "The catalog"
    lines: list[int] | None = None
    if is_json(content):
        file = read_json(CatalogFile, content, what)
    else:
        rows = read_csv(content, COLUMNS, what)
        lines = [row.line for row in rows]
        file = validated(CatalogFile, {"entitlements": [dict(row) for row in rows]}, what, lines)
    refuse_long(what, len(file.entitlements), MOST_ENTRIES, "entries")
    check_entries(file, kinds, what, lines)
    return file


def refuse_more(number: int, whose: str) -> None:
    """Raises AdministrationError for more entitlements than one mapping, or one user by hand, may
    have."""
    if number > MOST_ENTITLEMENTS:
        raise AdministrationError(
            f"{whose} would give {number:,} entitlements; at most {MOST_ENTITLEMENTS:,} can be "
            "given. Choose fewer."
        )


def check_entries(
    file: CatalogFile, kinds: Collection[str], what: str, lines: Sequence[int] | None = None
) -> None:
    """Raises AdministrationError that says where an entry is that is listed twice or whose kind is
    not in `kinds`; `lines` are the entries' line numbers in a CSV file."""
    seen: set[EntitlementKey] = set()
    for index, entry in enumerate(file.entitlements):
        where = f"line {lines[index]}" if lines else f"entitlements.{index}"
        if entry.kind not in kinds:
            raise AdministrationError(
                f"{what} cannot be read: {where}: there is no kind {entry.kind!r}. The kinds of "
                f"this deployment are {', '.join(kinds)}."
            )
        if entry.entitlement in seen:
            raise AdministrationError(
                f"{what} cannot be read: {where}: {entry.kind} {entry.key} is there twice."
            )
        seen.add(entry.entitlement)


def to_entitlement(tenant_id: str, entry: CatalogEntry) -> Entitlement:
    """The entry as it is stored."""
    return Entitlement(
        tenant_id=tenant_id, kind=entry.kind, key=entry.key, display_name=entry.display_name
    )


async def list_catalog(store: Store, tenant_id: str) -> list[Entitlement]:
    """The tenant's catalog by kind and display name."""
    found = [
        Entitlement.from_document(item.document)
        async for item in every(store, tenant_id, Query("Entitlement", limit=1000))
    ]
    return sorted(found, key=lambda entry: (entry.kind, entry.display_name))


async def export_catalog(store: Store, tenant_id: str) -> str:
    """The tenant's catalog as CSV, as `parse_catalog` reads it."""
    entries = await list_catalog(store, tenant_id)
    return as_csv(COLUMNS, [(one.kind, one.key, one.display_name) for one in entries])


async def unknown_entitlements(
    store: Store, tenant_id: str, wanted: Iterable[EntitlementKey]
) -> list[EntitlementKey]:
    """Which of these entitlements the catalog lacks."""
    keys = list(dict.fromkeys(wanted))
    found = await read_all(store, tenant_id, [entitlement_id(*key) for key in keys])
    return [key for key in keys if entitlement_id(*key) not in found]


async def refuse_unknown(
    store: Store,
    tenant_id: str,
    wanted: Iterable[EntitlementKey],
    coming: Collection[EntitlementKey] = (),
) -> None:
    """Raises AdministrationError where the catalog lacks any of the entitlements. Those that are
    `coming` into it count as there."""
    missing = [one for one in wanted if one not in coming]
    unknown = await unknown_entitlements(store, tenant_id, missing)
    if unknown:
        names = ", ".join(f"{kind} {key}" for kind, key in unknown[:10])
        raise AdministrationError(
            f"The catalog does not have: {names}. Add them to the catalog first.",
            f"catalog import {tenant_id} FILE",
        )
