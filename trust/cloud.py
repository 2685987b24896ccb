"""Which Entra ID cloud issues tokens, and which tokens count: the configuration of a deployment and
a tenant."""

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

NON_GALLERY = "8adf8e6e-67b2-4cf2-a259-e3dc5476c621"
"""Audience of the tokens that Entra ID sends where Secret Token is blank, the same for every
application that is not in the gallery (Microsoft, "Develop and plan provisioning for a SCIM
endpoint")."""
PROVISIONING = "00000014-0000-0000-c000-000000000000"
"""The application that those tokens are issued to, Microsoft.Azure.SyncFabric (seen in tokens by
https://github.com/jelhub/scimgateway; Microsoft documents issuer and audience only)."""

_GUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@dataclass(frozen=True, slots=True)
class Cloud:
    """One Microsoft cloud. The defaults are the public one's."""

    login_url: str = "https://login.microsoftonline.com"
    issuer_url: str = "https://sts.windows.net"
    audiences: tuple[str, ...] = (NON_GALLERY,)
    applications: tuple[str, ...] = (PROVISIONING,)
    """The applications that tokens may be issued to; empty: any of the tenant's directory."""

    def issuer(self, version: str, directory_id: str) -> str:
        """The exact issuer of a directory's tokens of a version
        (https://learn.microsoft.com/entra/identity-platform/access-tokens)."""
        if version == "1.0":
            return f"{self.issuer_url}/{directory_id}/"
        return f"{self.login_url}/{directory_id}/v2.0"

    def keys_url(self, version: str, directory_id: str) -> str:
        """The URL of the keys of those tokens."""
        path = "discovery/keys" if version == "1.0" else "discovery/v2.0/keys"
        return f"{self.login_url}/{directory_id}/{path}"

    def keys_url_of(self, issuer: str) -> str | None:
        """The URL of the keys of an issuer of this cloud; None for any other issuer."""
        for version in ("1.0", "2.0"):
            before, after = self.issuer(version, "\0").split("\0")
            directory_id = issuer.removeprefix(before).removesuffix(after)
            if is_guid(directory_id) and self.issuer(version, directory_id) == issuer:
                return self.keys_url(version, directory_id)
        return None


@dataclass(frozen=True, slots=True)
class OperatorDirectory:
    """The vendor's own Entra ID directory. Its applications can have the rights of a credential of
    the deployment, by app roles. Empty: there is none."""

    directory_id: str = ""
    audience: str = ""
    """The application that represents Muster there: its id, or its URI."""


def audiences_of(named: str) -> tuple[str, ...]:
    """The values that `aud` may have in a token for this audience; the first one is to be stored.
    For one application, Entra ID's pages show the scope `api://<app id>/.default`; a token says
    `api://<app id>` in version 1.0 and `<app id>` in 2.0
    (https://learn.microsoft.com/entra/identity-platform/access-token-claims-reference)."""
    audience = named.removesuffix("/.default")
    application = audience.removeprefix("api://").lower()
    if not is_guid(application):
        return (named,)
    return f"api://{application}", application, f"api://{application}/.default"


def is_guid(text: object) -> bool:
    """Whether this is a GUID as Entra ID writes them."""
    return isinstance(text, str) and _GUID.fullmatch(text) is not None


def is_trustworthy(url: str) -> bool:
    """Whether keys may be fetched from this URL: over https, or from this machine."""
    parts = urlsplit(url)
    local = parts.hostname in ("127.0.0.1", "::1", "localhost")
    return bool(parts.hostname) and (parts.scheme == "https" or (local and parts.scheme == "http"))
