"""What stands between a tenant and a green Test Connection, and what is worth knowing besides."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Literal

from administration.directories import holder_of
from administration.tokens import last_uses
from directory.store import Store
from directory.tenants import ENTRA_CONNECTION, Tenant, Token
from trust.authenticator import Home
from trust.cloud import Cloud
from trust.keysets import KeySets
from trust.refusal import HomedElsewhere, KeysUnavailable
from trust.tokens import is_live

SOON = timedelta(days=30)

type State = Literal["ok", "warning", "failing"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at. `failing`: Test Connection fails because of it."""

    item: str
    state: State
    found: str
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class TenantCheck:
    """Looks at one tenant as this deployment would see its requests."""

    store: Store
    tenant: Tenant
    home: Home
    cloud: Cloud
    key_sets: KeySets
    now: datetime

    async def findings(self) -> list[Finding]:
        """Everything that was looked at, in the order in which a request meets it."""
        ways = [finding async for finding in self._ways_in()]
        return [
            self._region(),
            *self._judged(ways),
            *self._expiries(),
            await self._last_request(),
            self._provisioning(),
            await self._catalog(),
            await self._mappings(),
        ]

    def _region(self) -> Finding:
        try:
            self.home.check(self.tenant)
        except HomedElsewhere as error:
            return Finding("region", "failing", f"its home is {self.tenant.region}", error.detail)
        return Finding("region", "ok", f"{self.tenant.region}, served here")

    async def _ways_in(self) -> AsyncIterator[Finding]:
        """One finding for every way to authenticate that somebody has set up."""
        if self.tenant.directory_id:
            yield await self._entra_tokens()
        for connection in self.tenant.connections:
            name = connection.connection_id
            if connection.tokens:
                yield self._secrets("token", name, connection.tokens)
            if connection.client and connection.client.secrets:
                yield self._secrets("client", name, connection.client.secrets)
            if connection.client and connection.client.federation:
                yield await self._keys(
                    f"federation of {name}", connection.client.federation.keys_url
                )

    async def _entra_tokens(self) -> Finding:
        item, id, directory = "Entra ID's tokens", self.tenant.tenant_id, self.tenant.directory_id
        if not self.tenant.entra.accepted:
            return Finding(item, "failing", "refused", f"manage.py tenant entra {id} --accept")
        holder = await holder_of(self.store, directory or "")
        if holder != id:
            found = f"the directory {directory} is {holder}'s" if holder else "not registered"
            again = f"manage.py tenant entra {id} --directory-id {directory}"
            return Finding(item, "failing", found, again)
        if not any(each.connection_id == ENTRA_CONNECTION for each in self.tenant.connections):
            create = f"manage.py connection create {id} {ENTRA_CONNECTION} --name 'Entra ID'"
            return Finding(item, "failing", f"no connection {ENTRA_CONNECTION}", create)
        return await self._keys(item, self.cloud.keys_url("1.0", directory or ""))

    async def _keys(self, item: str, url: str) -> Finding:
        try:
            await self.key_sets.key(url, "any")
        except KeysUnavailable:
            remedy = "Let this deployment reach that address; a proxy or firewall may block it."
            return Finding(item, "failing", f"no keys from {url}", remedy)
        return Finding(item, "ok", f"keys at {url}")

    def _secrets(self, kind: str, connection_id: str, secrets: Sequence[Token]) -> Finding:
        item = f"{kind} of {connection_id}"
        live = [each.token_id for each in secrets if is_live(each, self.now)]
        if live:
            return Finding(item, "ok", f"live: {', '.join(live)}")
        create = f"{kind} create {self.tenant.tenant_id} --connection {connection_id}"
        return Finding(item, "failing", "expired", f"manage.py {create}")

    def _judged(self, ways: list[Finding]) -> list[Finding]:
        """Test Connection needs one way in; once one works, a broken one is a warning only."""
        if not ways:
            id = self.tenant.tenant_id
            remedy = (
                f"manage.py token create {id}, or for a Secret Token left blank: manage.py tenant "
                f"entra {id} --directory-id GUID"
            )
            return [Finding("ways in", "failing", "no token, client or directory", remedy)]
        if all(way.state == "failing" for way in ways):
            return ways
        return [replace(way, state="warning") if way.state == "failing" else way for way in ways]

    def _expiries(self) -> list[Finding]:
        secrets = [
            (kind, each)
            for connection in self.tenant.connections
            for kind, held in (
                ("token", connection.tokens),
                ("client", connection.client.secrets if connection.client else ()),
            )
            for each in held
        ]
        return [
            Finding(
                f"expiry of {each.token_id}",
                "warning",
                f"{each.expires:%Y-%m-%d}",
                f"manage.py {kind} rotate {self.tenant.tenant_id}"
                + (f" {each.token_id}" if kind == "token" else ""),
            )
            for kind, each in secrets
            if each.expires and self.now < each.expires < self.now + SOON
        ]

    async def _last_request(self) -> Finding:
        credentials = [ENTRA_CONNECTION]
        for connection in self.tenant.connections:
            credentials += [token.token_id for token in connection.tokens]
            if connection.client:
                credentials += [secret.token_id for secret in connection.client.secrets]
                if connection.client.federation:
                    credentials.append(connection.client.federation.federation_id)
        uses = await last_uses(self.store, self.tenant.tenant_id, credentials)
        if not uses:
            remedy = "In the Enterprise Application, under Provisioning, press Test Connection."
            return Finding("last request", "warning", "no accepted request so far", remedy)
        credential, at = max(uses.items(), key=lambda use: use[1])
        return Finding("last request", "ok", f"{at:%Y-%m-%d %H:%M} UTC, with {credential}")

    def _provisioning(self) -> Finding:
        if self.tenant.provisioning == "enabled":
            return Finding("provisioning", "ok", "enabled")
        return Finding(
            "provisioning",
            "warning",
            "disabled: Test Connection works, writes are refused",
            f"manage.py tenant enable {self.tenant.tenant_id}",
        )

    async def _catalog(self) -> Finding:
        entries = await self.store.count(self.tenant.tenant_id, "Entitlement")
        if entries:
            return Finding("catalog", "ok", f"{entries} entitlements")
        remedy = f"manage.py catalog import {self.tenant.tenant_id} FILE"
        return Finding("catalog", "warning", "empty: nothing can be granted", remedy)

    async def _mappings(self) -> Finding:
        mappings = await self.store.count(self.tenant.tenant_id, "Mapping")
        if mappings:
            return Finding("mappings", "ok", f"{mappings} groups give something")
        remedy = f"manage.py mapping load {self.tenant.tenant_id} FILE"
        return Finding("mappings", "warning", "none: groups give nothing", remedy)
