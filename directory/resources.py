"""Stored users, groups and memberships: named access to their fields, and models with the least
that readers of users and groups rely on.

SCIM's schema checks the values of a resource when they arrive. The models find documents that were
damaged later. A store checks each document once (`directory.checked`), so the classes here copy
nothing and check nothing again.
"""

from dataclasses import dataclass
from typing import Any, Literal, Self

from pydantic import Field, InstanceOf

from directory.documents import MemberReference, Model, StoredModel
from directory.store import Document, Stored

type Source = Literal["scim", "manual"]
ENTERPRISE_USER = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"


@dataclass(frozen=True, slots=True)
class StoredResource(Stored):
    """A stored user or group."""

    @classmethod
    def of(cls, stored: Stored) -> Self:
        """A document that was read. Raises Unreadable."""
        return cls(stored.document, stored.etag)

    @property
    def resource(self) -> Document:
        """The canonical SCIM resource, without `meta`."""
        resource: Document = self.document["resource"]
        return resource

    @property
    def id(self) -> str:
        """SCIM id."""
        id: str = self.document["resource"]["id"]
        return id

    @property
    def tenant_id(self) -> str:
        """The tenant that it belongs to."""
        tenant_id: str = self.document["tenantId"]
        return tenant_id

    @property
    def external_id(self) -> str | None:
        """The client's id for it; from Entra ID, usually the object id."""
        external_id: str | None = self.document["resource"].get("externalId")
        return external_id

    @property
    def connection_id(self) -> str | None:
        """The connection that provisions it, if one does."""
        connection_id: str | None = self.document.get("connectionId")
        return connection_id

    @property
    def source(self) -> Source:
        """Who made it: a SCIM client, or an administrator."""
        source: Source = self.document["source"]
        return source

    @property
    def manual(self) -> bool:
        """Whether no connection has provisioned it so far: it was made by hand or imported."""
        return self.source == "manual"


class StoredUser(StoredResource):
    """A stored user."""

    __slots__ = ()

    @property
    def user_name(self) -> str | None:
        """`userName`."""
        user_name: str | None = self.document["resource"].get("userName")
        return user_name

    @property
    def display_name(self) -> str | None:
        """`displayName`."""
        display_name: str | None = self.document["resource"].get("displayName")
        return display_name

    @property
    def active(self) -> bool:
        """Whether the account is enabled in Entra ID; true where `active` is missing."""
        active: bool = self.document["resource"].get("active") is not False
        return active

    @property
    def cost_center(self) -> str | None:
        """The enterprise attribute `costCenter` (RFC 7643 section 4.3)."""
        value = self.document["resource"].get(ENTERPRISE_USER, {}).get("costCenter")
        return value if isinstance(value, str) else None

    @property
    def app_roles(self) -> tuple[str, ...]:
        """What the attribute `roles` (RFC 7643 section 4.1.2) names: each value, and each display
        name. Entra ID sends an app role's value, its display name, or both."""
        roles = self.document["resource"].get("roles") or ()
        names = (role.get(name) for role in roles for name in ("value", "display"))
        return tuple(dict.fromkeys(name for name in names if isinstance(name, str)))


class StoredGroup(StoredResource):
    """A stored group."""

    __slots__ = ()

    @property
    def display_name(self) -> str:
        """`displayName`."""
        name: str = self.document["resource"]["displayName"]
        return name

    @property
    def intent(self) -> str | None:
        """The event (ULID) whose membership change is not completely written yet."""
        intent: str | None = self.document.get("intent")
        return intent


type _Object = InstanceOf[dict[str, Any]]
"""Of JSON, so every key is a string; a validated `dict` would be copied, key by key."""
type _Values = list[_Object] | None


@dataclass(frozen=True, slots=True)
class StoredMembership(Stored):
    """A stored membership, or the fields of it that a query asked for."""

    @classmethod
    def of(cls, stored: Stored) -> Self:
        """A document that was read. Raises Unreadable."""
        return cls(stored.document, stored.etag)

    @property
    def group_id(self) -> str:
        """SCIM id of the group."""
        group_id: str = self.document["groupId"]
        return group_id

    @property
    def member_id(self) -> str:
        """SCIM id of the member."""
        member_id: str = self.document["memberId"]
        return member_id

    @property
    def member(self) -> MemberReference:
        """The member."""
        document = self.document
        return MemberReference(document["memberType"], document["memberId"])


class _Resource(Model):
    id: str
    schemas: list[str]
    external_id: str | None = None


class _UserResource(_Resource):
    user_name: str | None = None
    display_name: str | None = None
    active: bool | None = Field(default=None, strict=True)
    name: _Object | None = None
    emails: _Values = None
    phone_numbers: _Values = None
    ims: _Values = None
    photos: _Values = None
    addresses: _Values = None
    entitlements: _Values = None
    roles: _Values = None
    x509_certificates: _Values = Field(default=None, alias="x509Certificates")
    enterprise: _Object | None = Field(
        default=None, alias="urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"
    )


class _GroupResource(_Resource):
    display_name: str


class _ResourceDocument(StoredModel):
    source: Source
    connection_id: str | None = None
    created: str
    modified: str


class UserDocument(_ResourceDocument):
    """A user."""

    document_type = "User"

    resource: _UserResource
    search: _Object


class _GroupSearch(Model):
    meta: _Object
    """Every change of the group's memberships writes to it."""


class GroupDocument(_ResourceDocument):
    """A group."""

    document_type = "Group"

    resource: _GroupResource
    search: _GroupSearch
    intent: str | None = None
