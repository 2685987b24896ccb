"""The secrets that all instances of a deployment share. The instances make them and keep them in
the store. They sign what Muster hands out and takes back: the console's cookies and cursors. Each
purpose has its own keys, derived from them, so what is signed for one is invalid for another.

A secret is rolled in two steps, because instances read the store once a minute: a new one is
accepted from the moment it is stored, and signs once every instance knows it. The one before is
accepted for a day more: longer than any session, and than reading any list page by page.
"""

import base64
import hmac
import secrets
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from directory.documents import Model, StoredModel
from directory.ledger import retrying
from directory.store import Conflict, Create, NotFound, Replace, Store, Stored

PARTITION = "_deployment"
"""Not a tenant's partition: a tenant's id has no underscore."""
DOCUMENT = "secret"
REMEMBER_SECONDS = 60.0
AHEAD = timedelta(minutes=3)
"""How long before it signs a new secret is stored."""
OLD = timedelta(days=1)
"""How long a secret is accepted after another one signs."""

type Keys = tuple[bytes, ...]
"""All accepted keys, 32 bytes each; the first one signs."""


class Rolled(Model):
    """A secret that replaces the one before."""

    value: str
    signs_from: datetime


class Secret(StoredModel):
    """The secrets, oldest first: `value`, and those that replaced it."""

    document_type = "Secret"

    name: str = DOCUMENT
    """The document's id: a secret that must outlive the roll of another one has its own
    document."""
    value: str
    """256 random bits in Base64."""
    rolled: tuple[Rolled, ...] = ()

    @property
    def document_id(self) -> str:
        return self.name

    def counting(self, now: datetime) -> Keys:
        """The secrets that are accepted at a moment; the first one signs."""
        begin = [datetime.min.replace(tzinfo=UTC), *(each.signs_from for each in self.rolled)]
        values = [self.value, *(each.value for each in self.rolled)]
        signing = max(at for at, begins in enumerate(begin) if at == 0 or begins <= now)
        old = [at for at in range(signing) if now < begin[at + 1] + OLD]
        new = range(signing + 1, len(values))
        return tuple(base64.b64decode(values[at]) for at in (signing, *new, *old))

    def rolling(self, now: datetime) -> "Secret":
        """The document with a new secret that signs soon, and without expired ones."""
        kept = set(self.counting(now))
        all_of_them = (Rolled(value=self.value, signs_from=now), *self.rolled)
        first, *others = (each for each in all_of_them if base64.b64decode(each.value) in kept)
        new = Rolled(value=_new(), signs_from=now + AHEAD)
        return self.model_copy(update={"value": first.value, "rolled": (*others, new)})


class SigningKeys:
    """The deployment's keys, derived from the secret in `document` and remembered for a minute.
    `clock` is monotonic."""

    def __init__(
        self,
        store: Store,
        now: Callable[[], datetime],
        clock: Callable[[], float] = time.monotonic,
        document: str = DOCUMENT,
    ) -> None:
        self._document = document
        self._store = store
        self._now = now
        self._clock = clock
        self._known: tuple[float, Secret] | None = None

    async def keys(self, purpose: str) -> Keys:
        """The keys for this purpose. Raises StoreError."""
        known = self._known
        if known is None or self._clock() >= known[0]:
            known = self._clock() + REMEMBER_SECONDS, await self._read()
            self._known = known
        counting = known[1].counting(self._now())
        return tuple(hmac.digest(secret, purpose.encode(), "sha256") for secret in counting)

    async def _read(self) -> Secret:
        try:
            return Secret.from_document((await self._stored()).document)
        except NotFound:
            pass
        made = Secret(tenant_id=PARTITION, name=self._document, value=_new())
        try:
            await self._store.batch(PARTITION, [Create(made.to_document())])
        except Conflict:  # another instance was there first
            return Secret.from_document((await self._stored()).document)
        return made

    async def roll(self, *, at_once: bool = False) -> datetime:
        """Make a new secret that signs soon; returns from when. `at_once`: it signs in a minute,
        and from then on nothing that another secret signed is accepted. Raises StoreError."""

        async def attempt() -> Secret:
            await self._read()
            stored = await self._stored()
            secret = Secret.from_document(stored.document)
            new = Secret(tenant_id=PARTITION, name=self._document, value=_new())
            rolled = new if at_once else secret.rolling(self._now())
            await self._store.batch(PARTITION, [Replace(rolled.to_document(), stored.etag)])
            return rolled

        rolled = await retrying(attempt)
        self._known = None
        if at_once:
            return self._now() + timedelta(seconds=REMEMBER_SECONDS)
        return rolled.rolled[-1].signs_from

    async def _stored(self) -> Stored:
        return await self._store.read(PARTITION, self._document)


def _new() -> str:
    return base64.b64encode(secrets.token_bytes(32)).decode()
