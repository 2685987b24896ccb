"""Errors of the token endpoint (RFC 6749 section 5.2).

    OAuthError
      ├─ InvalidRequest · UnsupportedGrantType                         400
      └─ InvalidClient                                                 401, with a challenge

What goes wrong with any request, such as a busy store, is in `web.trouble`.

`description` is written for the administrator who set the client up.
"""

from typing import ClassVar


class OAuthError(Exception):
    """An error of the token endpoint. `description` is for the administrator who set the client
    up."""

    status: ClassVar[int] = 400
    error: ClassVar[str]

    def __init__(self, description: str) -> None:
        super().__init__(description)
        self.description = described(description)

    @property
    def headers(self) -> dict[str, str]:
        """Headers of the answer."""
        return {}


class InvalidRequest(OAuthError):
    """A parameter is missing, repeated or malformed; or the client authenticates in two ways."""

    error = "invalid_request"


class UnsupportedGrantType(OAuthError):
    """The grant type is not client_credentials."""

    error = "unsupported_grant_type"


class InvalidClient(OAuthError):
    """The client is unknown, or not authenticated."""

    status = 401
    error = "invalid_client"

    @property
    def headers(self) -> dict[str, str]:
        """The challenge; a client that sent its credentials in the body may ignore it."""
        return {"WWW-Authenticate": 'Basic realm="muster", charset="UTF-8"'}


def described(text: str) -> str:
    """A text in the characters that RFC 6749 allows: printable ASCII without quotes and
    backslashes."""
    return "".join(c if " " <= c <= "~" and c not in '"\\' else "'" for c in text)
