"""The store port: what the rest of Muster may ask of a database.

Its semantics are those of Azure Cosmos DB for NoSQL, limits included, so that what runs on a
laptop is what runs in a region: one logical partition per tenant, point reads, transactional
batches inside one partition, ETags, items and requests of at most 2 MB
(https://learn.microsoft.com/azure/cosmos-db/concepts-limits).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from directory.condition import EVERYTHING, Condition, Path, Scalar

type Document = dict[str, Any]
"""A JSON object with the strings `id`, `tenantId` and `type`; `ttl` (seconds from the last write)
lets it expire. `id` has at most 1,023 bytes and none of `/ \\ ? #`."""

BATCH_OPERATIONS = 100
DOCUMENT_BYTES = 2 * 1024 * 1024
BATCH_BYTES = 2 * 1024 * 1024
READ_MANY = 1000


@dataclass(frozen=True, slots=True)
class Stored:
    """A document as it was read, with the opaque ETag of that version."""

    document: Document
    etag: str


class Damaged(Stored):
    """A document that exists but cannot be read: `document` raises Unreadable."""

    __slots__ = ("error", "raw")

    def __init__(self, raw: Any, etag: str, error: "Unreadable") -> None:
        object.__setattr__(self, "raw", raw)
        object.__setattr__(self, "etag", etag)
        object.__setattr__(self, "error", error)

    raw: Any
    """The stored value, of any JSON type."""
    error: "Unreadable"

    @property
    def document(self) -> Document:
        """Raises Unreadable."""
        raise self.error


def member(stored: Stored, name: str) -> Any:
    """A member of a document, even of an unreadable one; None where it is missing."""
    document = stored.raw if isinstance(stored, Damaged) else stored.document
    return document.get(name) if isinstance(document, dict) else None


@dataclass(frozen=True, slots=True)
class Create:
    """Insert; Conflict where the id exists."""

    document: Document


@dataclass(frozen=True, slots=True)
class Replace:
    """Overwrite an existing document; NotFound where it is gone, PreconditionFailed where its
    ETag is no longer `etag`."""

    document: Document
    etag: str | None = None


@dataclass(frozen=True, slots=True)
class Upsert:
    """Insert or overwrite."""

    document: Document


@dataclass(frozen=True, slots=True)
class Assign:
    """Set the value at `path` (its parent must exist)."""

    path: Path
    value: Any


@dataclass(frozen=True, slots=True)
class Increment:
    """Add to the number at `path`; a missing one counts as zero."""

    path: Path
    by: int = 1


@dataclass(frozen=True, slots=True)
class Unset:
    """Remove `path`, which must exist (PreconditionFailed otherwise, and nothing is written)."""

    path: Path


type Change = Assign | Increment | Unset


@dataclass(frozen=True, slots=True)
class Update:
    """Partial update of at most 10 changes; NotFound where the document is gone,
    PreconditionFailed where `etag` is given and no longer right."""

    id: str
    changes: tuple[Change, ...]
    etag: str | None = None


@dataclass(frozen=True, slots=True)
class Delete:
    """Remove; NotFound where it is gone, PreconditionFailed where `etag` is no longer right."""

    id: str
    etag: str | None = None


@dataclass(frozen=True, slots=True)
class Require:
    """Write nothing; NotFound where it is gone. For a batch that relies on the document."""

    id: str


type Operation = Create | Replace | Upsert | Update | Delete | Require


@dataclass(frozen=True, slots=True)
class Order:
    """Sort by the scalar at `path`. Documents without a value sort last when ascending and first
    when descending."""

    path: Path
    descending: bool = False


NEWEST_FIRST = (Order(("id",), descending=True),)
"""For documents whose ids begin with the time: as cheap as no order at all."""


@dataclass(frozen=True, slots=True)
class Query:
    """The documents of one `type` that satisfy `where`.

    Ordered by `order` and then by `id`. `fields` projects to these top-level keys (None: the
    whole document; `id` always comes along). Index paging uses `offset`; `continuation`, taken
    from the page before, resumes after it at a cost that does not grow with the page number.
    With `damaged`, unreadable documents are included (Damaged) instead of being left out.
    """

    type: str
    where: Condition = EVERYTHING
    order: tuple[Order, ...] = ()
    fields: tuple[str, ...] | None = None
    limit: int = 100
    offset: int = 0
    continuation: str | None = None
    damaged: bool = False


@dataclass(frozen=True, slots=True)
class Page:
    """Documents in order; `continuation` is None where there are no more."""

    items: tuple[Stored, ...]
    continuation: str | None = None


LATEST = "latest"
"""Given in place of a position, it asks for no changes but for the end of the feed."""


@dataclass(frozen=True, slots=True)
class Changes:
    """Changes of access in order, and the feed's position behind them. `more`: further changes can
    be read at once."""

    items: tuple[Stored, ...]
    position: str
    more: bool = False


class StoreError(Exception):
    """Base of everything a store raises on purpose."""


class _OperationError(StoreError):
    """One operation of a batch failed, so nothing of the batch was written."""

    def __init__(self, document_id: str) -> None:
        super().__init__(f"{type(self).__name__}: {document_id}")
        self.document_id = document_id


class NotFound(_OperationError):
    """The document does not exist (or has expired)."""


class Conflict(_OperationError):
    """A document with this id exists."""


class PreconditionFailed(_OperationError):
    """The document changed since it was read, or a partial update does not fit it."""


class TooLarge(StoreError):
    """A document or a batch is over the limits of Cosmos DB."""


class Unreadable(StoreError):
    """A stored document does not fit its model. `cause` names the wrong fields, never their values,
    which may be personal data."""

    def __init__(self, document_id: str, type: str, cause: str) -> None:
        super().__init__(f"The stored {type} {document_id} cannot be read ({cause})")
        self.document_id = document_id
        self.type = type


class Throttled(StoreError):
    """The store is over its capacity, even after its retries. `retry_after` is in seconds."""

    def __init__(self, retry_after: float) -> None:
        super().__init__(f"Throttled: retry after {retry_after:g} s")
        self.retry_after = retry_after


class Unavailable(StoreError):
    """The store did not answer, or answered that it failed, after all retries."""


class BadContinuation(StoreError):
    """The continuation was not made for this query."""

    def __init__(self) -> None:
        super().__init__("The continuation is not one of this query's.")


class BadPosition(StoreError):
    """A position that the feed never had."""

    def __init__(self) -> None:
        super().__init__("The position is not one of this feed's.")


class LostPosition(StoreError):
    """A position that the feed has not reached yet: the store was restored from a backup."""

    def __init__(self) -> None:
        super().__init__("The feed ends before this position.")


class Store(Protocol):
    """What every store does. All calls stay inside one tenant's partition, except
    `query_every_tenant`, and `changes` without a tenant."""

    async def read(self, tenant_id: str, document_id: str) -> Stored:
        """Point read. Raises NotFound."""
        ...

    async def read_many(self, tenant_id: str, ids: Sequence[str]) -> dict[str, Stored]:
        """Up to READ_MANY documents by id in one round trip; missing ones are left out, unreadable
        ones are included (Damaged)."""
        ...

    async def batch(self, tenant_id: str, operations: Sequence[Operation]) -> list[str | None]:
        """All or nothing, in order, at most BATCH_OPERATIONS and BATCH_BYTES; returns the new ETag
        per operation (None for a Delete and a Require). Raises NotFound, Conflict,
        PreconditionFailed (with the id of the first operation that failed), TooLarge,
        ValueError."""
        ...

    async def query(self, tenant_id: str, query: Query) -> Page:
        """One page. Raises BadContinuation for a continuation that is not this query's."""
        ...

    async def count(self, tenant_id: str, type: str, where: Condition = EVERYTHING) -> int:
        """How many documents satisfy the condition."""
        ...

    async def query_every_tenant(self, query: Query) -> Page:
        """One page over all tenants, for the relay and the operator; no client's request causes
        it. Each document carries its `tenantId`."""
        ...

    async def changes(self, tenant_id: str | None, after: str | None, limit: int) -> Changes:
        """The feed: up to `limit` changes of access (AccessChange) in the order in which they were
        committed, behind the position `after`, or from the oldest that is kept; without a tenant,
        those of all tenants. The changes of one user come in the order of their versions. A
        position never moves past a change that might still be committed before it, so a reader may
        see a change twice, but misses none. Unreadable changes are included (Damaged). Raises
        BadPosition, LostPosition."""
        ...

    async def close(self) -> None:
        """Release connections; the store is not used after it."""
        ...


__all__ = [
    "BATCH_BYTES",
    "BATCH_OPERATIONS",
    "DOCUMENT_BYTES",
    "NEWEST_FIRST",
    "READ_MANY",
    "Assign",
    "BadContinuation",
    "Change",
    "Conflict",
    "Create",
    "Damaged",
    "Delete",
    "Document",
    "Increment",
    "NotFound",
    "Operation",
    "Order",
    "Page",
    "PreconditionFailed",
    "Query",
    "Replace",
    "Scalar",
    "Store",
    "StoreError",
    "Stored",
    "Throttled",
    "TooLarge",
    "Unavailable",
    "Unreadable",
    "Unset",
    "Update",
    "Upsert",
    "member",
]
