"""What the token endpoint answers where there is no token (RFC 6749 section 5.2).

    OAuthError
      ├─ InvalidRequest · UnsupportedGrantType · UnauthorizedClient    400
      ├─ InvalidClient                                                  401, with a challenge
      └─ Busy, TooManyRequests                                          503, 429, with Retry-After

`description` is written for whoever set the client up.
"""

from typing import ClassVar


class OAuthError(Exception):
    """A request that is answered with an error. `description` is for whoever set the client up."""

    status: ClassVar[int] = 400
    error: ClassVar[str]

    def __init__(self, description: str) -> None:
        # RFC 6749: printable ASCII without quotes and backslashes.
        allowed = (c if " " <= c <= "~" and c not in '"\\' else "'" for c in description)
        self.description = "".join(allowed)
        super().__init__(self.description)

    @property
    def headers(self) -> dict[str, str]:
        """Headers of the answer."""
        return {}


class InvalidRequest(OAuthError):
    """A parameter is missing, there twice or malformed; or there are two ways to authenticate."""

    error = "invalid_request"


class UnsupportedGrantType(OAuthError):
    """Another grant type than client_credentials."""

    error = "unsupported_grant_type"


class UnauthorizedClient(OAuthError):
    """The client is known and gets no token here."""

    error = "unauthorized_client"


class InvalidClient(OAuthError):
    """The client is not known, or has not proven who it is."""

    status = 401
    error = "invalid_client"

    @property
    def headers(self) -> dict[str, str]:
        """The challenge; a client that sent its credentials in the body may ignore it."""
        return {"WWW-Authenticate": 'Basic realm="muster", charset="UTF-8"'}


class Busy(OAuthError):
    """A dependency asks for patience, or does not answer."""

    status = 503
    error = "temporarily_unavailable"

    def __init__(self, description: str, seconds: float) -> None:
        super().__init__(description)
        self._seconds = seconds

    @property
    def headers(self) -> dict[str, str]:
        """When to ask again."""
        return {"Retry-After": str(max(1, round(self._seconds)))}


class TooManyRequests(Busy):
    """The client or the store has too much to do."""

    status = 429
