"""What the token endpoint answers where there is no token (RFC 6749 section 5.2).

    OAuthError
      ├─ InvalidRequest · UnsupportedGrantType                         400
      └─ InvalidClient                                                 401, with a challenge

What goes wrong with any request, such as a busy store, is in `web.trouble`.

`description` is written for whoever set the client up.
"""

from typing import ClassVar


class OAuthError(Exception):
    """A request that is answered with an error. `description` is for whoever set the client up."""

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
    """A parameter is missing, there twice or malformed; or there are two ways to authenticate."""

    error = "invalid_request"


class UnsupportedGrantType(OAuthError):
    """Another grant type than client_credentials."""

    error = "unsupported_grant_type"


class InvalidClient(OAuthError):
    """The client is not known, or has not proven who it is."""

    status = 401
    error = "invalid_client"

    @property
    def headers(self) -> dict[str, str]:
        """The challenge; a client that sent its credentials in the body may ignore it."""
        return {"WWW-Authenticate": 'Basic realm="muster", charset="UTF-8"'}


def described(text: str) -> str:
    """A text as RFC 6749 allows it: printable ASCII without quotes and backslashes."""
    return "".join(c if " " <= c <= "~" and c not in '"\\' else "'" for c in text)
