"""Writing users and groups, for SCIM and for administrators.

A write is one transactional batch: resource, reservations, memberships and event. After a lost race
(somebody else wrote in between) the resource is read and computed again, a bounded number of times;
nothing is ever half written.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from directory.documents import RETENTION, Event, timestamp
from directory.ledger import Ledger, retrying
from directory.portions import PORTIONS, Portions
from directory.resources import StoredResource
from directory.store import (
    Conflict,
    Create,
    Delete,
    Document,
    NotFound,
    Operation,
    PreconditionFailed,
    Replace,
    Store,
)
from scim.comparable_form import ComparableForm
from scim.protocol.comparison import searchable
from scim.protocol.errors import PreconditionUnmet, Uniqueness
from scim.protocol.schema import ResourceType
from scim.reservations import reserve, taken, unchanged_unique


@dataclass(frozen=True, slots=True)
class Service:
    """What the use cases need from outside; `submit`, `now` and `retention` are the ledger's."""

    store: Store
    submit: Callable[[str, str], None]
    now: Callable[[], datetime]
    resource_types: Mapping[str, ResourceType]
    retention: int = RETENTION
    portions: Portions = PORTIONS
    ledger: Ledger = field(init=False)
    form: ComparableForm = field(init=False)

    def __post_init__(self) -> None:
        ledger = Ledger(self.store, self.now, self.submit, self.retention)
        object.__setattr__(self, "ledger", ledger)
        object.__setattr__(
            self, "form", ComparableForm(self.store, self.resource_types, self.portions)
        )


class LostRace(Exception):
    """Another write came between reading and committing."""


class Writing:
    """Writes resources of one type."""

    def __init__(self, service: Service, resource_type: ResourceType) -> None:
        self.service = service
        self.type = resource_type

    def document_id(self, resource_id: str) -> str:
        """Where the resource is stored."""
        return f"{self.type.name.lower()}:{resource_id}"

    async def insert(
        self, base: Document, resource: dict[str, Any], event: Event
    ) -> StoredResource:
        """Commit a new resource; `base` has the document's other fields. Raises InvalidValue, and
        what `commit` raises."""
        document = self.document(base, resource, self.stamp())
        reservations = await self.reservations({}, document)
        etags = await self.commit([Create(document), *reservations], event)
        return StoredResource(document, etags[0] or "")

    async def update(
        self, stored: StoredResource, base: Document, resource: dict[str, Any], event: Event
    ) -> StoredResource:
        """Commit a changed resource, unless somebody else changed it meanwhile. Raises
        InvalidValue, and what `commit` raises."""
        document = self.document(base, resource, self.stamp())
        reservations = await self.reservations(stored.document, document)
        etags = await self.commit([Replace(document, stored.etag), *reservations], event)
        return StoredResource(document, etags[0] or "")

    async def remove(
        self, stored: StoredResource, event: Event, also: Sequence[Operation] = ()
    ) -> None:
        """Remove a resource and its reservations, with the operations in `also`. Raises what
        `commit` raises."""
        operations = [
            Delete(stored.document["id"], stored.etag),
            *await self.reservations(stored.document, {}),
            *also,
        ]
        await self.commit(operations, event)

    async def reservations(self, old: Mapping[str, Any], new: Mapping[str, Any]) -> list[Operation]:
        """The operations that reserve exactly the unique values of the document `new` where those
        of `old` were reserved; `{}` stands for no document. Raises InvalidValue."""
        return await reserve(self.service.store, self.type, old, new)

    def stamp(self) -> str:
        """The current time in the format of documents."""
        return timestamp(self.service.now())

    def document(
        self, old: Mapping[str, Any], resource: dict[str, Any], modified: str
    ) -> dict[str, Any]:
        """The document of a resource; its other fields are taken from `old`.

        A unique value that does not change stays reserved in its present form: only a change of it
        may be refused because another resource has the value.
        """
        created = old.get("created", modified)
        search = searchable(self.type, resource, created, modified)
        if "resource" in old:
            search |= unchanged_unique(self.type, old, resource)
        return {
            **old,
            "id": self.document_id(resource["id"]),
            "type": self.type.name,
            "resource": resource,
            "search": search,
            "created": created,
            "modified": modified,
        }

    async def commit(self, operations: Sequence[Operation], event: Event) -> list[str | None]:
        """Write everything and the event in one batch, then hand the event to the relay.

        Raises LostRace where another write came first, Uniqueness where a value is taken, Trouble
        (503) where a value cannot be reserved yet (`ComparableForm.require`).
        """
        tenant_id = event.tenant_id
        if any(isinstance(o, Create) and o.document["type"] == "Key" for o in operations):
            await self.service.form.require(tenant_id)
        try:
            return await self.service.ledger.commit(operations, event)
        except Conflict as conflict:
            raise await self.in_the_way(tenant_id, conflict) from None
        except (PreconditionFailed, NotFound) as lost:
            raise LostRace from lost

    async def in_the_way(self, tenant_id: str, conflict: Conflict) -> Uniqueness | LostRace:
        """The error to raise for a document that exists already."""
        if conflict.document_id.startswith("key:"):
            error = await taken(self.service.store, tenant_id, conflict.document_id)
            if error:
                return error
        return LostRace()

    async def retrying[T](self, attempt: Callable[[], Awaitable[T]]) -> T:
        """Run an attempt until it loses no race. Raises PreconditionUnmet after too many lost
        races."""
        try:
            return await retrying(attempt, (LostRace,))
        except LostRace:
            raise PreconditionUnmet(
                "Too many requests changed this resource at the same time; nothing was written. "
                "Repeat the request.",
                headers={"Retry-After": "1"},
            ) from None
