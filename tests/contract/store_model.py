"""What a batch does, played on a dictionary: what `StoreContract` compares a store with."""

from typing import Any

from hypothesis import strategies as st

from directory.condition import Path
from directory.store import (
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
    Unset,
    Update,
    Upsert,
)
from tests.contract.store_query_contract import document


def operations(tenant_id: str) -> st.SearchStrategy[Operation]:
    ids, numbers = st.sampled_from("abc"), st.integers(0, 9)
    documents = st.builds(document, st.just(tenant_id), ids, n=numbers)
    paths: st.SearchStrategy[Path] = st.sampled_from((("n",), ("m",), ("m", "n")))
    changes: st.SearchStrategy[Change] = st.builds(Unset, paths)
    changes |= st.builds(Assign, paths, numbers | st.just({})) | st.builds(Increment, paths)
    updates = st.builds(Update, ids, st.lists(changes, min_size=1, max_size=3).map(tuple))
    writes = st.builds(Create, documents) | st.builds(Replace, documents)
    bare = st.builds(Delete, ids) | st.builds(Require, ids)
    return writes | st.builds(Upsert, documents) | updates | bare


def played(
    model: dict[str, Document], operations: list[Operation]
) -> tuple[dict[str, Document], tuple[type[Exception], str] | None]:
    """What a dictionary holds after the batch, or what is wrong with which document."""
    after = {id: _copy(found) for id, found in model.items()}
    for operation in operations:
        match operation:
            case Create(new) | Replace(new) | Upsert(new):
                id = new["id"]
                if isinstance(operation, Create) and id in after:
                    return model, (Conflict, id)
                if isinstance(operation, Replace) and id not in after:
                    return model, (NotFound, id)
                after[id] = _copy(new)
            case Delete(id):
                if after.pop(id, None) is None:
                    return model, (NotFound, id)
            case Require(id):
                if id not in after:
                    return model, (NotFound, id)
            case Update(id, changes):
                if id not in after:
                    return model, (NotFound, id)
                if not all(_changed(after[id], change) for change in changes):
                    return model, (PreconditionFailed, id)
    return after, None


def _changed(found: Document, change: Change) -> bool:
    parent: Any = found if len(change.path) == 1 else found.get("m")
    if not isinstance(parent, dict):
        return False
    key = change.path[-1]
    if isinstance(change, Assign):
        parent[key] = _copy(change.value)
    elif isinstance(change, Increment):
        if not isinstance(parent.get(key, 0), int):
            return False
        parent[key] = parent.get(key, 0) + change.by
    elif key not in parent:
        return False
    else:
        del parent[key]
    return True


def _copy(value: Any) -> Any:
    return {k: _copy(v) for k, v in value.items()} if isinstance(value, dict) else value
