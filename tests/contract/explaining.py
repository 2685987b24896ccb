"""How SQLite answers a query of the store, for tests that say which index it takes."""

import time
from contextlib import closing

from directory.sqlite.schema import connect
from directory.sqlite.select import select_page
from directory.sqlite.store import SqliteStore
from directory.store import Query


def explained(store: SqliteStore, tenant_id: str | None, query: Query) -> list[str]:
    """SQLite's plan for a query (over all tenants without `tenant_id`): one line per step."""
    select = select_page(query, tenant_id, time.time())
    with closing(connect(store._path)) as db:
        plan = db.execute(f"EXPLAIN QUERY PLAN {select.sql}", select.parameters).fetchall()
    return [detail for _, _, _, detail in plan]
