"""Transactional batches in the form that the Cosmos DB SDK takes
(https://learn.microsoft.com/azure/cosmos-db/transactional-batch)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import orjson

from directory.condition import Path
from directory.documents import Event
from directory.operations import document_to_json, update_to_json
from directory.store import (
    BATCH_BYTES,
    BATCH_OPERATIONS,
    Assign,
    Change,
    Conflict,
    Create,
    Delete,
    Document,
    Increment,
    NotFound,
    Operation,
    PreconditionFailed,
    Replace,
    Require,
    Stored,
    StoreError,
    TooLarge,
    Unset,
    Update,
    Upsert,
)

type Request = tuple[str, tuple[Any, ...], dict[str, Any]]
"""An operation as `execute_item_batch` takes it: its name, its arguments, its condition."""

UNKNOWN_ETAG = "unknown"
"""An ETag that no version of any document has."""
_WITHOUT_ETAG = ("delete", "read")


@dataclass(frozen=True, slots=True)
class _Step:
    """One operation that was checked. `content` is the document, or the changes: a copy, since the
    caller may alter the original later."""

    kind: str
    id: str
    content: Any = None
    etag: str | None = None


@dataclass(frozen=True, slots=True)
class Batch:
    """Operations that were checked. `proof` is the id of the event that the batch creates, if any:
    nothing else ever creates it, so where it exists, all of the batch was written."""

    steps: tuple[_Step, ...]
    proof: str | None

    @property
    def repeatable(self) -> bool:
        """Whether it is safe to send twice: a second execution is refused, because something is
        created or an ETag guards it, or it changes nothing more."""
        return any(step.kind == "create" or step.etag is not None for step in self.steps) or all(
            step.kind in ("upsert", "read")
            or (step.kind == "patch" and _only_assigns(step.content))
            for step in self.steps
        )

    def is_shown_by(self, found: Mapping[str, Stored]) -> bool:
        """Whether the stored documents are as the batch leaves them, whoever wrote them. False
        where that cannot be known, as after an increment."""
        last = {step.id: step for step in self.steps if step.kind != "read"}
        return all(_shows(step, found.get(id)) for id, step in last.items())

    @classmethod
    def of(cls, tenant_id: str, operations: Sequence[Operation]) -> "Batch":
        """Raises ValueError, TooLarge."""
        if len(operations) > BATCH_OPERATIONS:
            raise TooLarge(
                f"A batch of {len(operations)} operations; at most {BATCH_OPERATIONS} are taken."
            )
        steps: list[_Step] = []
        size, proof = 0, None
        for operation in operations:
            match operation:
                case Create(document) | Upsert(document) | Replace(document):
                    body = document_to_json(tenant_id, document)
                    steps.append(_whole(operation, orjson.loads(body)))
                case Update(id, changes, etag):
                    body = update_to_json(operation)
                    copies = tuple(map(_with_value, changes, orjson.loads(body)))
                    steps.append(_Step("patch", id, copies, etag))
                case Delete(id, etag):
                    body = b""
                    steps.append(_Step("delete", id, None, etag))
                case Require(id):
                    body = b""
                    steps.append(_Step("read", id))
            size += len(body)
            if isinstance(operation, Create) and document["type"] == Event.document_type:
                proof = document["id"]
        if size > BATCH_BYTES:
            raise TooLarge(f"A batch of {size} bytes; at most {BATCH_BYTES} are taken.")
        return cls(tuple(steps), proof)

    def requests(self) -> list[Request]:
        """The requests for one attempt: the SDK removes the conditions from its arguments, so a
        second attempt with the same objects would be unconditional."""
        return [(step.kind, _arguments(step), _condition(step.etag)) for step in self.steps]

    def etags(self, results: Sequence[Mapping[str, Any]]) -> list[str | None]:
        """The new ETag of each operation (None for one that leaves no new version) from the
        service's answers."""
        return [
            None if step.kind in _WITHOUT_ETAG else unquoted(result["eTag"])
            for step, result in zip(self.steps, results, strict=True)
        ]

    def etags_of_found(self, found: Mapping[str, Stored]) -> list[str | None]:
        """The same for a batch that was written but never answered, from what is stored now.

        A document that is as the batch wrote it gets the ETag of that version. For any other it is
        not known who wrote the version; UNKNOWN_ETAG makes a caller that relies on it read again.
        """
        etags: list[str | None] = []
        for step in self.steps:
            stored = found.get(step.id)
            same = stored is not None and stored.document == step.content
            etags.append(stored.etag if stored is not None and same else UNKNOWN_ETAG)
            if step.kind in _WITHOUT_ETAG:
                etags[-1] = None
        return etags

    def failure(self, index: int, status: int) -> StoreError | ValueError | None:
        """The error to raise when the operation at `index` was answered with `status` and all
        others with 424; None: the batch is not to blame."""
        step = self.steps[index]
        match status:
            case 404:
                return NotFound(step.id)
            case 409:
                return Conflict(step.id)
            case 412:
                return PreconditionFailed(step.id)
            case 413:
                return TooLarge(f"{step.id} would be larger than Cosmos DB stores.")
            case 400 if step.kind == "patch":
                return PreconditionFailed(step.id)
            case 400:
                return ValueError(f"Cosmos DB refuses {step.id}.")
        return None


def _only_assigns(changes: Sequence[Change]) -> bool:
    return all(isinstance(change, Assign) for change in changes)


def _shows(step: _Step, stored: Stored | None) -> bool:
    if stored is None or step.kind == "delete":
        return stored is None and step.kind == "delete"
    if step.kind == "patch":
        return all(_shows_change(change, stored.document) for change in step.content)
    return bool(stored.document == step.content)


def _shows_change(change: Change, document: Document) -> bool:
    *parents, last = change.path
    parent: Any = document
    for key in parents:
        parent = parent.get(key) if isinstance(parent, dict) else None
    if not isinstance(parent, dict):
        return False
    match change:
        case Assign(_, value):
            return last in parent and bool(parent[last] == value)
        case Unset():
            return last not in parent
    return False


def _with_value(change: Change, value: Any) -> Change:
    return replace(change, value=value) if isinstance(change, Assign) else change


def unquoted(etag: str) -> str:
    """The service's ETags are quoted, as in HTTP headers; the store port's are without quotes."""
    return etag.strip('"')


def _condition(etag: str | None) -> dict[str, Any]:
    return {} if etag is None else {"if_match_etag": f'"{etag}"'}


def _whole(operation: Create | Upsert | Replace, document: Document) -> _Step:
    kind = type(operation).__name__.lower()
    etag = operation.etag if isinstance(operation, Replace) else None
    return _Step(kind, document["id"], document, etag)


def _arguments(step: _Step) -> tuple[Any, ...]:
    match step.kind:
        case "create" | "upsert":
            return (step.content,)
        case "delete" | "read":
            return (step.id,)
        case "patch":
            return (step.id, [_patch(change) for change in step.content])
    return (step.id, step.content)


def _patch(change: Change) -> dict[str, Any]:
    """https://learn.microsoft.com/azure/cosmos-db/partial-document-update"""
    match change:
        case Assign(path, value):
            return {"op": "set", "path": _pointer(path), "value": value}
        case Increment(path, by):
            return {"op": "incr", "path": _pointer(path), "value": by}
        case Unset(path):
            return {"op": "remove", "path": _pointer(path)}


def _pointer(path: Path) -> str:
    """A JSON Pointer (RFC 6901)."""
    return "".join("/" + key.replace("~", "~0").replace("/", "~1") for key in path)
