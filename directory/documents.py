"""The documents of the directory: their ids, and models for those that Muster itself defines.

Users and groups are stored as SCIM resources (`resource`, canonical JSON) with their comparable
form (`search`), see `scim.protocol.comparison`. All other documents have a model here. An id that
is made of a client's value holds the value's digest: Cosmos DB refuses `/ \\ ? #` in an id.
"""

import hashlib
import re
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, ClassVar, Literal, NamedTuple, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel
from pydantic_core import core_schema

from directory.store import Document, Unreadable
from directory.ulids import new_ulid

type MemberType = Literal["User", "Group"]
SHOWN_FAULTS = 3
"""Wrong fields that are named of a document that cannot be read."""

_KIND = re.compile(r"[^/\\?#\x00-\x1f\ud800-\udfff]{1,100}")
_RESOURCE_ID = re.compile(r"[0-9a-z]{26}")


def new_resource_id() -> str:
    """A new SCIM id. Ids sort by time of creation, so that index paging never skips a resource when
    another is created meanwhile."""
    return new_ulid()


def is_resource_id(text: str) -> bool:
    """Whether Muster can have given this id; no resource has any other."""
    return _RESOURCE_ID.fullmatch(text) is not None


def user_id(resource_id: str) -> str:
    """Document id of a user."""
    return f"user:{resource_id}"


def group_id(resource_id: str) -> str:
    """Document id of a group."""
    return f"group:{resource_id}"


def membership_id(group: str, member: str) -> str:
    """Document id of the edge from a group to one direct member (both SCIM ids)."""
    return f"member:{group}:{member}"


def resource_id_of(document_id: str) -> str:
    """SCIM id in the document id of a user, of a group, or of a user's access."""
    return document_id.partition(":")[2]


class MemberReference(NamedTuple):
    """A user or group that can be in a group."""

    type: MemberType
    id: str
    """SCIM id."""

    @classmethod
    def of(cls, document_id: str) -> "MemberReference":
        """From the document id of the user or group."""
        return cls(
            "User" if document_id.startswith("user:") else "Group", resource_id_of(document_id)
        )

    @property
    def document_id(self) -> str:
        """Where the user or group is stored."""
        return user_id(self.id) if self.type == "User" else group_id(self.id)


def mapping_id(group: str) -> str:
    """Document id of the mapping of a group."""
    return f"mapping:{group}"


def remembered_mapping_id(connection: str, external_id: str) -> str:
    """Document id of a RememberedMapping, from what identifies the group when it comes back."""
    return f"remembered:{_digest(connection)}:{_digest(external_id)}"


def event_id(ulid: str) -> str:
    """Document id of an event."""
    return f"event:{ulid}"


def ulid_of(document_id: str) -> str:
    """The event's ULID from its document id, for events that may be unreadable."""
    return document_id.removeprefix("event:")


def key_id(resource_type: str, attribute: str, value: str) -> str:
    """Document id of the reservation of a unique value, already in its comparable form."""
    return f"key:{resource_type}:{attribute}:{_digest(value)}"


def entitlement_id(kind: str, key: str) -> str:
    """Document id of a catalog entry. A kind that an id cannot hold is digested: no deployment has
    such a kind, but a client may ask for it."""
    named = kind if _KIND.fullmatch(kind) else _digest(kind)
    return f"entitlement:{named}:{_digest(key)}"


def timestamp(at: datetime) -> str:
    """An aware time as users and groups are stored with it: UTC, in milliseconds."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _digest(value: str) -> str:
    return hashlib.sha256(value.encode("utf-8", "surrogatepass")).hexdigest()


class Model(BaseModel):
    """A camelCase JSON object; unknown members are dropped, so that an older version can read
    what a newer one wrote."""

    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, frozen=True, extra="ignore"
    )


MODELS: dict[str, "type[StoredModel]"] = {}
"""Type of a document → its model."""


class StoredModel(Model):
    """A model that is stored as a whole document."""

    document_type: ClassVar[str]

    tenant_id: str

    @classmethod
    def __pydantic_init_subclass__(cls, **_: Any) -> None:
        if "document_type" in cls.__dict__:
            MODELS[cls.document_type] = cls

    @property
    def document_id(self) -> str:
        """Where it is stored."""
        raise NotImplementedError

    def to_document(self) -> Document:
        """The stored form; members that are None are left out."""
        body = self.model_dump(mode="json", by_alias=True, exclude_none=True)
        return body | {"id": self.document_id, "type": self.document_type}

    @classmethod
    def from_document(cls, document: Document) -> Self:
        """Read back what `to_document` wrote. Raises Unreadable."""
        try:
            return cls.model_validate(document)
        except ValidationError as error:
            id = document.get("id") if isinstance(document, dict) else None
            raise unreadable(str(id), cls.document_type, error) from None


def unreadable(document_id: str, type: str, error: ValidationError) -> Unreadable:
    """The error to raise for a document that does not fit its model: it names the wrong fields,
    never a value."""
    faults = [
        f"{'.'.join(map(str, one['loc'])) or 'document'}: {one['type']}"
        for one in error.errors(include_url=False, include_context=False, include_input=False)
    ]
    more = f" and {len(faults) - SHOWN_FAULTS} more" if len(faults) > SHOWN_FAULTS else ""
    return Unreadable(document_id, type, ", ".join(faults[:SHOWN_FAULTS]) + more)


class Key(StoredModel):
    """A reservation: makes a value unique in the tenant and finds its owner with one read."""

    document_type = "Key"

    resource_type: str
    attribute: str
    digest: str
    resource_id: str

    @property
    def document_id(self) -> str:
        return f"key:{self.resource_type}:{self.attribute}:{self.digest}"

    @classmethod
    def reserve(
        cls, tenant_id: str, resource_type: str, attribute: str, value: str, resource_id: str
    ) -> "Key":
        """The reservation of a value in its comparable form."""
        return cls(
            tenant_id=tenant_id,
            resource_type=resource_type,
            attribute=attribute,
            digest=_digest(value),
            resource_id=resource_id,
        )


class Membership(StoredModel):
    """One edge: a user or a group is a direct member of a group. It counts for nothing while
    either end does not exist."""

    document_type = "Membership"

    group_id: str
    member_id: str
    member_type: MemberType
    since: datetime
    event_id: str
    """The event that added the member."""

    @property
    def document_id(self) -> str:
        return membership_id(self.group_id, self.member_id)

    @classmethod
    def brought_by(cls, event: "Event", member: MemberReference) -> "Membership":
        """The membership that an event adds to its group."""
        return cls(
            tenant_id=event.tenant_id,
            group_id=event.resource_id,
            member_id=member.id,
            member_type=member.type,
            since=event.at,
            event_id=event.event_id,
        )


ENTITLEMENT_KINDS = (
    "role",
    "costCenterMembership",
    "receptionMembership",
    "receptionAssignment",
    "serviceProviderMembership",
)
"""The kinds of entitlements that Muster brings; a deployment can have others."""


class EntitlementKey(NamedTuple):
    """Names a catalog entry; sorts by kind and key. A tuple, because one computation of access has
    thousands of them; an object in JSON."""

    kind: str
    key: str

    @classmethod
    def __get_pydantic_core_schema__(cls, *_: Any) -> core_schema.CoreSchema:
        text = core_schema.typed_dict_field(core_schema.str_schema())
        fields = core_schema.typed_dict_schema({"kind": text, "key": text}, cls_name=cls.__name__)
        return core_schema.no_info_after_validator_function(
            lambda found: cls(found["kind"], found["key"]),
            core_schema.no_info_before_validator_function(_as_object, fields),
            serialization=core_schema.plain_serializer_function_ser_schema(_as_object),
        )


def _as_object(key: Any) -> Any:
    return {"kind": key[0], "key": key[1]} if isinstance(key, EntitlementKey) else key


class Entitled(Model):
    """Base of models that name one catalog entry."""

    kind: str
    key: str

    @property
    def entitlement(self) -> EntitlementKey:
        """The name of the catalog entry."""
        return EntitlementKey(self.kind, self.key)


class Entitlement(StoredModel, Entitled):
    """A catalog entry: something that can be granted."""

    document_type = "Entitlement"

    display_name: str

    @property
    def document_id(self) -> str:
        return entitlement_id(self.kind, self.key)


class Mapping(StoredModel):
    """Which entitlements the members of a group get. Written by administrators only; the
    reconciler updates `applied_version` and `progress`."""

    document_type = "Mapping"

    group_id: str
    version: int = 1
    entitlements: tuple[EntitlementKey, ...] = ()
    applied_version: int = 0
    changed_at: datetime
    event_id: str
    deleted_at: datetime | None = None
    """For a mapping that was restored with its group: when the group had been deleted."""

    @property
    def document_id(self) -> str:
        return mapping_id(self.group_id)


REMEMBERED_SECONDS = 30 * 24 * 3600
"""How long a mapping outlives its group."""


class RememberedMapping(StoredModel):
    """The mapping of a deleted group. It applies again when the group comes back: when the same
    connection provisions a group with this `external_id`."""

    document_type = "RememberedMapping"

    connection_id: str
    external_id: str
    display_name: str
    group_id: str
    """The SCIM id that the group had."""
    version: int
    entitlements: tuple[EntitlementKey, ...]
    deleted_at: datetime
    ttl: int = REMEMBERED_SECONDS

    @property
    def document_id(self) -> str:
        return remembered_mapping_id(self.connection_id, self.external_id)


SAVES_MAPPING = ("mapping", "import")
"""Operations whose event saves a version of a mapping."""


class Actor(Model):
    """Who made a change: a connection of the tenant, an administrator in the console, or an
    operator at the command line."""

    type: Literal["connection", "administrator", "operator"]
    id: str


class MembershipChange(Model):
    """Members that came and went with one event, and how much of it is written.

    The event of a change that does not fit one batch is also its intent: the group document names
    it in `intent` until all of it is applied, and whoever finds it there finishes it.
    """

    added: tuple[str, ...] = ()
    """Document ids (`user:…`, `group:…`) of the new members."""
    removed: tuple[str, ...] = ()
    applied: int = 0
    """How many of `added + removed` are written."""

    @classmethod
    def of(
        cls, added: Iterable[MemberReference], removed: Iterable[MemberReference] = ()
    ) -> "MembershipChange":
        """A change of which nothing is written yet."""
        come, gone = ((one.document_id for one in some) for some in (added, removed))
        return cls(added=tuple(come), removed=tuple(gone))

    @property
    def size(self) -> int:
        """How many members are added and removed."""
        return len(self.added) + len(self.removed)

    def members(self, start: int = 0, end: int | None = None) -> list[MemberReference]:
        """The added members, then the removed ones, in the order in which they are applied; all,
        or those from `start` to before `end`."""
        come, end = len(self.added), self.size if end is None else end
        gone = self.removed[max(start - come, 0) : max(end - come, 0)]
        return [MemberReference.of(id) for id in (*self.added[start:end], *gone)]


class Progress(Model):
    """How far the reconciliation of a big event is, in users."""

    done: int
    total: int
    at: datetime | None = None
    """When it got this far."""
    waits: bool = False
    """Only nested groups are left. One walk over them serves several events: this event does the
    walk, or waits for the event that does."""


class MassLoss(Model):
    """An event took something from so many users that an administrator must look."""

    lost: int
    """Users who lost something."""
    of: int
    """Users who held something before."""


RETENTION = 400 * 24 * 3600
"""How long (seconds) an event that is done is kept; a deployment can set it."""

AdministrativeOperation = Literal[
    "create",
    "patch",
    "delete",
    "mapping",
    "mappingForget",
    "policy",
    "catalog",
    "grant",
    "letGo",
    "import",
    "enable",
    "disable",
    "tokenCreate",
    "tokenRotate",
    "tokenRevoke",
    "connectionCreate",
    "connectionRename",
    "secretCreate",
    "secretRotate",
    "secretRevoke",
    "federation",
    "clientRemove",
    "directory",
    "entraTokens",
    "region",
    "sessionsEnd",
    "invitationCreate",
    "invitationRevoke",
    "replay",
    "discard",
    "look",
]
"""Operations of administrators and operators."""
EventOperation = Literal[AdministrativeOperation, "replace", "repair"]
EventResource = Literal["User", "Group", "Tenant"]
EventScope = Literal["none", "user", "members", "group", "tenant"]
"""Whose access a write may change: nobody's, one user's, that of the members added and removed,
that of all in the group, that of all in the tenant."""


class Event(StoredModel):
    """One accepted write: provisioning log entry, outbox row and unit of reconciliation."""

    document_type = "Event"

    event_id: str
    state: Literal["pending", "done", "failed"] = "pending"
    at: datetime
    actor: Actor
    request_id: str
    operation: EventOperation
    resource_type: EventResource
    resource_id: str
    attributes: tuple[str, ...] = ()
    """Names (never values) of the attributes that changed. For other operations, what they changed:
    a token by its kind and id, a connection, a client's secret, an event that was replayed or whose
    dead letter was discarded."""
    ignored: tuple[str, ...] = ()
    """Names of the attributes in the request that Muster ignored."""
    scope: EventScope
    """About the user or group `resource_id`, or the members in `membership`."""
    membership: MembershipChange | None = None
    progress: Progress | None = None
    """For an event that takes more than one message."""
    resume: dict[str, Any] | None = None
    """The cursor from which the timer continues, if it began the event and ran out of time."""
    reason: str | None = None
    """Why it failed."""
    lost: int = 0
    """Users who lost something by it; not counted where it concerns few users."""
    lost_all: int = 0
    """Those of them who hold nothing any more."""
    mass_loss: MassLoss | None = None
    """Set where so many lost something that the policy calls it a mass loss."""
    done_at: datetime | None = None
    ttl: int | None = Field(default=None)
    """Seconds until it expires; set only when it is done."""
    traceparent: str | None = None
    """The trace of the request that made the event; its reconciliation continues that trace."""

    @property
    def document_id(self) -> str:
        return event_id(self.event_id)
