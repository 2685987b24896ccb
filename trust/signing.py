"""The secret that all instances of a deployment share, made once and kept in the store.

It signs what Muster hands out and takes back (cursors, for one). Each purpose has a key of its
own, derived from it, so that what is signed for one is worth nothing for another.
"""

import base64
import hmac
import secrets

from directory.store import Conflict, Create, NotFound, Store

PARTITION = "_deployment"
"""No tenant's: a tenant's id has no underscore."""
DOCUMENT = "secret"


class SigningKeys:
    """The deployment's keys; the store is read once per process."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._secret: bytes | None = None

    async def key(self, purpose: str) -> bytes:
        """32 bytes for this purpose. Raises StoreError."""
        secret = self._secret or await self._read() or await self._make()
        self._secret = secret
        return hmac.digest(secret, purpose.encode(), "sha256")

    async def _read(self) -> bytes | None:
        try:
            stored = await self._store.read(PARTITION, DOCUMENT)
        except NotFound:
            return None
        return base64.b64decode(stored.document["value"])

    async def _make(self) -> bytes:
        value = secrets.token_bytes(32)
        document = {"id": DOCUMENT, "tenantId": PARTITION, "type": "Secret"}
        try:
            text = base64.b64encode(value).decode()
            await self._store.batch(PARTITION, [Create({**document, "value": text})])
        except Conflict:  # another instance was there first
            stored = await self._store.read(PARTITION, DOCUMENT)
            return base64.b64decode(stored.document["value"])
        return value
