"""One-time sign-in on a laptop: a random link that works once, within minutes. Opening the link
does not use it up, because programs that preview links open them, too: it leads to a page with a
button, and the button redeems it. It does not exist on Azure: wiring leaves it out unless the state
is in a local file, and a link works only on a loopback address."""

import hashlib
import ipaddress
import secrets
from collections.abc import Callable
from datetime import datetime

from directory.documents import StoredModel
from directory.store import Create, Delete, NotFound, PreconditionFailed, Store

LIFE_SECONDS = 600


class OneTimeSignIn(StoredModel):
    """A link that was issued and not used yet; only a digest of its key is stored."""

    document_type = "OneTimeSignIn"

    digest: str
    expires: datetime
    ttl: int = LIFE_SECONDS

    @property
    def document_id(self) -> str:
        return f"sign-in:{self.digest}"


async def one_time_link(store: Store, tenant_id: str, base_url: str, now: datetime) -> str:
    """A link that signs in to the console of a tenant, once."""
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
    """Use a key up. Returns whether it was issued for the tenant, has not expired, and was not used
    before."""
    try:
        stored = await store.read(tenant_id, f"sign-in:{_digest(key)}")
        await store.batch(tenant_id, [Delete(stored.document["id"], stored.etag)])
    except (NotFound, PreconditionFailed, ValueError):
        return False
    return OneTimeSignIn.from_document(stored.document).expires > now()


def is_loopback(host: str | None) -> bool:
    """Whether a host name is this machine's loopback."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host or "").is_loopback
    except ValueError:
        return False


def _digest(key: str) -> str:
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()
