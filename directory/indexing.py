"""Which paths are indexed: one source for SQLite's indexes and Cosmos DB's indexing policy.

Hot paths and matches have an index. A query on any other path gives the right answer, but reads
all documents of that type in the tenant.
"""

from directory.condition import (
    All,
    AnyElement,
    Compare,
    Condition,
    Either,
    Negated,
    OneOf,
    Path,
)

ENTERPRISE_USER = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"

SCALAR_INDEXES: dict[str, tuple[Path, ...]] = {
    "User": (
        ("search", "userName"),
        ("search", "externalId"),
        ("search", "displayName"),
        ("search", ENTERPRISE_USER, "employeeNumber"),
    ),
    "Group": (
        ("search", "displayName"),
        ("search", "externalId"),
    ),
    "Membership": (("groupId",), ("memberId",)),
    "Event": (("state",), ("resourceId",)),
    "AccessChange": (("userId",),),
}
"""Document type → paths to scalars."""

ELEMENT_INDEXES: dict[str, tuple[tuple[Path, Path], ...]] = {
    "User": ((("search", "emails"), ("value",)),),
}
"""Document type → (path to an array, path inside its elements)."""
TEXT_INDEXES: dict[str, tuple[Path, ...]] = {
    "User": (
        ("search", "displayName"),
        ("search", "userName"),
        ("search", "name", "givenName"),
        ("search", "name", "familyName"),
        ("search", "emails", "value"),
    ),
}
"""Document type → paths to the texts in which people look for a part, as the console does; of an
array, the path inside its elements. SQLite has an index of them together."""
UNLISTED = "Key"
"""The type whose documents are only read by id. A store need not be able to list them: their ids
are digests, and an index on them costs a write more than all that the write is for."""


def scanned(type: str, condition: Condition) -> int:
    """How many comparisons are made with every document of the type, because no index answers them.
    Where an index answers one operand of a conjunction, few documents are left for the others."""
    if _served(type, condition):
        return 0
    match condition:
        case All(conditions) | Either(conditions):
            return sum(scanned(type, inner) for inner in conditions)
        case Negated(inner) | AnyElement(_, inner):
            return _leaves(inner)
    return 1


def _served(type: str, condition: Condition) -> bool:
    """Whether an index leads to the documents that satisfy the condition."""
    match condition:
        case Compare(path, "eq", str()) | OneOf(path, _):
            return path == ("id",) or path in SCALAR_INDEXES.get(type, ())
        case AnyElement(array, inner):
            conjuncts = inner.conditions if isinstance(inner, All) else (inner,)
            return any(
                isinstance(each, Compare)
                and each.operator == "eq"
                and (array, each.path) in ELEMENT_INDEXES.get(type, ())
                for each in conjuncts
            )
        case All(conditions):
            return any(_served(type, inner) for inner in conditions)
        case Either(conditions):
            return bool(conditions) and all(_served(type, inner) for inner in conditions)
    return False


def _leaves(condition: Condition) -> int:
    match condition:
        case All(conditions) | Either(conditions):
            return sum(map(_leaves, conditions))
        case Negated(inner) | AnyElement(_, inner):
            return _leaves(inner)
    return 1
