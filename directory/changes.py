"""Partial updates applied to a document, as Azure Cosmos DB applies them
(https://learn.microsoft.com/azure/cosmos-db/partial-document-update)."""

from collections.abc import Sequence

from directory.store import Assign, Change, Document, Increment, Unset


def apply_changes(document: Document, changes: Sequence[Change]) -> bool:
    """Apply the changes to the document in place, in order; False where one does not fit it."""
    return all(_apply(document, change) for change in changes)


def _apply(document: Document, change: Change) -> bool:
    *parents, last = change.path
    parent = document
    for key in parents:
        parent = parent.get(key)  # type: ignore[assignment]
        if not isinstance(parent, dict):
            return False
    match change:
        case Assign(_, value):
            parent[last] = value
        case Increment(_, by):
            number = parent.get(last, 0)
            if isinstance(number, bool) or not isinstance(number, int | float):
                return False
            parent[last] = number + by
        case Unset():
            if last not in parent:
                return False
            del parent[last]
    return True
