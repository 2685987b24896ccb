"""The demo tenant of a laptop: made on the first start, found again on every later one."""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal

from administration.catalog import default_catalog, load_catalog
from administration.tenants import create_tenant, read_tenant, set_provisioning
from administration.tokens import create_token, list_tokens, revoke_token
from directory.store import NotFound, Store
from directory.tenants import TENANT_ID

TENANT = "demo"
FILE = "demo.json"
NOTE = "demo"


@dataclass(frozen=True, slots=True)
class Demo:
    """The demo tenant and its tokens. They are kept in a file that only its owner can read, which
    no real tenant's ever are."""

    tenant: str
    scim_token: str
    access_token: str

    @classmethod
    def read(cls, folder: Path) -> "Demo | None":
        """What an earlier start left in the data folder, if anything."""
        try:
            return cls(**json.loads((folder / FILE).read_text()))
        except (FileNotFoundError, ValueError, TypeError):
            return None

    def write(self, folder: Path) -> None:
        """Keep it for later starts."""
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / FILE
        file.touch(mode=0o600)
        file.write_text(json.dumps(asdict(self), indent=2))


async def prepare_demo(
    store: Store, folder: Path, region: Literal["eu", "us"], now: Callable[[], datetime]
) -> Demo:
    """The demo tenant, created with the default catalog and enabled where there is none."""
    try:
        await store.read(TENANT, TENANT_ID)
        known = Demo.read(folder)
        if known:
            return known
    except NotFound:
        await create_tenant(store, TENANT, "Demo organisation", region)
        await load_catalog(store, TENANT, default_catalog())
        await set_provisioning(store, TENANT, "enabled", now())
    for kept in await list_tokens(store, await read_tenant(store, TENANT), now()):
        if kept.token.note == NOTE:  # its text was lost with the file
            await revoke_token(store, TENANT, kept.token.token_id, now())
    demo = Demo(
        TENANT,
        await create_token(store, TENANT, "scim", now(), NOTE),
        await create_token(store, TENANT, "access", now(), NOTE),
    )
    demo.write(folder)
    return demo
