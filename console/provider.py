"""The OpenID provider that administrators sign in at: Microsoft Entra ID, by code flow with PKCE
(OpenID Connect Core 1.0; RFC 7636).

Tokens of the authority `organizations` are issued per directory: its metadata names the issuer
with `{tenantid}` in it
(https://learn.microsoft.com/entra/identity-platform/access-tokens#validate-tokens).
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import httpx
from authlib.common.security import generate_token
from authlib.oauth2.rfc6749.parameters import prepare_grant_uri
from authlib.oauth2.rfc7636 import create_s256_code_challenge
from authlib.oidc.core import CodeIDToken
from joserfc import jwt
from joserfc.errors import InvalidKeyIdError, JoseError
from joserfc.jwk import KeySet
from joserfc.jws import JWSRegistry

from console.session import SignIn

ENTRA_ID = "https://login.microsoftonline.com/organizations/v2.0"
REMEMBER_SECONDS = 3600.0
LEEWAY_SECONDS = 120
TIMEOUT_SECONDS = 10.0
_ALGORITHMS = JWSRegistry(algorithms=["RS256"], strict_check_header=False)


class SignInRefused(Exception):
    """Nobody is signed in; the text says why, to the person who tried."""


@dataclass(frozen=True, slots=True)
class Person:
    """Whom the provider vouches for. `directory_id` is the verified `tid`."""

    directory_id: str
    name: str
    roles: tuple[str, ...]


class Provider:
    """Speaks with the authority. `now` answers an aware UTC time."""

    def __init__(
        self, authority: str, client_id: str, client_secret: str, now: Callable[[], datetime]
    ) -> None:
        self._authority = authority.rstrip("/")
        self._client_id = client_id
        self._client_secret = client_secret
        self._now = now
        self._documents: dict[str, tuple[float, dict[str, Any]]] = {}

    async def begin(self, redirect_uri: str, path: str) -> tuple[str, SignIn]:
        """Where to send the browser, and what to remember meanwhile. Raises SignInRefused."""
        metadata = await self._metadata()
        begun = SignIn(generate_token(32), generate_token(32), generate_token(64), path)
        url = prepare_grant_uri(
            metadata["authorization_endpoint"],
            self._client_id,
            "code",
            redirect_uri=redirect_uri,
            scope="openid profile",
            state=begun.state,
            nonce=begun.nonce,
            code_challenge=create_s256_code_challenge(begun.verifier),
            code_challenge_method="S256",
        )
        return url, begun

    async def finish(self, code: str, redirect_uri: str, begun: SignIn) -> Person:
        """Redeem a code: whom the ID token names, once everything about it is verified. Raises
        SignInRefused."""
        metadata = await self._metadata()
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": redirect_uri,
            "client_id": self._client_id,
            "client_secret": self._client_secret,
            "code_verifier": begun.verifier,
        }
        answer = await self._ask("POST", metadata["token_endpoint"], form)
        if "id_token" not in answer:
            raise SignInRefused(
                "The sign-in was not completed: the code was used before, or it is too old. Sign "
                "in again."
            )
        return _person(await self._verified(metadata, answer, begun.nonce))

    async def _verified(
        self, metadata: dict[str, Any], answer: dict[str, Any], nonce: str
    ) -> dict[str, Any]:
        try:
            try:
                token = await self._decode(metadata, answer["id_token"])
            except InvalidKeyIdError:  # the provider has rolled its keys
                self._documents.pop(metadata["jwks_uri"], None)
                token = await self._decode(metadata, answer["id_token"])
            issuer = metadata["issuer"].replace("{tenantid}", str(token.claims.get("tid")))
            claims = CodeIDToken(
                token.claims,
                token.header,
                {
                    "iss": {"essential": True, "value": issuer},
                    "aud": {"essential": True, "value": self._client_id},
                },
                {
                    "nonce": nonce,
                    "client_id": self._client_id,
                    "access_token": answer.get("access_token"),
                },
            )
            claims.validate(now=int(self._now().timestamp()), leeway=LEEWAY_SECONDS)
        except (JoseError, ValueError, TypeError, AttributeError) as error:
            raise SignInRefused(
                f"The provider's answer could not be verified ({type(error).__name__}). Sign in "
                "again."
            ) from None
        return dict(claims)

    async def _decode(self, metadata: dict[str, Any], text: str) -> jwt.Token:
        keys = KeySet.import_key_set(await self._document(metadata["jwks_uri"]))  # type: ignore[arg-type]
        return jwt.decode(text, keys, registry=_ALGORITHMS)

    async def _metadata(self) -> dict[str, Any]:
        return await self._document(f"{self._authority}/.well-known/openid-configuration")

    async def _document(self, url: str) -> dict[str, Any]:
        """A document of the provider, remembered for an hour."""
        known = self._documents.get(url)
        if known and known[0] > time.monotonic():
            return known[1]
        document = await self._ask("GET", url)
        self._documents[url] = (time.monotonic() + REMEMBER_SECONDS, document)
        return document

    async def _ask(
        self, method: str, url: str, form: dict[str, str] | None = None
    ) -> dict[str, Any]:
        try:
            async with httpx.AsyncClient(timeout=TIMEOUT_SECONDS) as client:
                response = await client.request(method, url, data=form)
            answer = response.json()
        except (httpx.HTTPError, ValueError):
            answer = None
        if not isinstance(answer, dict) or response.status_code >= 500:
            raise SignInRefused("The sign-in service does not answer. Try again in a minute.")
        return answer


def _person(claims: dict[str, Any]) -> Person:
    directory, roles = claims.get("tid"), claims.get("roles", [])
    if not isinstance(directory, str) or not isinstance(roles, list):
        raise SignInRefused("The account belongs to no directory: sign in with a work account.")
    name = claims.get("preferred_username") or claims.get("name") or claims["sub"]
    return Person(directory.lower(), str(name), tuple(map(str, roles)))
