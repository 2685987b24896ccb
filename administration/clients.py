"""The OAuth client of a connection: its secrets, and the workload identity that may replace a
secret."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from administration.connections import change_connection, connection_of, named
from administration.errors import Absent, AdministrationError
from administration.tenants import Changed, TenantChange, read_tenant
from administration.tokens import last_uses
from directory.documents import AdministrativeOperation, Model
from directory.store import Store
from directory.tenants import ClientSecret, Connection, Credential, Federation, OAuthClient, Tenant
from trust.cloud import Cloud, audiences_of, is_trustworthy
from trust.tokens import is_live, issue, new_client_id, new_signing_key

LIVE = 2
"""The most secrets of a client that are valid at once: the old one and the new one of a rotation.
"""
LONGEST = timedelta(days=3 * 365 + 1)
"""The longest that a secret may be valid: three years, the most that Microsoft's gallery allows."""
CHARACTERS = 500
"""The longest issuer, subject or audience of a workload identity."""


@dataclass(frozen=True, slots=True)
class ListedCredential:
    """A client's secret, or the workload identity that replaces one, as it is listed."""

    kind: Literal["secret", "federation"]
    id: str
    created: datetime
    expires: datetime | None
    live: bool
    last_used: datetime | None


@dataclass(frozen=True, slots=True)
class ListedClient:
    """A client as it is listed: never with a secret's text, which Muster does not store."""

    connection_id: str
    client_id: str
    credentials: tuple[ListedCredential, ...]
    federation: Federation | None


class Clients(TenantChange):
    """The OAuth clients of a tenant's connections, one each. Every method raises
    AdministrationError."""

    async def add_secret(
        self, connection_id: str, lifetime: timedelta, overlap: timedelta | None = None
    ) -> tuple[str, str]:
        """Make a secret of the connection's client; the first secret makes the client, too. With an
        `overlap` the older secret stays valid for that long only. Returns the client's id and the
        only copy of the secret. Refused where two are valid already, and for a lifetime beyond
        LONGEST."""
        if not timedelta() < lifetime <= LONGEST:
            raise AdministrationError(
                f"A client's secret lives for three years at most ({LONGEST.days} days)."
            )
        now = self.service.now()
        text, token = issue("secret", self.tenant_id, now, expires=now + lifetime)
        secret = ClientSecret(**token.model_dump(), signing_key=new_signing_key())

        def add(client: OAuthClient) -> OAuthClient:
            live = [each for each in client.secrets if is_live(each, now)]
            if len(live) >= LIVE:
                raise AdministrationError(
                    f"The client has two secrets already ({', '.join(s.token_id for s in live)}), "
                    "the most there can be: one in use, and one to replace it. End the one "
                    "that is not in use.",
                    f"client revoke {self.tenant_id} SECRET --connection {connection_id}",
                )
            kept = (_ending(each, now, overlap) for each in live)
            return client.model_copy(
                update={"secrets": (*(each for each in kept if is_live(each, now)), secret)}
            )

        operation: Literal["secretCreate", "secretRotate"]
        operation = "secretCreate" if overlap is None else "secretRotate"
        tenant = await self._change(operation, connection_id, add, self._fresh())
        client = _client_of(connection_of(tenant, connection_id), self.tenant_id)
        return client.client_id, text

    async def revoke_secret(self, connection_id: str, secret_id: str) -> None:
        """End a secret, and within seconds every access token that it obtained."""

        def revoke(client: OAuthClient) -> OAuthClient:
            left = tuple(each for each in client.secrets if each.token_id != secret_id)
            if len(left) == len(client.secrets):
                raise Absent(
                    f"The client of {connection_id} has no secret {secret_id}.",
                    f"client show {self.tenant_id} --connection {connection_id}",
                )
            return client.model_copy(update={"secrets": left})

        await self._change("secretRevoke", connection_id, revoke)

    async def federate(
        self,
        connection_id: str,
        *,
        issuer: str,
        subject: str,
        audience: str,
        cloud: Cloud,
        keys_url: str = "",
    ) -> None:
        """Let a workload identity authenticate the client instead of a secret. It replaces the
        identity that did before; the client is made where there is none. Without `keys_url`, which
        only operators may choose, the issuer must be one of the `cloud`."""
        named = (issuer, subject, audience)
        if not all(named) or max(map(len, named)) > CHARACTERS:
            raise AdministrationError(
                "A workload's identity needs an issuer, a subject and an audience, of at most "
                f"{CHARACTERS} characters each."
            )
        keys_url = keys_url or cloud.keys_url_of(issuer) or ""
        if not keys_url:
            raise AdministrationError(
                f"{issuer} is not an issuer of Entra ID; its issuers look like "
                f"{cloud.issuer('2.0', '<directory id>')}. For another issuer, an operator names "
                "the URL of its keys.",
                f"client federate {self.tenant_id} --keys-url URL",
            )
        if not is_trustworthy(keys_url):
            raise AdministrationError("Keys are fetched over https only: --keys-url https://…")
        federation = Federation(
            federation_id=new_signing_key()[:8],
            issuer=issuer,
            subject=subject,
            audience=audiences_of(audience)[0],
            keys_url=keys_url,
            signing_key=new_signing_key(),
            created=self.service.now(),
        )
        await self._change(
            "federation",
            connection_id,
            lambda client: client.model_copy(update={"federation": federation}),
            self._fresh(),
        )

    async def remove(self, connection_id: str) -> None:
        """Remove the connection's client with its secrets and its federation, and within seconds
        every access token."""
        await self._change("clientRemove", connection_id, lambda _: None)

    def _fresh(self) -> OAuthClient:
        return OAuthClient(client_id=new_client_id(self.tenant_id), created=self.service.now())

    async def _change(
        self,
        operation: AdministrativeOperation,
        connection_id: str,
        change: Callable[[OAuthClient], OAuthClient | None],
        fresh: OAuthClient | None = None,
    ) -> Tenant:
        """Change the connection's client; where it has none, the `fresh` one, if any, is changed
        and stored."""

        def apply(tenant: Tenant) -> Changed:
            before = connection_of(tenant, connection_id)
            client = change(before.client or fresh or _client_of(before, self.tenant_id))
            changed = change_connection(
                tenant, connection_id, lambda found: found.model_copy(update={"client": client})
            )
            return changed, (*named(connection_id), *_worked_on(before.client, client))

        return await self.apply(operation, apply)


async def list_clients(store: Store, tenant: Tenant, now: datetime) -> list[ListedClient]:
    """The clients of a tenant's connections, and when their credentials were last used. Raises
    StoreError."""
    clients = {each.connection_id: each.client for each in tenant.connections if each.client}
    ids = [each.credential_id for client in clients.values() for each in client.credentials]
    used = await last_uses(store, tenant.tenant_id, ids)
    return [
        ListedClient(
            connection_id,
            client.client_id,
            tuple(_listed(each, now, used) for each in client.credentials),
            client.federation,
        )
        for connection_id, client in clients.items()
    ]


async def read_client(
    store: Store, tenant_id: str, connection_id: str, now: datetime
) -> ListedClient:
    """The client of a connection. Raises AdministrationError where it has none."""
    tenant = await read_tenant(store, tenant_id)
    _client_of(connection_of(tenant, connection_id), tenant_id)
    listed = await list_clients(store, tenant, now)
    return next(each for each in listed if each.connection_id == connection_id)


def _listed(
    credential: Credential, now: datetime, used: Mapping[str, datetime]
) -> ListedCredential:
    id, created = credential.credential_id, credential.created
    if isinstance(credential, Federation):
        return ListedCredential("federation", id, created, None, True, used.get(id))
    live = is_live(credential, now)
    return ListedCredential("secret", id, created, credential.expires, live, used.get(id))


def _ending(secret: ClientSecret, now: datetime, overlap: timedelta | None) -> ClientSecret:
    if overlap is None:
        return secret
    ends = now + overlap
    return secret.model_copy(update={"expires": min(ends, secret.expires or ends)})


def _client_of(connection: Connection, tenant_id: str) -> OAuthClient:
    if connection.client is None:
        raise Absent(
            f"The connection {connection.connection_id} has no client.",
            f"client create {tenant_id} --connection {connection.connection_id}",
        )
    return connection.client


def _worked_on(before: OAuthClient | None, after: OAuthClient | None) -> tuple[str, ...]:
    """What the log names: a client that was added or removed, and those of its credentials that
    were added, removed or changed."""
    old, new = (_parts(client) if client else {} for client in (before, after))
    return tuple(name for name in {**old, **new} if old.get(name) != new.get(name))


def _parts(client: OAuthClient) -> dict[str, Model | str]:
    """A client's id and its credentials, by their names in the log."""
    parts: dict[str, Model | str] = {f"client {client.client_id}": client.client_id}
    parts |= {f"secret {secret.token_id}": secret for secret in client.secrets}
    if client.federation:
        parts[f"federation {client.federation.federation_id}"] = client.federation
    return parts
