"""Copies of every tenant's file outside the region, in case the region is lost."""

import hashlib
import logging
from typing import Protocol

from administration.tenant_file import export_tenant
from directory.condition import Compare
from directory.reading import every_tenant
from directory.store import Query
from scim.writing import Service
from telemetry.logs import place

log = logging.getLogger("muster.exports")


class Container(Protocol):
    """Keeps files by name; a new file replaces the one of the same name."""

    async def put(self, name: str, content: bytes) -> None:
        """Write a file. Any exception means that it was not written."""
        ...


class CopiesIncomplete(Exception):
    """Some tenants could not be copied; the log says which, and why."""


class ExportCopies:
    """Writes `<region>/<tenant id>.json` for every tenant at home in the region.

    A file that has not changed since this process wrote it is not written again.
    """

    def __init__(self, service: Service, container: Container, region: str) -> None:
        self._service = service
        self._container = container
        self._region = region
        self._written: dict[str, bytes] = {}

    async def write(self) -> int:
        """Copy all tenants; returns how many files were written. A tenant that cannot be copied
        does not stop the others. Raises CopiesIncomplete at the end, StoreError where the tenants
        cannot be listed."""
        at_home = Query("Tenant", Compare(("region",), "eq", self._region), fields=("tenantId",))
        written = failed = 0
        async for stored in every_tenant(self._service.store, at_home):
            tenant_id = stored.document["tenantId"]
            try:
                written += await self._copy(tenant_id)
            except Exception as error:  # noqa: BLE001 - the other tenants are copied all the same
                failed += 1
                log.error("tenant %s was not copied: %s", tenant_id, place(error))
        if failed:
            raise CopiesIncomplete(
                f"{failed} tenants were not copied; {written} files were written"
            )
        return written

    async def _copy(self, tenant_id: str) -> bool:
        file = await export_tenant(self._service, tenant_id)
        lasting = file.model_copy(update={"exported_at": None}).to_json()
        digest = hashlib.sha256(lasting).digest()
        if self._written.get(tenant_id) == digest:
            return False
        await self._container.put(f"{self._region}/{tenant_id}.json", file.to_json())
        self._written[tenant_id] = digest
        return True
