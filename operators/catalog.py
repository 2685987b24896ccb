"""A tenant's whole catalog, replaced by what the vendor's own product has."""

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
    """Only say what would change."""
    take_away: bool = False
    """Also take removed entries out of the mappings that give them, and from users who have them by
    hand. Without it, the whole replacement is refused if a removed entry is in use."""


class Loser(Answer):
    """A user who loses something."""

    user_id: str
    user_name: str | None
    lost: tuple[EntitlementKey, ...]


class ReplacedCatalog(Answer):
    """What was changed, or would be changed."""

    added: tuple[CatalogEntry, ...]
    changed: tuple[CatalogEntry, ...]
    removed: tuple[CatalogEntry, ...]
    unchanged: int
    mappings: int
    """How many mappings give less."""
    given: int
    """How many users lose something that they were given by hand."""
    losing: int
    """How many users lose something by the mappings, as far as they were counted."""
    counted_all: bool
    """Whether `losing` counts everybody."""
    losers: tuple[Loser, ...]
    """The first of those users."""


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
    """Make this the tenant's catalog, as the vendor's product has it. Entries that are not in it
    are removed. If one of them is in use, the replacement is refused, unless `takeAway` is set. A
    dry run says who would lose what."""
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
