"""Recomputing the access records of users from the current facts.

The order makes it correct without locks: the access record is read first and the facts after it,
and the record is written under its ETag even when nothing changed. A computation from older facts
then fails on that ETag and is repeated.
"""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from itertools import batched

from directory.access import (
    Access,
    AccessChange,
    AccessState,
    KeptGrant,
    Publication,
    access_id,
    manual_grants_id,
)
from directory.condition import OneOf
from directory.documents import user_id
from directory.lanes import apart
from directory.ledger import RACES, retrying
from directory.portions import PORTIONS, Portions
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
from reconciler import loss
from reconciler.access import STEPS_PER_GRANT, effective_access, state_of, visible
from reconciler.facts import Truth, known_access, read_truth
from reconciler.gathering import Causes
from reconciler.keeping import Keepers, Protections, shares_of, writes_of
from reconciler.sweeping import remove_edges

PAGE_ATTEMPTS = 3
"""How often a page is tried before each of its halves is."""
USER_ATTEMPTS = 12
"""How often a single user is tried: a mover's forty events may all meet on one record."""
ROUNDS = 12
"""How often a page is computed anew because the keeper of an entitlement changes."""
PAUSE_SECONDS = 0.01
"""The longest pause after the first attempt; doubles with each, six times."""


@dataclass(frozen=True, slots=True)
class Committed:
    """Stored changes of access that are to be published to the application."""

    publication: Publication
    changes: tuple[AccessChange, ...]


@dataclass(slots=True)
class Recomputed:
    """The outcome for some users: changes to publish, the errors of users whose records could not
    be computed and stay unchanged, and about how many steps (`directory.lanes`) it took."""

    counted: str | None = None
    """The event (ULID) whose counters of loss are moved; None: losses are not counted."""
    committed: list[Committed] = field(default_factory=list)
    unreadable: list[Unreadable] = field(default_factory=list)
    steps: int = 0


class AccessRecords:
    """Keeps the access records up to date. `now` answers an aware UTC time; `retention` is how long
    (seconds) a user's history is kept; `pause_seconds` is the longest pause after the first attempt
    that lost a race."""

    def __init__(
        self,
        store: Store,
        now: Callable[[], datetime],
        retention: int,
        *,
        portions: Portions = PORTIONS,
        pause_seconds: float = PAUSE_SECONDS,
    ) -> None:
        self._store = store
        self._now = now
        self._retention = retention
        self._portions = portions
        self._pause_seconds = pause_seconds

    async def recompute(self, tenant_id: str, causes: Causes, done: Recomputed) -> None:
        """Bring the records of these users (SCIM ids, each with the event that causes it) up to
        date, and add the outcome to `done`.

        A user who does not exist loses the record, the grants by hand and every edge. Each page of
        users is one batch, repeated where somebody else wrote one of its records meanwhile. An
        unreadable document stops only the users whose access depends on it. Raises what the store
        raises, including a lost race after too many attempts. A call can be repeated; changes that
        were committed before are found by their outbox row.
        """
        for page in batched(causes, self._portions.users_per_batch, strict=False):
            await self._settle(tenant_id, page, causes, done)

    async def _settle(
        self,
        tenant_id: str,
        users: tuple[str, ...],
        causes: Causes,
        done: Recomputed,
    ) -> None:
        """Write a page; where it keeps failing, each of its halves, down to one user."""

        attempts = USER_ATTEMPTS if len(users) == 1 else PAGE_ATTEMPTS
        try:
            attempt = partial(self._attempt, tenant_id, users, causes, done.counted)
            reading, page = await retrying(attempt, attempts=attempts, pause=self._pause_seconds)
        except Unreadable as error:
            if len(users) == 1:
                done.unreadable.append(error)
                return
        except (*RACES, TooLarge):
            if len(users) == 1:
                raise
        else:
            if page is None:  # more steps than one page may take
                for some in reading.pieces(self._portions.steps_per_batch):
                    await self._settle(tenant_id, some, causes, done)
                return
            done.committed.extend(page.committed)
            done.unreadable.extend(page.unreadable)
            done.steps += reading.steps
            await self._clear(reading, causes, done)
            return
        middle = len(users) // 2
        await self._settle(tenant_id, users[:middle], causes, done)
        await self._settle(tenant_id, users[middle:], causes, done)

    async def _attempt(
        self, tenant_id: str, users: tuple[str, ...], causes: Causes, counted: str | None
    ) -> "tuple[_Reading, _Page | None]":
        """Read, compute and write a page; None: it would take more steps than one page may."""
        reading = await self._read(tenant_id, users)
        if reading.steps > self._portions.steps_per_batch and len(users) > 1:
            return reading, None
        page = await self._computed(reading, causes)
        if page.touches_protected:
            page = await self._keeping(page)
        if counted is not None:
            page.operations += loss.counted(counted, page.states.values())
        if len(page.operations) > BATCH_OPERATIONS:
            raise TooLarge(f"{len(page.operations)} operations for one page of users.")
        if page.operations:
            await self._store.batch(tenant_id, page.operations)
        return page.reading, page

    async def _read(self, tenant_id: str, ids: tuple[str, ...]) -> "_Reading":
        records = await self._store.read_many(tenant_id, [access_id(id) for id in ids])
        truth = await read_truth(self._store, tenant_id, ids)
        return _Reading(tenant_id, ids, records, truth)

    async def _computed(self, reading: "_Reading", causes: Causes) -> "_Page":
        work = partial(_Page, reading, causes, self._now(), self._retention)
        return await apart(reading.tenant_id, reading.steps, work)

    async def _keeping(self, page: "_Page") -> "_Page":
        """The page with kept grants, so that it takes no protected entitlement from its last
        holder. It includes the users for whom something is newly kept, or no longer kept. For
        unreadable users nothing changes, and the page lists the error."""
        fixed: set[str] = set()
        unreadable: list[Unreadable] = []
        while True:
            page, missing = await self._kept(page, fixed)
            if not missing:
                page.unreadable += unreadable
                return page
            causes = {**dict.fromkeys(missing, next(iter(page.causes.values()))), **page.causes}
            tenant_id, ids = page.reading.tenant_id, page.reading.ids
            try:
                reading = await self._read(tenant_id, (*ids, *sorted(missing)))
            except Unreadable as error:  # it concerns the added users, and must not stop others
                unreadable.append(error)
                fixed |= missing
                reading = await self._read(tenant_id, ids)
            page = await self._computed(reading, causes)

    async def _kept(self, page: "_Page", fixed: Set[str]) -> "tuple[_Page, set[str]]":
        """The page with its kept grants; or the users (SCIM ids) who must be added to it before
        these can be decided. For users in `fixed` nothing changes."""
        read = page.reading.truth
        protections = Protections(self._store, page.reading.tenant_id)
        keepers = Keepers(protections, read.protected_since, self._now(), fixed)
        kept = read.facts.kept
        for _ in range(ROUNDS):
            await keepers.decide(page.shares)
            if missing := keepers.concerned - {*page.reading.ids}:
                return page, missing
            kept = keepers.kept(page.reading.truth, page.causes)
            if kept == page.reading.truth.facts.kept:
                break
            page = await self._computed(page.reading.where(kept), page.causes)
        page.operations += writes_of(page.reading.tenant_id, read.facts, kept)
        page.operations += keepers.operations(page.shares)
        return page, set()

    async def _clear(self, reading: "_Reading", causes: Causes, done: Recomputed) -> None:
        """Clean up after the batch: remove edges and grants of users who are gone, and the record
        of a user who was deleted while the record was created (the deletion found no record whose
        ETag it could have moved)."""
        tenant_id = reading.tenant_id
        gone = [id for id in reading.ids if id not in reading.truth.users]
        if gone:
            await self._remove_grants(tenant_id, gone)
            where = OneOf(("memberId",), tuple(gone))
            await remove_edges(self._store, tenant_id, where, sys.maxsize, self._now)
        created = [id for id in reading.truth.users if access_id(id) not in reading.records]
        if again := await self._missing(tenant_id, created):
            await self._settle(tenant_id, again, causes, done)

    async def _missing(self, tenant_id: str, users: Sequence[str]) -> tuple[str, ...]:
        """Those who do not exist. A count shows that all do, as nearly always, and reads none of
        them."""
        if not users:
            return ()
        ids = tuple(map(user_id, users))
        if await self._store.count(tenant_id, "User", OneOf(("id",), ids)) == len(ids):
            return ()
        found = await self._store.read_many(tenant_id, ids)
        return tuple(id for id in users if user_id(id) not in found)

    async def _remove_grants(self, tenant_id: str, users: Sequence[str]) -> None:
        while given := await self._store.read_many(tenant_id, [*map(manual_grants_id, users)]):
            with suppress(NotFound):  # somebody else removed one of them: read again
                await self._store.batch(tenant_id, [Delete(id) for id in given])
                return


@dataclass(frozen=True, slots=True)
class _Reading:
    """A page of users as read: `records` first, then everything else."""

    tenant_id: str
    ids: tuple[str, ...]
    records: dict[str, Stored]
    truth: Truth

    def where(self, kept: Mapping[str, tuple[KeptGrant, ...]]) -> "_Reading":
        """The same with these kept grants."""
        facts = replace(self.truth.facts, kept=kept)
        return replace(self, truth=replace(self.truth, facts=facts))

    def pieces(self, steps: int) -> Iterator[tuple[str, ...]]:
        """Its users, divided into pages that take so many steps or little more."""
        size = min(len(self.ids) // 2, len(self.ids) * steps // self.steps)
        return batched(self.ids, max(1, size), strict=False)

    @property
    def steps(self) -> int:
        """About how many steps (`directory.lanes`) it takes to compute and write the page. Grants
        in the records count, too: they are read and compared."""
        stored = (member(record, "grants") for record in self.records.values())
        grants = sum(len(grants) for grants in stored if isinstance(grants, list))
        return self.truth.facts.steps_of(self.truth.users) + grants * STEPS_PER_GRANT


class _Page:
    """What a page of users writes: records, changes, and the outbox row of the changes that the
    application sees. `shares` are its shares for protected entitlements."""

    def __init__(self, reading: _Reading, causes: Causes, now: datetime, retention: int) -> None:
        self.reading = reading
        self.causes = causes
        self._now = now
        self._retention = retention
        self.operations: list[Operation] = []
        self.committed: list[Committed] = []
        self.unreadable: list[Unreadable] = []
        self._old = {id: known_access(reading.records.get(access_id(id))) for id in reading.ids}
        facts = reading.truth.facts
        self.states: dict[str, tuple[AccessState | None, AccessState | None]] = {}
        for id, old in self._old.items():
            user = reading.truth.users.get(id)
            after = state_of(effective_access(user, facts)) if user is not None else None
            self.states[id] = state_of(old) if old else None, after
        self.shares = shares_of(self.states, reading.truth)
        changes: list[AccessChange] = []
        for id in reading.ids:
            changes += self._write(id, reading.records.get(access_id(id)))
        published = tuple(change for change in changes if visible(change.before, change.after))
        self.operations += [Create(change.to_document()) for change in changes]
        if published:
            publication = Publication(
                tenant_id=reading.tenant_id,
                publication_id=new_ulid(self._now),
                at=now,
                changes=tuple(change.change_id for change in published),
            )
            self.operations.append(Create(publication.to_document()))
            self.committed.append(Committed(publication, published))

    @property
    def touches_protected(self) -> bool:
        """Whether the page concerns a protected entitlement, or has kept grants."""
        return bool(self.shares or self.reading.truth.facts.kept)

    def _write(self, id: str, record: Stored | None) -> Iterator[AccessChange]:
        """Add the write of a user's record; yields the change, where there is one. An unreadable
        record is written anew."""
        old = self._old[id]
        before, after = self.states[id]
        version = _version(record) + 1
        changed = before != after
        if after is None and record is not None:
            self.operations.append(Delete(access_id(id), record.etag))
        elif after is not None:
            access = Access(
                tenant_id=self.reading.tenant_id,
                user_id=id,
                **dict(after),
                version=version,
                changed_at=self._now if old is None or changed else old.changed_at,
                event_id=self.causes[id] if old is None or changed else old.event_id,
            ).to_document()
            self.operations.append(Replace(access, record.etag) if record else Create(access))
        if changed:
            yield AccessChange(
                tenant_id=self.reading.tenant_id,
                change_id=new_ulid(self._now),
                user_id=id,
                version=version,
                at=self._now,
                event_id=self.causes[id],
                before=before,
                after=after,
                ttl=self._retention,
            )


def _version(record: Stored | None) -> int:
    """The version of a record, even of an unreadable one; 0 where it is missing."""
    version = member(record, "version") if record else None
    return version if isinstance(version, int) else 0
