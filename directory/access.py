"""A user's access as it is stored: effective access, its changes, and what was given by hand."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any, Literal

from pydantic import model_validator

from directory.condition import All, AnyElement, Compare, Condition
from directory.documents import (
    Actor,
    Entitled,
    EntitlementKey,
    Model,
    StoredModel,
    entitlement_id,
)
from directory.reasons import Reason
from directory.store import Document


def access_id(user: str) -> str:
    """Document id of a user's effective access."""
    return f"access:{user}"


def manual_grants_id(user: str) -> str:
    """Document id of a user's ManualGrants."""
    return f"manual:{user}"


def protection_id(held: EntitlementKey) -> str:
    """Document id of the Protection of an entitlement."""
    return f"protection:{entitlement_id(*held)}"


def gives(array: str, held: EntitlementKey) -> Condition:
    """A condition: this entitlement is in the document's `array` of entitlements."""
    both = All((Compare(("kind",), "eq", held.kind), Compare(("key",), "eq", held.key)))
    return AnyElement((array,), both)


def access_change_id(ulid: str) -> str:
    """Document id of a change of somebody's access."""
    return f"change:{ulid}"


def publication_id(ulid: str) -> str:
    """Document id of the outbox row of some changes of access."""
    return f"publication:{ulid}"


type SourceType = Literal["group", "costCenter", "appRole", "manual", "kept"]
"""What gives a grant: a mapped group, the user's cost center, an app role, an administrator, or
(`kept`) nothing any more: the entitlement is protected and stays with its last holder."""


class GrantSource(Model):
    """One path that gives a grant."""

    type: SourceType
    group_id: str | None = None
    """The mapped group."""
    mapping_version: int | None = None
    path: tuple[str, ...] = ()
    """Group ids from the one that the user is a direct member of to the mapped one."""
    since: datetime | None = None
    """For `kept`: when the grant would have been lost."""
    event_id: str | None = None
    """For `kept`: the event that would have taken the grant."""


class Grant(Entitled):
    """An entitlement that a user holds, and every path that gives it."""

    sources: tuple[GrantSource, ...]

    @property
    def is_kept(self) -> bool:
        """Whether the user holds it only because it is protected."""
        return any(source.type == "kept" for source in self.sources)


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
    """One change of a user's access, written in the same batch as the access record: an entry of
    the user's history, and the content of a message on the topic `access-changes`."""

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

    def to_document(self) -> Document:
        """As it is stored: each grant once, beside what gave it before and what gives it since
        (`Differences`), however many grants both sides have."""
        body = self.model_dump(
            mode="json", by_alias=True, exclude_none=True, exclude={"before", "after"}
        )
        return body | {
            "id": self.document_id,
            "type": self.document_type,
            "differences": Differences.between(self.before, self.after).model_dump(
                mode="json", by_alias=True, exclude_none=True, exclude_defaults=True
            ),
        }

    @model_validator(mode="before")
    @classmethod
    def _whole(cls, stored: Any) -> Any:
        """Earlier versions stored both sides whole; such a document is read as it is."""
        if not isinstance(stored, dict) or "differences" not in stored:
            return stored
        before, after = Differences.model_validate(stored["differences"]).sides()
        return stored | {"before": before, "after": after}


class Standing(Model):
    """Access at one moment without the grants."""

    enabled: bool
    reasons: tuple[Reason, ...] = ()


class GrantDifference(Model):
    """Entitlements with the same sources before the change, and the same sources after it."""

    held: dict[str, tuple[str, ...]]
    """Kind → keys."""
    before: tuple[GrantSource, ...] = ()
    """Empty: the entitlements were gained."""
    after: tuple[GrantSource, ...] = ()
    """Empty: the entitlements were lost."""


class Differences(Model):
    """Both sides of a change of access without repetition: a mapping can give a thousand
    entitlements to each member, all from the same source."""

    before: Standing | None = None
    after: Standing | None = None
    grants: tuple[GrantDifference, ...] = ()

    @classmethod
    def between(cls, before: AccessState | None, after: AccessState | None) -> "Differences":
        """The stored form of a change; grants are in order of kind and key, each once."""
        old, new = _sources(before), _sources(after)
        groups: dict[tuple[tuple[GrantSource, ...], ...], dict[str, list[str]]] = {}
        for one in sorted(old.keys() | new.keys()):
            sources = old.get(one, ()), new.get(one, ())
            groups.setdefault(sources, {}).setdefault(one.kind, []).append(one.key)
        return cls(
            before=_standing(before),
            after=_standing(after),
            grants=tuple(
                GrantDifference(
                    held={kind: tuple(keys) for kind, keys in held.items()}, before=was, after=now
                )
                for (was, now), held in groups.items()
            ),
        )

    def sides(self) -> tuple[AccessState | None, AccessState | None]:
        """What `between` was given."""
        before = {held: one.before for one in self.grants for held in _held(one) if one.before}
        after = {held: one.after for one in self.grants for held in _held(one) if one.after}
        return _state(self.before, before), _state(self.after, after)


type _Sources = dict[EntitlementKey, tuple[GrantSource, ...]]


def _sources(state: AccessState | None) -> _Sources:
    return {one.entitlement: one.sources for one in state.grants} if state else {}


def _held(difference: GrantDifference) -> Iterator[EntitlementKey]:
    return (EntitlementKey(kind, key) for kind, keys in difference.held.items() for key in keys)


def _standing(state: AccessState | None) -> Standing | None:
    return Standing(enabled=state.enabled, reasons=state.reasons) if state else None


def _state(standing: Standing | None, sources: _Sources) -> AccessState | None:
    if standing is None:
        return None
    grants = tuple(
        Grant(kind=kind, key=key, sources=given) for (kind, key), given in sorted(sources.items())
    )
    return AccessState(enabled=standing.enabled, reasons=standing.reasons, grants=grants)


class Publication(StoredModel):
    """The outbox row of changes that were committed together; removed once the topic has confirmed
    them."""

    document_type = "Publication"

    publication_id: str
    """A ULID."""
    at: datetime
    changes: tuple[str, ...]
    """Their `change_id`s."""

    @property
    def document_id(self) -> str:
        return publication_id(self.publication_id)


class ManualGrant(Entitled):
    """An entitlement that an administrator gave to one user."""

    since: datetime
    event_id: str
    """The event that gave it."""
    given_by: Actor | None = None


class KeptGrant(Entitled):
    """A protected entitlement that its last holder would have lost."""

    since: datetime
    event_id: str
    """The event that would have taken it."""

    @property
    def source(self) -> GrantSource:
        """As the user's access shows it."""
        return GrantSource(type="kept", since=self.since, event_id=self.event_id)


class ManualGrants(StoredModel):
    """What a user holds independently of groups. Manual grants stay when Entra ID adopts the user.
    All of it is withheld while the user is disabled."""

    document_type = "ManualGrants"

    user_id: str
    grants: tuple[ManualGrant, ...] = ()
    kept: tuple[KeptGrant, ...] = ()
    """Written by the reconciler, together with the Protection that names the user."""

    @property
    def document_id(self) -> str:
        return manual_grants_id(self.user_id)

    @property
    def entitlements(self) -> tuple[EntitlementKey, ...]:
        """The entitlements given by hand."""
        return tuple(grant.entitlement for grant in self.grants)


class Protection(StoredModel):
    """The count of a protected entitlement's holders. The reconciler writes it with each page of
    users that has a holder, in the same batch as their records and under its ETag, so that two
    pages never each take one of the last two."""

    document_type = "Protection"

    kind: str
    key: str
    holders: int
    """How many access records grant it."""
    kept: str | None = None
    """The user (SCIM id) for whom it is kept: nobody else holds it."""
    protected_since: str
    """Copied from the tenant: `holders` is valid while both are equal."""
    recount_at: datetime | None = None
    """When `holders` must be counted again; until then it is not relied on."""

    @property
    def document_id(self) -> str:
        return protection_id(EntitlementKey(self.kind, self.key))
