"""`manage.py preview`: who would gain and lose what."""

from typing import Annotated, Any

import typer

import wiring
from administration import tenants
from administration.mappings import Mappings, parse_mappings
from commands.output import AsJson, JsonFile, TenantId, out, plain, run, show
from reconciler.questions.preview import Effect, Preview, PreviewCursor
from reconciler.questions.proposal import MappingProposal


def preview(
    tenant: TenantId,
    file: JsonFile,
    limit: Annotated[int, typer.Option(min=1, help="Users to list; all are counted.")] = 100,
    as_json: AsJson = False,
) -> None:
    """What 'mapping load' of a file would change, without changing anything."""

    async def look(application: wiring.Application) -> dict[str, Any]:
        await tenants.read_tenant(application.store, tenant)
        mappings = Mappings(application.service, tenant)
        proposal = MappingProposal(await mappings.resolve(parse_mappings(file.read_bytes())))
        proposed = Preview(application.store, tenant, proposal)
        effects: list[Effect] = []
        cursor: PreviewCursor | None = None
        while True:
            page = await proposed.page(cursor, limit)
            effects += page.effects
            cursor = page.cursor
            if cursor is None or len(effects) >= limit:
                break
        while cursor is not None:
            page = await proposed.summary(cursor)
            cursor = page.cursor
        return {
            "counts": plain(page.counts),
            "nobodyWouldBeOwner": await proposed.nobody_would_hold(),
            "kept": [
                plain(one) | plain(keeper) for one, keeper in (await proposed.keepers()).items()
            ],
            "effects": [_row(effect) for effect in effects[:limit]],
        }

    found = run(look)
    if as_json:
        show(found, as_json, ())
        return
    counts, effects = found["counts"], found["effects"]
    if effects:
        show([_text(row) for row in effects], as_json, ("user", "gains", "loses", "becomes"))
    if counts["changed"] > len(effects):
        out.print(f"… and {counts['changed'] - len(effects)} more (--limit).")
    out.print(
        f"{counts['examined']} users examined: {counts['gaining']} gain, {counts['losing']} lose, "
        f"{counts['enabled']} become enabled, {counts['disabled']} disabled."
    )
    for one in found["kept"]:
        user = "one of its many holders" if one["oneOfMany"] else one["after"]
        said = f"kept for {user}" if user else f"kept no longer for {one['before']}"
        out.print(f"{one['kind']} {one['key']} would be {said}.", style="yellow")
    if found["nobodyWouldBeOwner"]:
        out.print("Nobody would hold the role Owner.", style="red")


def _row(effect: Effect) -> dict[str, Any]:
    return {**plain(effect), "gained": plain(effect.gained), "lost": plain(effect.lost)}


def _text(row: dict[str, Any]) -> dict[str, str]:
    before, after = row["before"]["enabled"], row["after"]["enabled"]
    return {
        "user": row["userName"] or row["userId"],
        "gains": ", ".join(f"{one['kind']} {one['key']}" for one in row["gained"]),
        "loses": ", ".join(f"{one['kind']} {one['key']}" for one in row["lost"]),
        "becomes": "" if before == after else "enabled" if after else "disabled",
    }
