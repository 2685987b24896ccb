"""The drift audit: whether every access record is what directory, mappings and policy say.

Everything is computed anew, page by page, with the function that the reconciler uses. A record
that differs because its event still waits is no drift. A repair writes a `repair` event per user
and reconciles it, so that the reconciler remains the only writer of records.
"""

import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import batched
from typing import Literal

from directory.access import Access, AccessState, access_id
from directory.condition import Compare
from directory.documents import Actor, Event, resource_id_of, user_id
from directory.ledger import Ledger
from directory.nesting import groups_named
from directory.reading import each_readable, every, pages, read_all
from directory.store import BATCH_OPERATIONS, Query, Store, Unreadable
from reconciler.access import effective_access, lacking, state_of
from reconciler.expansion import changed, changed_groups, of_type
from reconciler.facts import known_access, read_truth
from reconciler.worker import Reconciler

STEP = 100
"""Users who are computed together."""

SUSPECTS = 1_000
"""Users who differ at first sight and are checked again together: the pending events are read once
for all of them."""

PART_DOCUMENTS = 1_000
PART_STEP = 20
PART_SECONDS = 1.0
"""How much a part of an audit looks at, how much at once, and for how long."""

type Kind = Literal["missing", "orphaned", "different", "unreadable"]


@dataclass(frozen=True, slots=True)
class Difference:
    """A record that differs from the computed access."""

    user_id: str
    stored: AccessState | None
    """None: there is no record."""
    computed: AccessState | None
    """None: there is no user."""
    pending: bool = False
    """A pending event will change the record, so this is no drift."""
    unreadable: str | None = None
    """The type of the unreadable document: the record (`Access`), or one that access depends on."""

    @property
    def repairable(self) -> bool:
        """Whether the record can be written anew; even an unreadable record can."""
        return not self.pending and self.unreadable in (None, Access.__name__)

    @property
    def kind(self) -> Kind:
        """A user without a record, a record without a user, a record with other content, or an
        unreadable document."""
        if self.unreadable is not None:
            return "unreadable"
        if self.stored is None:
            return "missing"
        return "orphaned" if self.computed is None else "different"

    @property
    def text(self) -> str:
        """For people: the difference between the stored and the computed access."""
        if self.unreadable is not None:
            return f"a stored {self.unreadable} cannot be read"
        if self.stored is None or self.computed is None:
            return "no record" if self.stored is None else "the record of no user"
        parts = []
        if (self.stored.enabled, self.stored.reasons) != (
            self.computed.enabled,
            self.computed.reasons,
        ):
            parts.append(f"is {_standing(self.stored)}, must be {_standing(self.computed)}")
        for word, here, there in (
            ("lacks", self.stored, self.computed),
            ("must not have", self.computed, self.stored),
        ):
            if keys := lacking(here, there):
                parts.append(f"{word} {', '.join(f'{one.kind} {one.key}' for one in keys)}")
        return "; ".join(parts) or "the same grants from other sources"


def _standing(state: AccessState) -> str:
    return "enabled" if state.enabled else f"disabled ({', '.join(state.reasons)})"


@dataclass(frozen=True, slots=True)
class AuditPage:
    """The result of one page."""

    examined: int
    """Users on the page; 0 where it looked for records without a user."""
    differences: tuple[Difference, ...]


async def audit(store: Store, tenant_id: str, *, step: int = STEP) -> AsyncIterator[AuditPage]:
    """Every difference in a tenant, in bounded memory, `step` users at once: first of all users,
    then of records without a user. Raises StoreError."""
    suspects: _Suspects = {}
    async for examined, users in _looked_at(store, tenant_id, step):
        suspects |= await _suspects(store, tenant_id, users)
        confirmed: tuple[Difference, ...] = ()
        if len(suspects) >= SUSPECTS:
            confirmed, suspects = await _confirmed(store, tenant_id, suspects), {}
        yield AuditPage(examined, confirmed)
    yield AuditPage(0, await _confirmed(store, tenant_id, suspects))


@dataclass(frozen=True, slots=True)
class AuditPart:
    """What a part of an audit showed, and where the next one begins."""

    examined: int
    differences: tuple[Difference, ...]
    next: str | None


async def audit_part(
    store: Store,
    tenant_id: str,
    place: str = "",
    clock: Callable[[], float] = time.monotonic,
    *,
    documents: int = PART_DOCUMENTS,
    step: int = PART_STEP,
) -> AuditPart:
    """An audit in parts, each for one request: of so many `documents`, `step` at once, and of fewer
    where they take longer than PART_SECONDS. `place` is the `next` of the part before; `clock` is a
    steady one. Raises BadContinuation, StoreError."""
    kind, _, after = place.partition(":")
    type: Literal["User", "Access"] = "Access" if kind == "Access" else "User"
    examined, end = 0, clock() + PART_SECONDS
    suspects: _Suspects = {}
    continuation: str | None = after or None
    while True:
        query = Query(type, fields=(), limit=step, continuation=continuation)
        page = await store.query(tenant_id, query)
        examined += len(page.items)
        users = [resource_id_of(stored.document["id"]) for stored in page.items]
        if type == "Access":
            users = await _of_nobody(store, tenant_id, users)
        suspects |= await _suspects(store, tenant_id, users)
        continuation = page.continuation
        if continuation is None or examined >= documents or clock() > end:
            break
    differences = await _confirmed(store, tenant_id, suspects)
    following = f"{type}:{continuation}" if continuation else "Access:"
    if type == "Access" and continuation is None:
        return AuditPart(0, differences, None)
    return AuditPart(examined if type == "User" else 0, differences, following)


async def _of_nobody(store: Store, tenant_id: str, users: Sequence[str]) -> list[str]:
    """Those who do not exist."""
    found = await read_all(store, tenant_id, [user_id(user) for user in users])
    return [user for user in users if user_id(user) not in found]


async def _looked_at(
    store: Store, tenant_id: str, step: int
) -> AsyncIterator[tuple[int, list[str]]]:
    """Pages of all users with their number; then pages of ids that have a record and no user, with
    0."""
    async for page in pages(store, tenant_id, Query("User", fields=(), limit=step)):
        users = [resource_id_of(stored.document["id"]) for stored in page]
        yield len(users), users
    async for page in pages(store, tenant_id, Query("Access", fields=(), limit=step)):
        users = [resource_id_of(stored.document["id"]) for stored in page]
        yield 0, await _of_nobody(store, tenant_id, users)


async def compare(store: Store, tenant_id: str, users: Sequence[str]) -> tuple[Difference, ...]:
    """The differences of these users (SCIM ids).

    Others write meanwhile. So a difference counts only if it shows twice on the same version of the
    record, with the pending events read in between: if an event that is done by then had explained
    it, the reconciler would have changed the version.
    """
    return await _confirmed(store, tenant_id, await _suspects(store, tenant_id, users))


type _Suspects = dict[str, str | None]
"""Users who differ at first sight → the ETag of the record."""


async def _suspects(store: Store, tenant_id: str, users: Sequence[str]) -> _Suspects:
    found = await _differences(store, tenant_id, users) if users else []
    return {one.user_id: etag for one, etag in found}


async def _confirmed(store: Store, tenant_id: str, first: _Suspects) -> tuple[Difference, ...]:
    if not first:
        return ()
    waiting = await _waiting(store, tenant_id)
    second = await _differences(store, tenant_id, list(first))
    above = await _groups_above(store, tenant_id, [one.user_id for one, _ in second])
    found = []
    for one, etag in second:
        if waiting.reaches(one.user_id, above[one.user_id]):
            found.append(replace(one, pending=True))
        elif etag == first[one.user_id]:
            found.append(one)
    return tuple(found)


async def repair(
    ledger: Ledger, reconciler: Reconciler, tenant_id: str, users: Sequence[str], actor: Actor
) -> None:
    """Have the records of these users written anew, each by its own event. The events are
    reconciled here; if the process dies, the rest waits for the timer. Raises StoreError."""
    for some in batched(users, BATCH_OPERATIONS, strict=False):
        events = [
            ledger.accepted(tenant_id, actor, "repair", "User", user, scope="user") for user in some
        ]
        await ledger.commit([], *events, submit=False)
        for event in events:
            await reconciler.handle(tenant_id, event.event_id)


async def _differences(
    store: Store, tenant_id: str, ids: Sequence[str]
) -> list[tuple[Difference, str | None]]:
    """The differences at one look, with the ETags of the records. An unreadable document affects
    only the users whose access depends on it."""
    looks, unreadable = await each_readable(ids, partial(_look, store, tenant_id))
    found: dict[str, tuple[Difference, str | None]] = {
        one.user_id: (one, etag) for look in looks for one, etag in look
    }
    found |= {
        id: (Difference(id, None, None, unreadable=error.type), None)
        for id, error in unreadable.items()
    }
    return [found[id] for id in ids if id in found]


async def _look(
    store: Store, tenant_id: str, ids: Sequence[str]
) -> list[tuple[Difference, str | None]]:
    """Reads the records first, so that the truth is at least as new. Raises Unreadable."""
    records = await read_all(store, tenant_id, [access_id(id) for id in ids])
    truth = await read_truth(store, tenant_id, ids)
    differences: list[tuple[Difference, str | None]] = []
    for id in ids:
        record = records.get(access_id(id))
        access = known_access(record)
        stored = state_of(access) if access else None
        user = truth.users.get(id)
        computed = state_of(effective_access(user, truth.facts)) if user else None
        unreadable = Access.__name__ if record and not access else None
        if stored != computed or unreadable:
            etag = record.etag if record else None
            differences.append((Difference(id, stored, computed, unreadable=unreadable), etag))
    return differences


@dataclass(slots=True)
class _Waiting:
    """The users whom a tenant's pending events reach."""

    everybody: bool = False
    users: set[str] = field(default_factory=set)
    groups: set[str] = field(default_factory=set)

    def add(self, event: Event) -> None:
        match event.scope:
            case "tenant":
                self.everybody = True
            case "user":
                self.users.add(event.resource_id)
            case "group":
                self.groups.add(event.resource_id)
            case "members":
                self.users |= set(of_type("User", changed(event).members()))
                self.groups |= set(changed_groups(event))

    def reaches(self, user: str, above: set[str]) -> bool:
        return self.everybody or user in self.users or not above.isdisjoint(self.groups)


async def _waiting(store: Store, tenant_id: str) -> _Waiting:
    waiting = _Waiting()
    query = Query("Event", Compare(("state",), "eq", "pending"))
    async for stored in every(store, tenant_id, query):
        with suppress(Unreadable):  # an unreadable event is never reconciled: no use to wait
            waiting.add(Event.from_document(stored.document))
    return waiting


async def _groups_above(store: Store, tenant_id: str, users: Sequence[str]) -> dict[str, set[str]]:
    """User → every group above, including deleted ones whose edges still exist: the event of a
    deletion reaches the user along those edges."""
    direct: dict[str, set[str]] = {}
    level = list(users)
    while level:
        direct |= await groups_named(store, tenant_id, level)
        level = sorted(set().union(*direct.values()) - direct.keys())
    return {user: _closure(user, direct) for user in users}


def _closure(user: str, direct: Mapping[str, set[str]]) -> set[str]:
    above: set[str] = set()
    level = direct[user]
    while level:
        above |= level
        level = set().union(*(direct[group] for group in level)) - above
    return above
