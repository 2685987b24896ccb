"""What a stored user or group must be at the least, for everything that reads one to work.

The values of a resource are checked by SCIM's schema when they come; this is about documents that
something else damaged.
"""

from typing import Any, Literal

from pydantic import Field

from directory.documents import Model, StoredModel

type _Values = list[dict[str, Any]] | None


class _Resource(Model):
    id: str
    schemas: list[str]
    external_id: str | None = None


class _UserResource(_Resource):
    user_name: str | None = None
    display_name: str | None = None
    active: bool | None = Field(default=None, strict=True)
    name: dict[str, Any] | None = None
    emails: _Values = None
    phone_numbers: _Values = None
    ims: _Values = None
    photos: _Values = None
    addresses: _Values = None
    entitlements: _Values = None
    roles: _Values = None
    x509_certificates: _Values = Field(default=None, alias="x509Certificates")
    enterprise: dict[str, Any] | None = Field(
        default=None, alias="urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"
    )


class _GroupResource(_Resource):
    display_name: str


class _ResourceDocument(StoredModel):
    source: Literal["scim", "manual"]
    connection_id: str | None = None
    created: str
    modified: str


class UserDocument(_ResourceDocument):
    """A user."""

    document_type = "User"

    resource: _UserResource
    search: dict[str, Any]


class _GroupSearch(Model):
    meta: dict[str, Any]
    """A membership that comes or goes writes in here."""


class GroupDocument(_ResourceDocument):
    """A group."""

    document_type = "Group"

    resource: _GroupResource
    search: _GroupSearch
    intent: str | None = None
