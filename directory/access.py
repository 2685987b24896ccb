"""What the reconciler keeps of a user's access."""

from datetime import datetime
from typing import Literal

from directory.documents import Model, Reason, StoredModel


def access_id(user: str) -> str:
    """Document id of a user's effective access."""
    return f"access:{user}"


class GrantSource(Model):
    """One path that gives a grant."""

    type: Literal["group", "costCenter", "manual"]
    group_id: str | None = None
    """The mapped group."""
    mapping_version: int | None = None
    path: tuple[str, ...] = ()
    """Group ids from the one that the user is a direct member of to the mapped one."""


class Grant(Model):
    """An entitlement that a user holds, and every path that gives it."""

    kind: str
    key: str
    sources: tuple[GrantSource, ...]


class Access(StoredModel):
    """The effective access of one user, written by the reconciler only."""

    document_type = "Access"

    user_id: str
    enabled: bool
    reasons: tuple[Reason, ...] = ()
    grants: tuple[Grant, ...] = ()
    version: int = 1
    """Moves with every recomputation, even one that changes nothing (docs/architecture.md)."""
    changed_at: datetime
    """When `enabled`, `reasons` or `grants` last changed."""
    event_id: str
    """The event whose reconciliation last changed it."""

    @property
    def document_id(self) -> str:
        return access_id(self.user_id)
