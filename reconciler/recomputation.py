"""Users → their access records, computed from what is true now.

The order is what makes it right without locks: the access record is read first and the truth
after it, and the record is written under its ETag even when nothing changed. Whoever computed
from an older truth then fails that ETag and computes again.
"""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from itertools import batched

from directory.access import (
    Access,
    AccessChange,
    Publication,
    access_id,
    manual_grants_id,
)
from directory.condition import OneOf
from directory.documents import user_id
from directory.lanes import apart
from directory.ledger import RACES, retrying
from directory.resources import StoredUser
from directory.store import (
    BATCH_OPERATIONS,
    Create,
    Delete,
    NotFound,
    Operation,
    Replace,
    Store,
    Stored,
    TooLarge,
    Unreadable,
    member,
)
from directory.ulids import new_ulid
from reconciler.access import (
    STEPS_PER_GRANT,
    Facts,
    effective_access,
    state_of,
    visible,
)
from reconciler.facts import known_access, read_truth
from reconciler.gathering import Causes
from reconciler.sweeping import remove_edges

PAGE = (BATCH_OPERATIONS - 1) // 2
"""Users whose records are written in one batch, each with its change, and one outbox row."""
PAGE_STEPS = 400_000
"""Steps (`directory.lanes`) that one batch may take to compute and to write: some 0.4 s. Users who
hold so much together are written fewer at a time."""
PAGE_ATTEMPTS = 3
"""How often a page is tried before its halves are tried on their own."""
USER_ATTEMPTS = 12
"""How often a single user is tried: a mover's forty events may all meet on one record."""
BACKOFF = 0.01
"""Seconds at most after the first attempt; doubles with each, six times."""


@dataclass(frozen=True, slots=True)
class Committed:
    """Changes of access that are stored and that the application is to be told of."""

    publication: Publication
    changes: tuple[AccessChange, ...]


@dataclass(slots=True)
class Recomputed:
    """What became of some users: what there is to publish, what could not be read of those whose
    records stay as they are, and about how many steps (`directory.lanes`) it took."""

    committed: list[Committed] = field(default_factory=list)
    unreadable: list[Unreadable] = field(default_factory=list)
    steps: int = 0


class AccessRecords:
    """The access records, kept up to what is true. `now` answers an aware UTC time; `retention`
    is how long (seconds) a user's history is kept."""

    def __init__(self, store: Store, now: Callable[[], datetime], retention: int) -> None:
        self._store = store
        self._now = now
        self._retention = retention

    async def recompute(self, tenant_id: str, causes: Causes, done: Recomputed) -> None:
        """Bring the records of these users (SCIM ids, each with the event that is the cause) up to
        what is true now, and add to `done` what became of them.

        A user who does not exist loses the record, the grants by hand and every edge. Each page of
        users is one batch, done again where somebody else wrote one of its records meanwhile. What
        cannot be read stops those users alone whose access follows from it.
        Raises what the store raises, a lost race among it when there is no end to them; to call
        again is safe, and what was committed before is found by its outbox row.
        """
        for page in batched(causes, PAGE, strict=False):
            await self._settle(tenant_id, page, causes, done)

    async def _settle(
        self,
        tenant_id: str,
        users: tuple[str, ...],
        causes: Causes,
        done: Recomputed,
    ) -> None:
        """Write a page; where it keeps failing, its halves on their own, down to one user."""

        async def attempt() -> tuple[_Reading, _Page | None]:
            reading = await self._read(tenant_id, users)
            if reading.steps > PAGE_STEPS and len(users) > 1:
                return reading, None
            page = await apart(
                tenant_id,
                reading.steps,
                partial(_Page, reading, causes, self._now(), self._retention),
            )
            if page.operations:
                await self._store.batch(tenant_id, page.operations)
            return reading, page

        attempts = USER_ATTEMPTS if len(users) == 1 else PAGE_ATTEMPTS
        try:
            reading, page = await retrying(attempt, attempts=attempts, pause=BACKOFF)
        except Unreadable as error:
            if len(users) == 1:
                done.unreadable.append(error)
                return
        except (*RACES, TooLarge):
            if len(users) == 1:
                raise
        else:
            if page is None:  # more than one step may take
                for some in reading.pieces:
                    await self._settle(tenant_id, some, causes, done)
                return
            done.committed.extend(page.committed)
            done.steps += reading.steps
            await self._clear(reading, causes, done)
            return
        middle = len(users) // 2
        await self._settle(tenant_id, users[:middle], causes, done)
        await self._settle(tenant_id, users[middle:], causes, done)

    async def _read(self, tenant_id: str, ids: tuple[str, ...]) -> "_Reading":
        records = await self._store.read_many(tenant_id, [access_id(id) for id in ids])
        truth = await read_truth(self._store, tenant_id, ids)
        return _Reading(tenant_id, ids, records, truth.users, truth.facts)

    async def _clear(self, reading: "_Reading", causes: Causes, done: Recomputed) -> None:
        """What must follow the batch: nobody's edges and grants, and the record of a user who was
        deleted while it was created (a deletion that found no record had no ETag to fail it
        with)."""
        tenant_id = reading.tenant_id
        gone = [id for id in reading.ids if id not in reading.users]
        if gone:
            await self._remove_grants(tenant_id, gone)
            where = OneOf(("memberId",), tuple(gone))
            await remove_edges(self._store, tenant_id, where, sys.maxsize, self._now)
        created = [id for id in reading.users if access_id(id) not in reading.records]
        if created:
            found = await self._store.read_many(tenant_id, [user_id(id) for id in created])
            again = tuple(id for id in created if user_id(id) not in found)
            if again:
                await self._settle(tenant_id, again, causes, done)

    async def _remove_grants(self, tenant_id: str, users: Sequence[str]) -> None:
        while given := await self._store.read_many(tenant_id, [*map(manual_grants_id, users)]):
            with suppress(NotFound):  # somebody else removed one of them: look again
                await self._store.batch(tenant_id, [Delete(id) for id in given])
                return


@dataclass(frozen=True, slots=True)
class _Reading:
    """A page of users as they were read: `records` first, then everything else."""

    tenant_id: str
    ids: tuple[str, ...]
    records: dict[str, Stored]
    users: dict[str, StoredUser]
    facts: Facts

    @property
    def pieces(self) -> Iterator[tuple[str, ...]]:
        """Its users, divided into pages that take PAGE_STEPS or little more."""
        size = min(len(self.ids) // 2, len(self.ids) * PAGE_STEPS // self.steps)
        return batched(self.ids, max(1, size), strict=False)

    @property
    def steps(self) -> int:
        """About what it takes to compute and to write them, as `directory.lanes` counts: what is
        granted already is read and compared."""
        stored = (member(record, "grants") for record in self.records.values())
        grants = sum(len(grants) for grants in stored if isinstance(grants, list))
        return self.facts.steps_of(self.users) + grants * STEPS_PER_GRANT


class _Page:
    """What a page of users writes: records, changes, and the outbox row of what the application
    is to be told."""

    def __init__(self, reading: _Reading, causes: Causes, now: datetime, retention: int) -> None:
        self._reading = reading
        self._causes = causes
        self._now = now
        self._retention = retention
        self.operations: list[Operation] = []
        self.committed: list[Committed] = []
        changes: list[AccessChange] = []
        for id in reading.ids:
            record = reading.records.get(access_id(id))
            user = reading.users.get(id)
            if user is not None or record is not None:
                changes += self._write(id, user, record)
        told = tuple(change for change in changes if visible(change.before, change.after))
        self.operations += [Create(change.to_document()) for change in changes]
        if told:
            publication = Publication(
                tenant_id=reading.tenant_id,
                publication_id=new_ulid(self._now),
                at=now,
                changes=tuple(change.change_id for change in told),
            )
            self.operations.append(Create(publication.to_document()))
            self.committed.append(Committed(publication, told))

    def _write(
        self, id: str, user: StoredUser | None, record: Stored | None
    ) -> Iterator[AccessChange]:
        """Add what keeps the record of a user; yields the change, where there is one. A record
        that cannot be read is written anew."""
        old = known_access(record)
        before = state_of(old) if old else None
        after = state_of(effective_access(user, self._reading.facts)) if user is not None else None
        version = _version(record) + 1
        changed = before != after
        if after is None and record is not None:
            self.operations.append(Delete(access_id(id), record.etag))
        elif after is not None:
            access = Access(
                tenant_id=self._reading.tenant_id,
                user_id=id,
                **dict(after),
                version=version,
                changed_at=self._now if old is None or changed else old.changed_at,
                event_id=self._causes[id] if old is None or changed else old.event_id,
            ).to_document()
            self.operations.append(Replace(access, record.etag) if record else Create(access))
        if changed:
            yield AccessChange(
                tenant_id=self._reading.tenant_id,
                change_id=new_ulid(self._now),
                user_id=id,
                version=version,
                at=self._now,
                event_id=self._causes[id],
                before=before,
                after=after,
                ttl=self._retention,
            )


def _version(record: Stored | None) -> int:
    """Of a record, even of one that cannot be read; 0 where there is none."""
    version = member(record, "version") if record else None
    return version if isinstance(version, int) else 0
