"""Notices about conditions rather than actions: requests of a tenant are refused, or a secret is
about to expire."""

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any

from delivery.endpoints import list_endpoints
from directory.condition import Compare
from directory.fleet import is_refusing
from directory.notices import Notice, NoticeType
from directory.reading import every, every_tenant
from directory.store import Conflict, Create, Query, Store
from directory.tenants import RequestCount, Tenant, Token
from queues.relay import second
from trust.deployment import DeploymentCredential
from trust.signing import PARTITION

DAYS_BEFORE = (30, 7, 1)
"""A notice is made this many days before a secret expires."""
_HOUR = timedelta(hours=1)


class Watch:
    """Checks the tenants and the credentials of the deployment. A notice's id is derived from its
    subject, so that it is stored once, however many processes check and how often."""

    def __init__(self, store: Store, now: Callable[[], datetime]) -> None:
        self._store = store
        self._now = now

    async def look(self) -> int:
        """Store a notice of every new condition, if there is an endpoint; returns how many. Raises
        StoreError."""
        if not await list_endpoints(self._store):
            return 0
        counts = await self._counts()
        added = 0
        async for stored in every(self._store, PARTITION, Query("DeploymentCredential")):
            credential = DeploymentCredential.from_document(stored.document)
            for notice in self._credential_ending(credential):
                added += await self._add(notice)
        async for stored in every_tenant(self._store, Query("Tenant")):
            tenant = Tenant.from_document(stored.document)
            for notice in (*self._ending(tenant), *self._refusing(tenant, counts)):
                added += await self._add(notice)
        return added

    def _ending(self, tenant: Tenant) -> Iterator[Notice]:
        whose = {"tenantId": tenant.tenant_id, "name": tenant.name}
        for kind, connection_id, token in tenant_secrets(tenant):
            details = {**whose, "kind": kind, "connection": connection_id}
            yield from self._secret_ending(tenant.tenant_id, token, details)

    def _credential_ending(self, credential: DeploymentCredential) -> Iterator[Notice]:
        whose = {"credentialId": credential.credential_id, "name": credential.name}
        for token in credential.tokens:
            yield from self._secret_ending(PARTITION, token, {**whose, "kind": credential.kind})

    def _secret_ending(
        self, partition: str, token: Token, details: dict[str, Any]
    ) -> Iterator[Notice]:
        left = token.expires - self._now() if token.expires else None
        if left is None or left <= timedelta():
            return
        passed = [days for days in DAYS_BEFORE if left <= timedelta(days=days)]
        if passed and token.expires:
            expires = token.expires.isoformat().replace("+00:00", "Z")
            details = {**details, "secretId": token.token_id, "expires": expires}
            about = f"{token.token_id}:{token.expires}:{passed[-1]}"
            yield self._notice(partition, "secret.ending", about, details)

    def _refusing(self, tenant: Tenant, counts: dict[str, tuple[int, int]]) -> Iterator[Notice]:
        requests, errors = counts[tenant.tenant_id]
        if is_refusing(requests, errors):  # in this hour and the one before
            details = {
                "tenantId": tenant.tenant_id,
                "name": tenant.name,
                "requests": requests,
                "errors": errors,
            }
            about = f"{self._now():%Y-%m-%d}"
            yield self._notice(tenant.tenant_id, "tenant.refusing", about, details)

    def _notice(
        self, partition: str, kind: NoticeType, about: str, details: dict[str, Any]
    ) -> Notice:
        subject = f"{kind}:{partition}:{about}".encode()
        return Notice(
            tenant_id=partition,
            notice_id=hashlib.sha256(subject).hexdigest()[:32],
            kind=kind,
            at=self._now(),
            details=details,
        )

    async def _add(self, notice: Notice) -> bool:
        try:
            await self._store.batch(notice.tenant_id, [Create(notice.to_document())])
        except Conflict:
            return False
        return True

    async def _counts(self) -> dict[str, tuple[int, int]]:
        """Tenant → requests and errors of this hour and the one before."""
        begin = self._now().replace(minute=0, second=0, microsecond=0) - _HOUR
        counts: defaultdict[str, tuple[int, int]] = defaultdict(lambda: (0, 0))
        since = Compare(("hour",), "ge", second(begin))
        async for stored in every_tenant(self._store, Query("RequestCount", since)):
            count = RequestCount.from_document(stored.document)
            requests, errors = counts[count.tenant_id]
            counts[count.tenant_id] = requests + count.requests, errors + count.errors
        return counts


def tenant_secrets(tenant: Tenant) -> Iterator[tuple[str, str, Token]]:
    """Each secret of a tenant with its kind and connection, where it has one."""
    for connection in tenant.connections:
        for token in connection.tokens:
            yield "scim", connection.connection_id, token
        for secret in connection.client.secrets if connection.client else ():
            yield "client", connection.connection_id, secret
    for kind, tokens in (("access", tenant.access_tokens), ("console", tenant.console_tokens)):
        for token in tokens:
            yield kind, "", token
