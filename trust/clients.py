"""OAuth 2.0 clients: a connection proves itself once an hour and gets a short-lived token.

An access token is `muster_oauth_` followed by a JWT (HS256). Its key is random, stored on the
tenant with the credential that obtained the token, and signs nothing else. So access tokens need no
store, no key opens more than one connection, and a token ends with the secret (or the federation)
that obtained it.
"""

import re
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import jwt

from directory.tenants import Connection, Credential, OAuthClient, Tenant
from trust.caller import Caller
from trust.cloud import audiences_of
from trust.jwts import Demand, Untrusted, unproven_claims, unproven_header, verified_claims
from trust.keysets import KeySets
from trust.proofs import Proofs
from trust.refusal import bad_token
from trust.tenants import Tenants
from trust.tokens import TENANT_ID_PATTERN, presented, prove
from trust.usage import Usage

LIFETIME = timedelta(minutes=60)
PREFIX = "muster_oauth_"
ASSERTION_SECONDS = 90 * 60.0
"""The longest lifetime of an assertion, so that a leaked one expires soon. Entra ID's are valid for
60 to 90 minutes (https://learn.microsoft.com/entra/identity-platform/access-tokens#token-lifetime).
"""

_CLIENT_ID = re.compile(rf"muster_client_(?P<tenant>{TENANT_ID_PATTERN.pattern})_[0-9a-f]{{8}}")


class InvalidClient(Exception):
    """The client may not have a token. The text may be disclosed; it says nothing precise where
    that would help an attacker."""

    def __init__(self, reason: str = "") -> None:
        super().__init__(reason or "the client is not known, or its credentials are wrong")


@dataclass(frozen=True, slots=True)
class ProvenClient:
    """An authenticated client, and the credential that it used."""

    tenant: Tenant
    connection: Connection
    client: OAuthClient
    credential: Credential

    def access_token(self, now: datetime) -> str:
        """A token for the SCIM endpoint."""
        claims = {
            "sub": self.client.client_id,
            "iat": int(now.timestamp()),
            "exp": int((now + LIFETIME).timestamp()),
            "jti": secrets.token_hex(8),
        }
        headers = {"kid": self.credential.credential_id, "typ": "at+jwt"}
        key = bytes.fromhex(self.credential.signing_key)
        return PREFIX + jwt.encode(claims, key, "HS256", headers)


class Clients:
    """Authenticates clients, and callers with their access tokens."""

    def __init__(self, tenants: Tenants, usage: Usage, key_sets: KeySets) -> None:
        self._tenants = tenants
        self._usage = usage
        self._key_sets = key_sets
        self._proofs = Proofs()

    async def tenant_of(self, client_id: str) -> Tenant | None:
        """The tenant that a client id names; that proves nothing."""
        named = _CLIENT_ID.fullmatch(client_id)
        return await self._tenants.get(named["tenant"]) if named else None

    async def by_secret(self, client_id: str, secret: str, now: datetime) -> ProvenClient:
        """The client whose live secret this is. Raises InvalidClient."""
        shown = presented(secret)
        if shown is None or shown.kind != "secret":
            raise InvalidClient
        tenant = await self.tenant_of(client_id)
        held = [
            (connection, client, kept)
            for connection, client in _clients(tenant)
            if client.client_id == client_id
            for kept in client.secrets
        ]
        proven = prove(shown, [(kept.token_id, kept) for _, _, kept in held], now)
        if tenant is None or proven is None or shown.owner != tenant.tenant_id:
            raise InvalidClient
        connection, client, kept = next(each for each in held if each[2].token_id == proven)
        return self._proven(tenant, connection, client, kept)

    async def by_assertion(self, client_id: str, assertion: str) -> ProvenClient:
        """The client whose workload identity signed this assertion (RFC 7523 section 3). Raises
        InvalidClient, KeysUnavailable."""
        tenant = await self.tenant_of(client_id)
        for connection, client in _clients(tenant):
            federation = client.federation
            if tenant is None or client.client_id != client_id or federation is None:
                continue
            audiences = audiences_of(federation.audience)
            demand = Demand(federation.keys_url, federation.issuer, audiences, ASSERTION_SECONDS)
            try:
                claims = await verified_claims(self._key_sets, assertion, demand)
            except Untrusted as error:
                raise InvalidClient(error.reason.replace("token", "assertion")) from None
            if claims.get("sub") != federation.subject:
                raise InvalidClient("the assertion speaks for another subject")
            return self._proven(tenant, connection, client, federation)
        raise InvalidClient

    async def caller(self, text: str) -> Caller:
        """The caller that an access token proves, as long as its client still has the credential
        that obtained it. Raises Refused."""
        try:
            token = text.removeprefix(PREFIX)
            return await self._caller(token, unproven_header(token), unproven_claims(token))
        except Untrusted as error:
            raise bad_token("scim", error.reason) from None

    async def _caller(self, token: str, header: dict[str, Any], claims: dict[str, Any]) -> Caller:
        client_id, credential_id = claims.get("sub"), header.get("kid")
        tenant = await self.tenant_of(client_id) if isinstance(client_id, str) else None
        if tenant is None:
            raise Untrusted
        for connection, client in _clients(tenant):
            for credential in client.credentials:
                if client.client_id == client_id and credential.credential_id == credential_id:
                    self._verify(token, credential)
                    self._usage.saw(tenant.tenant_id, credential.credential_id)
                    return Caller(tenant, connection.connection_id)
        raise Untrusted

    def _verify(self, token: str, credential: Credential) -> None:
        if self._proofs.find(token, credential.signing_key) is not None:
            return
        key = bytes.fromhex(credential.signing_key)
        try:
            claims = jwt.decode(token, key, algorithms=["HS256"], options={"require": ["exp"]})
        except jwt.ExpiredSignatureError:
            raise Untrusted("the token has expired") from None
        except (jwt.PyJWTError, ValueError):
            raise Untrusted from None
        self._proofs.keep(token, credential.signing_key, claims)

    def _proven(
        self, tenant: Tenant, connection: Connection, client: OAuthClient, credential: Credential
    ) -> ProvenClient:
        self._usage.saw(tenant.tenant_id, credential.credential_id)
        return ProvenClient(tenant, connection, client, credential)


def _clients(tenant: Tenant | None) -> Iterator[tuple[Connection, OAuthClient]]:
    for connection in tenant.connections if tenant else ():
        if connection.client is not None:
            yield connection, connection.client
