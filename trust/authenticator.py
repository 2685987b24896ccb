"""Who calls: a bearer token becomes a tenant and a connection, or a program of the vendor's.

The tenant comes from the proven token and from nowhere else (product invariant 5). The vendor's own
programs are the only exception: `Authenticator.naming` takes the tenant from the path, after it
verified their credential.
"""

import hashlib
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Literal

from directory.store import Store
from directory.tenants import Tenant, Token
from trust.caller import Caller
from trust.cloud import Cloud, OperatorDirectory
from trust.deployment import DeploymentCaller, DeploymentSecrets
from trust.refusal import (
    HomedElsewhere,
    Opening,
    Refused,
    UnknownTenant,
    Unproven,
    bad_token,
    no_credentials,
)
from trust.tenants import Tenants
from trust.tokens import (
    DEPLOYMENT_KINDS,
    TENANT_ID_PATTERN,
    DeploymentKind,
    Presented,
    TokenKind,
    bearer_tokens,
    is_live,
    presented,
    prove,
)
from trust.usage import Usage

if TYPE_CHECKING:
    from trust.signed import SignedTokens

log = logging.getLogger("muster.trust")

SIGNED = ("ey", "muster_oauth_")
"""How signed tokens begin: with a JSON object in base64url, or with Muster's own prefix."""
REMEMBERED = 10_000
"""The most verified secrets that are remembered."""


@dataclass(frozen=True, slots=True)
class Home:
    """The region that this deployment serves, and the URLs of the others, such as
    `https://us.example.com`."""

    region: Literal["eu", "us"] = "eu"
    urls: Mapping[str, str] = field(default_factory=dict)

    def check(self, tenant: Tenant) -> None:
        """Raises HomedElsewhere for a tenant of another region."""
        if tenant.region == self.region:
            return
        url = self.urls.get(tenant.region, "").rstrip("/")
        there = f"Set Tenant URL to {url}/scim" if url else "Ask the operator for that region's URL"
        raise HomedElsewhere(
            f'This organisation\'s home is the region "{tenant.region}", and this is '
            f'"{self.region}". {there}; nothing was read or written here.'
        )


class Authenticator:
    """Verifies bearer tokens. Tenants are remembered for `remember` seconds, so a revoked token
    works that much longer at most; `clock` is monotonic."""

    def __init__(
        self,
        store: Store,
        now: Callable[[], datetime],
        remember: float = 5.0,
        home: Home | None = None,
        cloud: Cloud | None = None,
        clock: Callable[[], float] = time.monotonic,
        operators: OperatorDirectory | None = None,
    ) -> None:
        self._now = now
        self._home = home or Home()
        self._cloud = cloud or Cloud()
        self._operators = operators or OperatorDirectory()
        self._tenants = Tenants(store, remember, clock)
        self._usage = Usage(store, now)
        self._deployment = DeploymentSecrets(store, now, self._usage, clock, remember)
        self._signed: SignedTokens | None = None
        self._proven: dict[tuple[TokenKind, bytes], tuple[Caller, Token]] = {}
        """Verified secrets by the digest of their text. A proof is valid for the tenant object that
        it was made with; once the tenant is read again, the secret is verified again."""

    async def caller(self, authorization: str | None, kind: TokenKind) -> Caller:
        """The caller that an Authorization header proves. Raises Refused."""
        return await self._prove(authorization, kind, lambda text: self._caller(text, kind))

    async def deployment(self, authorization: str | None, kind: DeploymentKind) -> DeploymentCaller:
        """The vendor's program that an Authorization header proves. Raises Refused."""
        return await self._prove(
            authorization, kind, lambda text: self._deployment_caller(text, kind)
        )

    async def reader(self, authorization: str | None) -> Caller | DeploymentCaller:
        """The caller of a path without a tenant that reads access: a tenant's token, or a program
        of the vendor's. Raises Refused."""

        async def prove(text: str) -> Caller | DeploymentCaller:
            shown = presented(text)
            if shown.kind == "application" if shown else text.startswith(SIGNED[0]):
                return await self._deployment_caller(text, "application")
            return await self._caller(text, "access")

        return await self._prove(authorization, "access", prove)

    async def naming(
        self, authorization: str | None, kind: DeploymentKind, tenant_id: str
    ) -> Caller:
        """The vendor's program as a caller of the tenant that the path names. Raises Refused, for
        example UnknownTenant or HomedElsewhere."""

        async def prove(text: str) -> Caller:
            proven = await self._deployment_caller(text, kind)
            known = TENANT_ID_PATTERN.fullmatch(tenant_id)
            tenant = await self._tenants.get(tenant_id) if known else None
            if tenant is None:
                raise UnknownTenant
            if (
                kind != "operator"
            ):  # operators set a tenant's home, so they may manage it in any region
                self._home.check(tenant)
            return Caller(tenant, "", proven.credential)

        return await self._prove(authorization, kind, prove)

    async def _prove[C](
        self, authorization: str | None, kind: Opening, prove: Callable[[str], Awaitable[C]]
    ) -> C:
        """The result of `prove` for the bearer token in a header. Raises Refused."""
        if not authorization:
            raise no_credentials(kind)
        scheme, _, text = authorization.partition(" ")
        text = text.strip()

        async def proven() -> C:
            if scheme.lower() != "bearer":
                raise bad_token(kind)
            return await prove(text)

        try:
            return await self.anew_before((Unproven, HomedElsewhere, UnknownTenant), proven)
        except Refused as refusal:
            why = f": {refusal.reason}" if isinstance(refusal, Unproven) and refusal.reason else ""
            shown = await self._named(text)
            log.info("refused (%s): %s%s", type(refusal).__name__, shown, why)
            raise

    async def anew_before[T](
        self, refusals: tuple[type[Exception], ...], prove: Callable[[], Awaitable[T]]
    ) -> T:
        """The result of `prove`. Where it raises a refusal, the tenant is read anew and `prove`
        called again."""
        since = self._tenants.moment()
        try:
            return await prove()
        except refusals:
            with self._tenants.anew(since):
                return await prove()

    async def renewed(
        self, caller: Caller, authorization: str | None, kind: TokenKind
    ) -> Caller | None:
        """The caller of a header, verified again where the tenant has changed since it was read for
        `caller`. Raises Refused."""
        with self._tenants.anew(self._tenants.moment()):
            if await self._tenants.get(caller.tenant.tenant_id) == caller.tenant:
                return None
        return await self.caller(authorization, kind)

    async def _caller(self, text: str, kind: TokenKind) -> Caller:
        key = (kind, hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest())
        if (known := await self._known(key)) is not None:
            return known
        shown = presented(text)
        if shown is not None and shown.kind == kind:
            caller, token = await self._by_secret(shown, kind)
            if len(self._proven) >= REMEMBERED:
                self._proven.clear()
            self._proven[key] = caller, token
            return caller
        if shown is None and kind == "scim" and text.startswith(SIGNED):
            return await self.signed().caller(text)
        raise bad_token(kind)

    async def _deployment_caller(self, text: str, kind: DeploymentKind) -> DeploymentCaller:
        shown = presented(text)
        if shown is not None and shown.kind == kind:
            return await self._deployment.caller(shown, kind)
        if shown is None and self._operators.directory_id and text.startswith(SIGNED[0]):
            return await self.signed().operators.caller(text, kind)
        raise bad_token(kind)

    async def _named(self, text: str) -> str:
        """What an unverified token claims to be, for the log. It names a tenant only if that
        exists, and ids only in their fixed form. Raises StoreError."""
        if (shown := presented(text)) is not None:
            if shown.kind in DEPLOYMENT_KINDS:
                return f"{shown.kind} credential {shown.token_id}"
            known = await self._tenants.get(shown.owner)
            whose = shown.owner if known else "no tenant"
            return f"{shown.kind} token {shown.token_id} of {whose}"
        if text.startswith(SIGNED):
            return await self.signed().named(text)
        return "a token of no known form"

    def check_home(self, tenant: Tenant) -> None:
        """Raises HomedElsewhere for a tenant of another region."""
        self._home.check(tenant)

    def signed(self) -> "SignedTokens":
        """The verifier of signed tokens, made on first use."""
        if self._signed is None:
            from trust.signed import SignedTokens

            self._signed = SignedTokens(
                self._cloud, self._operators, self._tenants, self._usage, self.check_home
            )
        return self._signed

    async def close(self) -> None:
        """Finish background work."""
        await self._usage.close()
        if self._signed is not None:
            await self._signed.close()

    async def _known(self, key: tuple[TokenKind, bytes]) -> Caller | None:
        """The caller of a secret that was verified with the remembered tenant object and has not
        expired; None for any other."""
        if (proven := self._proven.get(key)) is None:
            return None
        caller, token = proven
        tenant_id = caller.tenant.tenant_id
        if await self._tenants.get(tenant_id) is not caller.tenant:
            return None
        if not is_live(token, self._now()):
            return None
        self._usage.saw(tenant_id, caller.credential)
        return caller

    async def _by_secret(self, shown: Presented, kind: TokenKind) -> tuple[Caller, Token]:
        tenant = await self._tenants.get(shown.owner)
        if tenant is not None:
            # not verified: this region has no tokens of the tenant. Only its home is disclosed
            self._home.check(tenant)
        candidates = bearer_tokens(tenant, shown.kind)
        connection_id = prove(shown, candidates, self._now())
        if tenant is None or connection_id is None:
            raise bad_token(kind)
        self._usage.saw(shown.owner, shown.token_id)
        token = next(token for _, token in candidates if token.token_id == shown.token_id)
        return Caller(tenant, connection_id, shown.token_id), token
