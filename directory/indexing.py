"""Which paths are indexed: one source for SQLite's indexes and Cosmos DB's indexing policy.

Indexed is what a hot path or a match asks for; everything else is right without an index, but
reads the tenant's documents of that type.
"""

from directory.condition import Path

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
