"""The demo tenant of a laptop: made on the first start, found again on every later one."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from administration.catalog import default_catalog
from administration.tenants import Tenancy, create_tenant, read_tenant
from administration.tokens import Tokens, list_tokens
from directory.store import NotFound
from directory.tenants import TENANT_ID
from scim.writing import Service

TENANT = "demo"
FILE = "demo.json"
NOTE = "demo"


@dataclass(frozen=True, slots=True)
class Demo:
    """The demo tenant and its tokens. They are kept in a file that only its owner can read; a real
    tenant's tokens are never stored."""

    tenant: str
    scim_token: str
    access_token: str

    @classmethod
    def read(cls, folder: Path) -> "Demo | None":
        """The demo tenant that an earlier start stored in the data folder, if any."""
        try:
            return cls(**json.loads((folder / FILE).read_text()))
        except (FileNotFoundError, ValueError, TypeError):
            return None

    def write(self, folder: Path) -> None:
        """Store it for later starts."""
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / FILE
        file.touch(mode=0o600)
        file.write_text(json.dumps(asdict(self), indent=2))


async def prepare_demo(service: Service, folder: Path, region: Literal["eu", "us"]) -> Demo:
    """The demo tenant, created with the default catalog and enabled where there is none."""
    store, tokens = service.store, Tokens(service, TENANT)
    try:
        await store.read(TENANT, TENANT_ID)
        known = Demo.read(folder)
        if known:
            return known
    except NotFound:
        catalog = default_catalog()
        await create_tenant(store, TENANT, "Demo organisation", region, catalog=catalog)
        await Tenancy(service, TENANT).set_provisioning("enabled")
    for kept in await list_tokens(store, await read_tenant(store, TENANT), service.now()):
        if kept.token.note == NOTE:  # its text was lost with the file
            await tokens.revoke(kept.token.token_id)
    demo = Demo(TENANT, await tokens.create("scim", NOTE), await tokens.create("access", NOTE))
    demo.write(folder)
    return demo
