"""A tenant's catalog, whole: as the vendor's own product has it."""

from administration.catalog import CatalogFile, list_catalog, parse_catalog
from administration.catalog_replacement import CatalogReplacement, catalog_tag
from directory.documents import EntitlementKey
from operators.call import OF_TENANT, Call
from web.operation import Answer, Operation, Parameters


class CatalogEntry(Answer):
    """Something that can be granted."""

    kind: str
    key: str
    display_name: str


class CatalogAnswer(Answer):
    """All that can be granted in the tenant."""

    entitlements: tuple[CatalogEntry, ...]
    version: str
    """The ETag."""

    @property
    def etag(self) -> str:
        return f'"{self.version}"'


class ReplacementQuery(Parameters):
    """How the catalog is replaced."""

    dry_run: bool = False
    """Change nothing, and say what would be."""
    take_away: bool = False
    """Take what is gone from the mappings that give it and from whom it was given by hand, too.
    Without it, an entry that is in use refuses the whole replacement."""


class Loser(Answer):
    """Somebody who loses something."""

    user_id: str
    user_name: str | None
    lost: tuple[EntitlementKey, ...]


class ReplacedCatalog(Answer):
    """What was changed, or would be."""

    added: tuple[CatalogEntry, ...]
    changed: tuple[CatalogEntry, ...]
    removed: tuple[CatalogEntry, ...]
    unchanged: int
    mappings: int
    """That give less."""
    given: int
    """Users from whom something is withdrawn that they were given by hand."""
    losing: int
    """Users who lose something by the mappings, as far as they were counted."""
    counted_all: bool
    """Whether `losing` is of everybody."""
    losers: tuple[Loser, ...]
    """The first ones of them."""


async def read_catalog(call: Call[Parameters, None]) -> CatalogAnswer:
    """Everything that can be granted in the tenant, with the version that a replacement can name in
    If-Match."""
    await call.tenant()
    entries = await list_catalog(call.store, call.tenant_id)
    return CatalogAnswer(
        entitlements=tuple(CatalogEntry.model_validate(one) for one in entries),
        version=catalog_tag(entries),
    )


async def replace_catalog(call: Call[ReplacementQuery, None]) -> ReplacedCatalog:
    """Make this the tenant's catalog, as the vendor's product has it. What is not in it is removed;
    nothing that is in use is, unless it is taken away from whoever has it. A dry run says who would
    lose what."""
    await call.tenant()
    found = await call.changing(CatalogReplacement).replace(
        parse_catalog(call.content, call.deployment.kinds),
        call.if_match.strip('"'),
        take_away=call.query.take_away,
        dry_run=call.query.dry_run,
    )
    counts = found.preview.counts if found.preview else None
    return ReplacedCatalog(
        added=_entries(found.plan.added),
        changed=_entries(found.plan.changed),
        removed=_entries(found.plan.removed),
        unchanged=found.plan.unchanged,
        mappings=len(found.mappings),
        given=len(found.given),
        losing=counts.losing if counts else 0,
        counted_all=found.preview is None or found.preview.counting is None,
        losers=tuple(
            Loser(user_id=one.user_id, user_name=one.user_name, lost=one.lost)
            for one in (found.preview.effects if found.preview else ())
            if one.lost
        ),
    )


def _entries(entries: tuple[object, ...]) -> tuple[CatalogEntry, ...]:
    return tuple(CatalogEntry.model_validate(one) for one in entries)


OPERATIONS = (
    Operation("GET", f"{OF_TENANT}/catalog", read_catalog, CatalogAnswer),
    Operation(
        "PUT",
        f"{OF_TENANT}/catalog",
        replace_catalog,
        ReplacedCatalog,
        query=ReplacementQuery,
        file=CatalogFile,
        in_csv=False,
        conditional=True,
    ),
)
