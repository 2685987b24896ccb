"""Where the reconciler's tests keep a tenant."""

import sqlite3
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from directory.cosmos.indexing import indexing_policy
from directory.cosmos.store import CosmosStore
from directory.sqlite.store import SqliteStore
from directory.store import Store
from tests.emulators.cosmos import Facade, serving
from tests.emulators.cosmos_container import Container


@dataclass(frozen=True)
class Place:
    """A store, and a way to one that holds the same; the first one rests meanwhile."""

    store: Store
    copied: Callable[[], AbstractAsyncContextManager["Place"]]


@asynccontextmanager
async def in_a_file(original: Path | None = None) -> AsyncIterator[Place]:
    """SQLite, beginning with what another file holds."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "directory.db"
        if original:
            with closing(sqlite3.connect(original)) as old, closing(sqlite3.connect(path)) as new:
                old.backup(new)
        store = SqliteStore(path)
        yield Place(store, lambda: in_a_file(path))
        await store.close()


@asynccontextmanager
async def on_the_wire() -> AsyncIterator[Place]:
    """Cosmos DB's wire protocol, through the real SDK."""
    async with serving(Facade(Container(indexing_policy()))) as facade:
        store = CosmosStore(facade.endpoint, "Zm9v")

        @asynccontextmanager
        async def copied() -> AsyncIterator[Place]:
            original = facade.container
            facade.container = original.copy()
            yield place
            facade.container = original

        place = Place(store, copied)
        yield place
        await store.close()


PLACES: Mapping[str, Callable[[], AbstractAsyncContextManager[Place]]] = {
    "sqlite": in_a_file,
    "wire": on_the_wire,
}
