"""The mappings that docs/entra.md recommends: they load as they are, and the page names them."""

from pathlib import Path

from administration.catalog import default_catalog
from administration.mappings import parse_mappings
from tests.environment import running
from tests.scim.messages import create, create_users, group

ROOT = Path(__file__).parents[2]
FILE = parse_mappings((ROOT / "examples/recommended-mappings.json").read_bytes())
NAMES = {one.entitlement: one.display_name for one in default_catalog().entitlements}


async def test_a_member_gets_the_roles_of_the_group(tmp_path: Path) -> None:
    async with running(tmp_path) as muster:
        people = await create_users(muster.client, len(FILE.mappings))
        for entry, person in zip(FILE.mappings, people, strict=True):
            await create(muster.client, "Groups", group(entry.display_name or "", [person]))
        await muster.mappings.load(FILE)
        await muster.settle()
        for entry, person in zip(FILE.mappings, people, strict=True):
            access = (await muster.access.get(f"/users/{person}")).json()
            granted = {(each["kind"], each["key"]) for each in access["grants"]}
            assert granted == set(entry.entitlements)


def test_the_page_for_administrators_names_them_all() -> None:
    page = (ROOT / "docs/entra.md").read_text()
    for entry in FILE.mappings:
        roles = ", ".join(NAMES[one] for one in entry.entitlements)
        assert f"| {entry.display_name} | {roles} |" in page
