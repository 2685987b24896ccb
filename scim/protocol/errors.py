"""SCIM errors: one class per scimType of RFC 7644 section 3.12, and the plain statuses.

    ScimError
      ├─ InvalidFilter · TooMany · Uniqueness · MutabilityViolation · InvalidSyntax
      ├─ InvalidPath · NoTarget · InvalidValue
      └─ Forbidden · ResourceNotFound · MethodNotAllowed · UnresolvedReference
         · PreconditionUnmet · PayloadTooLarge · NotImplementedHere

Failures that are not about SCIM (a busy store, a token that is not valid) are in `web.trouble`.

`detail` is written for the administrator who reads it in Entra ID's provisioning log: what was
wrong, where, and what to do.
"""

from typing import Any, ClassVar

ERROR_SCHEMA = "urn:ietf:params:scim:api:messages:2.0:Error"


class ScimError(Exception):
    """A request that is answered with a SCIM error body."""

    status: ClassVar[int] = 400
    scim_type: ClassVar[str | None] = None

    def __init__(self, detail: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.headers = headers or {}

    def body(self) -> dict[str, Any]:
        """The error as RFC 7644 section 3.12 shows it."""
        return error_body(self.status, self.detail, self.scim_type)


def error_body(status: int, detail: str, scim_type: str | None = None) -> dict[str, Any]:
    """An error as RFC 7644 section 3.12 shows it; `status` is a string."""
    body: dict[str, Any] = {"schemas": [ERROR_SCHEMA], "status": str(status)}
    if scim_type:
        body["scimType"] = scim_type
    body["detail"] = detail
    return body


class InvalidFilter(ScimError):
    """The filter's syntax is wrong, or the attribute does not support the comparison."""

    scim_type = "invalidFilter"


class TooMany(ScimError):
    """The filter yields more than the server is willing to answer."""

    scim_type = "tooMany"


class Uniqueness(ScimError):
    """An attribute that must be unique is taken by another resource."""

    status = 409
    scim_type = "uniqueness"


class MutabilityViolation(ScimError):
    """The attribute cannot be changed, or not in this way."""

    scim_type = "mutability"


class InvalidSyntax(ScimError):
    """The request's body does not follow the schema of the message."""

    scim_type = "invalidSyntax"


class InvalidPath(ScimError):
    """The path of a PATCH operation is malformed or unknown."""

    scim_type = "invalidPath"


class NoTarget(ScimError):
    """The path of a PATCH operation leads to no value that could be operated on."""

    scim_type = "noTarget"


class InvalidValue(ScimError):
    """A required value is missing, or a value does not fit its attribute."""

    scim_type = "invalidValue"


class Forbidden(ScimError):
    """The caller is authenticated, but may not do this."""

    status = 403


class ResourceNotFound(ScimError):
    """There is no such resource in this tenant."""

    status = 404


class MethodNotAllowed(ScimError):
    """The endpoint exists, but not for this method."""

    status = 405


class UnresolvedReference(ScimError):
    """A bulk operation refers to a resource that another operation failed to create."""

    status = 409


class PreconditionUnmet(ScimError):
    """If-Match names another version than the current one, or a race was lost too often."""

    status = 412


class PayloadTooLarge(ScimError):
    """The body, or the work that it asks for, is over the limit."""

    status = 413


class UnsupportedEncoding(ScimError):
    """The body's encoding is not supported, such as compression (RFC 9110 section 8.4)."""

    status = 415


class NotImplementedHere(ScimError):
    """The operation is defined by RFC 7644 and not offered."""

    status = 501
