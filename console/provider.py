"""The OpenID provider that administrators sign in at: Microsoft Entra ID, by code flow with PKCE
(OpenID Connect Core 1.0; RFC 7636).

Tokens of the authority `organizations` are issued per directory: its metadata names the issuer
with `{tenantid}` in it
(https://learn.microsoft.com/entra/identity-platform/access-tokens#validate-tokens).
"""

import asyncio
import base64
import hashlib
import hmac
import logging
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any
from urllib.parse import urlencode

import orjson

from console.session import SignIn
from trust.cloud import is_guid, is_trustworthy
from trust.jwts import Demand, Untrusted, unproven_claims, verified_claims
from trust.keysets import KeySets
from trust.published import FAILURES, RETRY_SECONDS, NotPublished
from trust.refusal import KeysUnavailable
from trust.signed import of_directory

REDEMPTIONS = 4
"""The most codes that this process redeems at once."""
_ERRORS = frozenset(
    ("invalid_request", "invalid_client", "invalid_grant", "unauthorized_client", "invalid_scope")
)
"""Error codes of a token endpoint (RFC 6749 section 5.2); anything else is not logged."""

log = logging.getLogger("muster.console")


class SignInRefused(Exception):
    """The sign-in was refused; the text tells the user why."""


class ProviderUnavailable(SignInRefused):
    """The provider does not answer."""

    def __init__(self) -> None:
        super().__init__("The sign-in service does not answer. Try again in a minute.")


@dataclass(frozen=True, slots=True)
class Person:
    """The person whom the provider signed in. `directory_id` is the verified claim `tid`;
    `object_id` is the claim `oid`, for the log."""

    directory_id: str
    name: str
    roles: tuple[str, ...]
    object_id: str


@dataclass(frozen=True, slots=True)
class Metadata:
    """The provider's metadata (OpenID Connect Discovery 1.0 section 3)."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str


class Provider:
    """Speaks with the authority; `key_sets` fetches its metadata and its keys."""

    def __init__(
        self, authority: str, client_id: str, client_secret: str, key_sets: KeySets
    ) -> None:
        self._authority = authority.rstrip("/")
        self._client_id = client_id
        self._client_secret = client_secret
        self._key_sets = key_sets
        self._published = key_sets.published
        self._redeeming = asyncio.Semaphore(REDEMPTIONS)
        self._resting_until = 0.0
        """After a request that failed, none is made for a moment."""

    async def begin(self, redirect_uri: str, path: str) -> tuple[str, SignIn]:
        """The URL to send the browser to, and what to remember for the callback. Raises
        SignInRefused."""
        metadata = await self._metadata()
        begun = SignIn(_random(), _random(), _random(), path)
        challenge = hashlib.sha256(begun.verifier.encode()).digest()
        asked = {
            "response_type": "code",
            "client_id": self._client_id,
            "redirect_uri": redirect_uri,
            "scope": "openid profile",
            "state": begun.state,
            "nonce": begun.nonce,
            "code_challenge": base64.urlsafe_b64encode(challenge).rstrip(b"=").decode(),
            "code_challenge_method": "S256",
        }
        return f"{metadata.authorization_endpoint}?{urlencode(asked)}", begun

    async def finish(self, code: str, redirect_uri: str, begun: SignIn) -> Person:
        """Redeem a code; returns the person in the ID token, after verifying the token. Raises
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
        answer = await self._redeem(metadata.token_endpoint, form)
        text = answer.get("id_token")
        if not isinstance(text, str):
            error = answer.get("error")
            log.warning("a code was not redeemed: %s", error if error in _ERRORS else "no reason")
            raise SignInRefused(
                "The sign-in was not completed: the code was used before, or it is too old. Sign "
                "in again."
            )
        try:
            return _person(await self._verified(metadata, text, begun.nonce))
        except Untrusted as error:
            log.warning("not signed in: %s: %s", of_directory(text), error)
            raise SignInRefused(
                "The provider's answer could not be verified. Sign in again."
            ) from None
        except KeysUnavailable:
            raise ProviderUnavailable from None

    async def _verified(self, metadata: Metadata, text: str, nonce: str) -> Mapping[str, Any]:
        """The claims of an ID token (OpenID Connect Core 1.0 section 3.1.3.7). Raises Untrusted,
        KeysUnavailable."""
        directory = str(unproven_claims(text).get("tid"))
        issuer = metadata.issuer.replace("{tenantid}", directory)
        demand = Demand(metadata.jwks_uri, issuer, [self._client_id])
        claims = await verified_claims(self._key_sets, text, demand)
        if not hmac.compare_digest(str(claims.get("nonce")).encode(), nonce.encode()):
            raise Untrusted("the nonce is another sign-in's")
        if claims.get("azp", self._client_id) != self._client_id:
            raise Untrusted("the token was issued to another application")
        return claims

    async def _metadata(self) -> Metadata:
        """Raises ProviderUnavailable."""
        url = f"{self._authority}/.well-known/openid-configuration"
        document = self._published.document(url, parse_metadata)
        try:
            await self._published.renew(document)
        except NotPublished:
            raise ProviderUnavailable from None
        if document.content is None:
            raise ProviderUnavailable
        return document.content

    async def _redeem(self, url: str, form: Mapping[str, str]) -> dict[str, Any]:
        """The answer of the token endpoint, also an error. Raises ProviderUnavailable."""
        async with self._redeeming:
            if self._published.clock() < self._resting_until:
                raise ProviderUnavailable
            try:
                status, content = await self._published.ask("POST", url, form)
                answer = orjson.loads(content)
                if not isinstance(answer, dict) or status >= 500:
                    raise ValueError(f"the answer was {status}")
            except FAILURES as error:
                self._resting_until = self._published.clock() + RETRY_SECONDS
                log.warning("the token endpoint did not answer: %s", type(error).__name__)
                raise ProviderUnavailable from None
            return answer


def parse_metadata(content: bytes) -> Metadata:
    """Raises ValueError for anything but an OpenID provider's metadata, and for endpoints without
    https."""
    document = orjson.loads(content)
    named = document if isinstance(document, dict) else {}
    texts = [named.get(field.name) for field in fields(Metadata)]
    if not all(isinstance(text, str) for text in texts):
        raise ValueError("it is no OpenID provider's metadata")
    metadata = Metadata(*map(str, texts))
    if not all(map(is_trustworthy, (metadata.token_endpoint, metadata.jwks_uri))):
        raise ValueError("its endpoints are not on https")
    return metadata


def _random() -> str:
    """256 random bits, in 43 characters: the fewest that PKCE allows (RFC 7636 section 4.1)."""
    return secrets.token_urlsafe(32)


def _person(claims: Mapping[str, Any]) -> Person:
    directory, roles = claims.get("tid"), claims.get("roles", [])
    if not isinstance(directory, str) or not isinstance(roles, list):
        raise SignInRefused("The account belongs to no directory: sign in with a work account.")
    name = claims.get("preferred_username") or claims.get("name") or claims.get("sub")
    object_id = str(claims["oid"]) if is_guid(claims.get("oid")) else "somebody"
    return Person(directory.lower(), str(name), tuple(map(str, roles)), object_id)
