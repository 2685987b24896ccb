"""What is kept of a user's access: what holds, what changed when, what was given by hand."""

from datetime import datetime
from typing import Literal

from directory.documents import Actor, EntitlementKey, Model, Reason, StoredModel


def access_id(user: str) -> str:
    """Document id of a user's effective access."""
    return f"access:{user}"


def manual_grants_id(user: str) -> str:
    """Document id of what was given to a user by hand."""
    return f"manual:{user}"


def access_change_id(ulid: str) -> str:
    """Document id of a change of somebody's access."""
    return f"change:{ulid}"


def publication_id(ulid: str) -> str:
    """Document id of the outbox row of some changes of access."""
    return f"publication:{ulid}"


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


class AccessState(Model):
    """Effective access at one moment."""

    enabled: bool
    reasons: tuple[Reason, ...] = ()
    grants: tuple[Grant, ...] = ()


class AccessChange(StoredModel):
    """One change of a user's access, written in the same batch as the access record: the user's
    history, and what the topic `access-changes` tells the application."""

    document_type = "AccessChange"

    change_id: str
    """A ULID of `at`."""
    user_id: str
    version: int
    """Of the access record that the change led to."""
    at: datetime
    event_id: str
    """The event whose reconciliation changed it."""
    before: AccessState | None = None
    """None: the user was new."""
    after: AccessState | None = None
    """None: the user was deleted."""
    ttl: int

    @property
    def document_id(self) -> str:
        return access_change_id(self.change_id)


class Publication(StoredModel):
    """The outbox row of changes that are committed together; it is removed once the topic has
    confirmed them."""

    document_type = "Publication"

    publication_id: str
    """A ULID."""
    at: datetime
    changes: tuple[str, ...]
    """Their `change_id`s."""

    @property
    def document_id(self) -> str:
        return publication_id(self.publication_id)


class ManualGrant(EntitlementKey):
    """An entitlement that an administrator gave to one user."""

    since: datetime
    event_id: str
    """The event that gave it."""
    given_by: Actor | None = None


class ManualGrants(StoredModel):
    """What a user was given by hand. It stays when Entra ID adopts the user, and is withheld
    while the user is disabled."""

    document_type = "ManualGrants"

    user_id: str
    grants: tuple[ManualGrant, ...] = ()

    @property
    def document_id(self) -> str:
        return manual_grants_id(self.user_id)
