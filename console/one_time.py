"""One-time sign-in on a laptop: a random link, good for one use within minutes.

To open it uses nothing up, because programs that show links open them, too: it leads to a page with
a button, and the button redeems it.

There is no such thing on Azure: wiring leaves it out wherever the state is not in a file of the
machine's own, and a link works only where the console is addressed on loopback.
"""

import hashlib
import ipaddress
import secrets
from collections.abc import Callable
from datetime import datetime

from directory.documents import StoredModel
from directory.store import Create, Delete, NotFound, PreconditionFailed, Store

LIFE_SECONDS = 600


class OneTimeSignIn(StoredModel):
    """A link that was given out and not used yet; only a digest of its key is kept."""

    document_type = "OneTimeSignIn"

    digest: str
    expires: datetime
    ttl: int = LIFE_SECONDS

    @property
    def document_id(self) -> str:
        return f"sign-in:{self.digest}"


async def one_time_link(store: Store, tenant_id: str, base_url: str, now: datetime) -> str:
    """A link that signs somebody in to the console of a tenant, once."""
    key = secrets.token_urlsafe(32)
    expires = datetime.fromtimestamp(now.timestamp() + LIFE_SECONDS, now.tzinfo)
    entry = OneTimeSignIn(tenant_id=tenant_id, digest=_digest(key), expires=expires)
    await store.batch(tenant_id, [Create(entry.to_document())])
    return f"{base_url}/console/sign-in/once?tenant={tenant_id}&key={key}"


async def is_open(store: Store, tenant_id: str, key: str, now: datetime) -> bool:
    """Whether this key can still be redeemed."""
    try:
        stored = await store.read(tenant_id, f"sign-in:{_digest(key)}")
    except (NotFound, ValueError):
        return False
    return OneTimeSignIn.from_document(stored.document).expires > now


async def redeem(store: Store, tenant_id: str, key: str, now: Callable[[], datetime]) -> bool:
    """Whether this key was given out for the tenant, is young enough and was not used before. It
    is used now."""
    try:
        stored = await store.read(tenant_id, f"sign-in:{_digest(key)}")
        await store.batch(tenant_id, [Delete(stored.document["id"], stored.etag)])
    except (NotFound, PreconditionFailed, ValueError):
        return False
    return OneTimeSignIn.from_document(stored.document).expires > now()


def is_loopback(host: str | None) -> bool:
    """Whether a host name is this machine's own."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host or "").is_loopback
    except ValueError:
        return False


def _digest(key: str) -> str:
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()
