"""Why a caller is not let in.

    Refused
      ├─ Unproven          401, with a challenge as RFC 6750 section 3 has it
      ├─ HomedElsewhere    403: the organisation is another region's
      ├─ Misplaced         403: a credential of the deployment where a tenant's belongs
      ├─ UnknownTenant     404: the path names no organisation
      └─ KeysUnavailable   503: the directory's keys cannot be had at the moment

`detail` is written for the administrator who reads it in Entra ID's provisioning log. It discloses
nothing to unverified callers, not even whether a tenant, a token or a directory exists.
"""

from collections.abc import Mapping

from trust.tokens import DeploymentKind, TokenKind

type Opening = TokenKind | DeploymentKind
"""What a caller wants to open."""


class Refused(Exception):
    """The base class of all refusals."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class Unproven(Refused):
    """The caller is not authenticated. `reason` is added to the challenge: why a token with a valid
    signature is refused all the same."""

    def __init__(self, detail: str, *, presented: bool = True, reason: str = "") -> None:
        super().__init__(f"{detail} ({reason}.)" if reason else detail)
        self.reason = reason
        error = ', error="invalid_token"' if presented else ""
        description = f', error_description="{reason}"' if reason else ""
        self.challenge = f'Bearer realm="muster"{error}{description}'


class HomedElsewhere(Refused):
    """The organisation's home is another region; `detail` names its URL where it is known."""


class Misplaced(Refused):
    """A credential of the deployment on a path that names no organisation."""

    def __init__(self) -> None:
        super().__init__(
            "This credential serves every organisation, so the path must name one: "
            "/access/v1/tenants/{tenant}/users instead of /access/v1/users. Only "
            "/access/v1/changes is for all of them together."
        )


class UnknownTenant(Refused):
    """The path of a caller who may name any organisation names one that does not exist."""

    def __init__(self) -> None:
        super().__init__(
            "There is no such organisation in this deployment. 'manage.py tenant list' shows their "
            "ids; it may have been created in another one."
        )


class KeysUnavailable(Refused):
    """A token cannot be verified, because its issuer's keys cannot be read."""

    def __init__(self, retry_after: float) -> None:
        super().__init__(
            "The keys that prove this token could not be read from the directory. Repeat the "
            "request after the time that Retry-After names."
        )
        self.retry_after = retry_after


def no_credentials(kind: Opening) -> Unproven:
    """The error of a request without credentials."""
    return Unproven(
        f"The request carries no Authorization header. {_MISSING[kind]}", presented=False
    )


def bad_token(kind: Opening, reason: str = "") -> Unproven:
    """The error of an invalid token: the same words for every fault."""
    return Unproven(
        "The bearer token is not valid here: it may be mistyped, revoked, expired or meant for "
        f"another system. {_REMEDIES[kind]}",
        reason=reason,
    )


_REMEDIES: Mapping[Opening, str] = {
    "scim": "Create a new one in Muster and paste it into the Enterprise Application under "
    "Provisioning, Secret Token. Where Secret Token is left blank, the organisation's Entra ID "
    "directory must be registered in Muster.",
    "access": "The access API takes tokens of the kind access: 'manage.py token create <tenant> "
    "--kind access' makes one.",
    "console": "The console's API takes tokens of the kind console: make one in the console under "
    "Overview, Tokens of programs, for the Console API. The cookie of the console's pages does not "
    "count here.",
    "application": "A path that names an organisation, or none of them, takes a credential of the "
    "deployment: 'manage.py credential create --kind application' makes one, and an Entra ID "
    "application of the vendor's directory has the app role Access.Read.All.",
    "operator": "Managing organisations takes a credential of the deployment: 'manage.py "
    "credential create --kind operator' makes one, and an Entra ID application of the vendor's "
    "directory has the app role Tenants.ReadWrite.All.",
}
"""Remedies by what the token should have opened."""
_MISSING: Mapping[Opening, str] = {
    **_REMEDIES,
    "scim": "In the Enterprise Application, under Provisioning, fill in Secret Token.",
}
