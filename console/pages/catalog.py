"""The catalog: what can be granted, edited one by one or imported from a file."""

from starlette.datastructures import UploadFile
from starlette.responses import Response

from administration.catalog import (
    CatalogEntry,
    CatalogFile,
    export_catalog,
    list_catalog,
    parse_catalog,
)
from administration.catalog_change import Catalog
from administration.errors import AdministrationError
from console.visit import Page, Visit
from directory.lanes import apart


async def catalog(visit: Visit, error: str = "", content: str = "") -> Response:
    """The page."""
    entries = await list_catalog(visit.store, visit.tenant_id)
    kinds = dict.fromkeys([*visit.deployment.kinds, *(entry.kind for entry in entries)])
    return visit.page(
        "catalog.html",
        400 if error else 200,
        by_kind=[(kind, [one for one in entries if one.kind == kind]) for kind in kinds],
        kinds=visit.deployment.kinds,
        error=error,
        content=content,
    )


async def save_entry(visit: Visit) -> Response:
    """Add an entry, or give it another name."""
    kind, key, name = visit.given("kind"), visit.given("key"), visit.given("name")
    if kind not in visit.deployment.kinds or not key or not name:
        return await catalog(visit, "An entry needs a kind, a key and a name.")
    if max(len(key), len(name)) > 200:
        return await catalog(visit, "Key and name have at most 200 characters.")
    entry = CatalogEntry(kind=kind, key=key, display_name=name)
    await visit.changing(Catalog).load(CatalogFile(entitlements=(entry,)))
    return visit.go("/catalog", told="catalog-saved")


async def remove_entry(visit: Visit) -> Response:
    """Remove an entry that nothing uses."""
    try:
        await visit.changing(Catalog).remove(visit.given("kind"), visit.given("key"))
    except AdministrationError as refusal:
        return await catalog(visit, str(refusal))
    return visit.go("/catalog", told="entry-removed")


async def import_file(visit: Visit) -> Response:
    """A dry run, which says what would change; then, from its page, the import itself."""
    upload = visit.form.get("file")
    content = visit.given("content")
    if isinstance(upload, UploadFile) and upload.size:
        content = (await upload.read()).decode("utf-8-sig", "replace")
    if not content:
        return await catalog(visit, "Choose a file, or paste what is in it.")
    applying = visit.given("do") == "import"
    remove = visit.given("remove") == "yes"
    try:
        file = await apart(
            visit.tenant.tenant_id,
            len(content),
            lambda: parse_catalog(content.encode(), visit.deployment.kinds),
        )
        plan = await visit.changing(Catalog).load(file, remove_missing=remove, dry_run=not applying)
    except AdministrationError as refusal:
        return await catalog(visit, str(refusal), content)
    if applying:
        return visit.go("/catalog", told="catalog-saved")
    return visit.page("catalog_plan.html", plan=plan, content=content, remove=remove)


async def exported(visit: Visit) -> Response:
    """The catalog as CSV, as an import reads it."""
    return visit.download("catalog.csv", await export_catalog(visit.store, visit.tenant_id))


PAGES = (
    Page("/catalog", catalog),
    Page("/catalog", save_entry, "POST"),
    Page("/catalog.csv", exported),
    Page("/catalog/remove", remove_entry, "POST"),
    Page("/catalog/import", import_file, "POST"),
)
