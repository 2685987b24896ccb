"""A small tenant to play with: writes as the use cases make them, messages in a list, and a model
that says in the plainest way what everybody's access must be in the end."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from directory.access import (
    Access,
    AccessChange,
    AccessState,
    ManualGrant,
    ManualGrants,
    access_id,
    manual_grants_id,
)
from directory.checked import CheckedStore
from directory.condition import EVERYTHING, Condition
from directory.documents import (
    RETENTION,
    Actor,
    EntitlementKey,
    Event,
    Mapping,
    Membership,
    MembershipChange,
    event_id,
    group_id,
    mapping_id,
    membership_id,
    user_id,
)
from directory.portions import PORTIONS, Portions
from directory.reading import every
from directory.reasons import REASONS
from directory.store import (
    Assign,
    Changes,
    Create,
    Delete,
    Document,
    NotFound,
    Operation,
    Page,
    Query,
    Store,
    Stored,
    Update,
    Upsert,
)
from directory.tenants import TENANT_ID, Policy, Tenant
from reconciler.recomputation import AccessRecords, Committed, Recomputed
from reconciler.worker import Publish, Reconciler, Submit
from tests.reconciler.places import PLACES, Place

TENANT = "contoso"
PAUSE_SECONDS = 0.002
"""The longest after the first race for a record."""
type Held = tuple[bool, frozenset[str]]
"""Enabled, and `kind:key` of every grant."""


@dataclass
class Model:
    """Who is where; access by definition, without any of the product's code."""

    users: dict[str, bool] = field(default_factory=dict)
    """Id → active."""
    groups: set[str] = field(default_factory=set)
    members: dict[str, set[str]] = field(default_factory=dict)
    mapped: dict[str, set[str]] = field(default_factory=dict)
    manual: set[str] = field(default_factory=set)
    """Users made by hand, whom Entra ID has not adopted."""
    given: dict[str, set[str]] = field(default_factory=dict)
    """Grants by hand."""
    disable_when: frozenset[str] = frozenset(REASONS)
    kept: dict[str, str] = field(default_factory=dict)
    """What is kept, and for whom."""

    def access(self) -> dict[str, Held]:
        return {user: self._of(user) for user in self.users}

    def holders(self, entitlement: str) -> set[str]:
        """Those to whom something gives it."""
        return {user for user in self.users if entitlement in self._of(user, frozenset())[1]}

    def able(self, user: str) -> bool:
        """Whether nothing disables a user but having no group."""
        active = user in self.manual or "inactive" not in self.disable_when
        return user in self.users and (self.users[user] or active)

    def _of(self, user: str, kept: frozenset[str] | None = None) -> Held:
        if kept is None:
            kept = frozenset(one for one, keeper in self.kept.items() if keeper == user)
        given = self.given.get(user, set()) | kept
        if user in self.manual:
            return True, frozenset(given)
        direct = {group for group in self.groups if user in self.members[group]}
        applicable = {
            *(() if self.users[user] else ("inactive",)),
            *(() if direct or kept else ("noGroup",)),
        }
        if applicable & self.disable_when:
            return False, frozenset()
        above = direct
        while more := {g for g in self.groups if self.members[g] & above} - above:
            above |= more
        mapped = {key for group in above for key in self.mapped.get(group, ())}
        return True, frozenset(mapped | given)


@dataclass
class Clock:
    """A second passes whenever somebody looks."""

    moment: datetime = datetime(2026, 1, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        self.moment += timedelta(seconds=1)
        return self.moment


type Message = tuple[str, dict[str, Any] | None]
"""Event and cursor."""


class World:
    """A tenant in a store. Each change commits its event and puts its message into `queue`."""

    def __init__(self, place: Place, portions: Portions = PORTIONS) -> None:
        self.portions = portions
        self.store: Store = CheckedStore(place.store)
        self.place = place
        self.model = Model()
        self.queue: list[Message] = []
        self.now = Clock()
        self.sent: set[str] = set()
        self.told: list[AccessChange] = []
        self._events = 0

    @asynccontextmanager
    async def copy(self) -> AsyncIterator["World"]:
        """The same tenant elsewhere; this one rests until then."""
        async with self.place.copied() as place:
            copy = World(place, self.portions)
            copy.model = deepcopy(self.model)
            copy.queue = list(self.queue)
            copy.sent = set(self.sent)
            copy.told = list(self.told)
            copy._events = self._events
            yield copy

    @property
    def commits(self) -> int:
        """How many changes were committed so far."""
        return self._events

    def reconciler(
        self,
        store: Store | None = None,
        *,
        submit: Submit | None = None,
        publish: Publish | None = None,
    ) -> Reconciler:
        """A reconciler; in a process of its own where it has a store of its own."""
        return Reconciler(
            store or self.store,
            submit or self.submit,
            publish or self.publish,
            self.now,
            portions=self.portions,
            pause_seconds=PAUSE_SECONDS,
        )

    async def recompute(self, users: Iterable[str], cause: str, store: Store | None = None) -> None:
        """What a reconciler does with users whom an event concerns: their records are brought up to
        date, and the application is told. Raises Unreadable after that."""
        done = Recomputed()
        records = AccessRecords(
            store or self.store,
            self.now,
            RETENTION,
            portions=self.portions,
            pause_seconds=PAUSE_SECONDS,
        )
        await records.recompute(TENANT, dict.fromkeys(users, cause), done)
        await self.publish(done.committed)
        if done.unreadable:
            raise done.unreadable[0]

    async def submit(self, tenant_id: str, event: str, cursor: dict[str, Any] | None) -> None:
        """The queue, duplicate detection included."""
        assert tenant_id == TENANT
        name = f"{event}:{cursor}"
        if name not in self.sent:
            self.sent.add(name)
            self.queue.append((event, cursor))

    async def publish(self, committed: Sequence[Committed]) -> None:
        """The topic."""
        self.told += [change for one in committed for change in one.changes]

    async def drain(self, reconciler: Reconciler | None = None) -> None:
        """Handle messages in order until there are none."""
        reconciler = reconciler or self.reconciler()
        while self.queue:
            await reconciler.handle(TENANT, *self.queue.pop(0))

    async def put_user(self, id: str, active: bool = True, source: str = "scim") -> None:
        """Create or change a user."""
        self.model.users[id] = active
        (self.model.manual.add if source == "manual" else self.model.manual.discard)(id)
        document = {
            "id": user_id(id),
            "tenantId": TENANT,
            "type": "User",
            "source": source,
            "created": "2026-01-01T00:00:00.000Z",
            "modified": "2026-01-01T00:00:00.000Z",
            "resource": {
                "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"],
                "id": id,
                "userName": id,
                "name": {"givenName": "A", "familyName": "B"},
                "emails": [{"type": "work", "value": f"{id}@example.com"}],
                "active": active,
            },
            "search": {},
        }
        await self._commit([Upsert(document)], "patch", "User", id, "user")

    async def put_group(self, id: str) -> None:
        """Create a group without members."""
        self.model.groups.add(id)
        self.model.members[id] = set()
        await self._commit([Upsert(group_document(id))], "create", "Group", id, "members")

    async def delete_user(self, id: str) -> None:
        """Delete a user; the edges stay behind."""
        del self.model.users[id]
        self.model.manual.discard(id)
        self.model.given.pop(id, None)
        for members in self.model.members.values():
            members.discard(id)
        await self._commit([Delete(user_id(id))], "delete", "User", id, "user")

    async def delete_group(self, id: str) -> None:
        """Delete a group; the edges stay behind."""
        self.model.groups.discard(id)
        del self.model.members[id]
        for members in self.model.members.values():
            members.discard(id)
        await self._commit([Delete(group_id(id))], "delete", "Group", id, "group")

    async def change_members(
        self, group: str, added: Iterable[str] = (), removed: Iterable[str] = ()
    ) -> None:
        """Members that come and go in one batch."""
        change = self._change(group, added, removed)
        operations: list[Operation] = [Update(group_id(group), (Assign(("touched",), 1),))]
        present = await self.store.read_many(
            TENANT, [membership_id(group, member.split(":")[1]) for member in change.removed]
        )
        ulid = self._ulid()
        operations += [Upsert(self._edge(group, member, ulid)) for member in change.added]
        operations += [Delete(edge) for edge in present]
        applied = change.model_copy(update={"applied": len(change.added) + len(change.removed)})
        await self._commit(operations, "patch", "Group", group, "members", applied)

    async def intend_members(
        self, group: str, added: Iterable[str] = (), removed: Iterable[str] = ()
    ) -> None:
        """The same, too large for one batch: only the intent is committed."""
        change = self._change(group, added, removed)
        intent = Update(group_id(group), (Assign(("intent",), self._ulid()),))
        await self._commit([intent], "patch", "Group", group, "members", change)

    async def put_mapping(self, group: str, entitlements: Iterable[str]) -> None:
        """Save what the members of a group get: `kind:key`."""
        self.model.mapped[group] = set(entitlements)
        try:
            old = await self.store.read(TENANT, mapping_id(group))
            version = old.document["version"] + 1
        except NotFound:
            version = 1
        keys = [entitlement.split(":") for entitlement in sorted(self.model.mapped[group])]
        mapping = Mapping(
            tenant_id=TENANT,
            group_id=group,
            version=version,
            applied_version=version - 1,
            entitlements=tuple(EntitlementKey(kind=kind, key=key) for kind, key in keys),
            changed_at=self.now(),
            event_id=self._ulid(),
        )
        await self._commit([Upsert(mapping.to_document())], "mapping", "Group", group, "group")

    async def give(self, user: str, entitlements: Iterable[str]) -> None:
        """Give a user exactly these by hand: `kind:key`."""
        self.model.given[user] = set(entitlements)
        keys = [entitlement.split(":") for entitlement in sorted(self.model.given[user])]
        beside = await self.store.read_many(TENANT, [manual_grants_id(user)])
        grants = ManualGrants(
            tenant_id=TENANT,
            user_id=user,
            grants=tuple(
                ManualGrant(kind=kind, key=key, since=self.now(), event_id=self._ulid())
                for kind, key in keys
            ),
            kept=tuple(kept for each in beside.values() for kept in each.document["kept"]),
        )
        await self._commit([Upsert(grants.to_document())], "grant", "User", user, "user")

    async def put_policy(self, policy: Policy) -> None:
        """Save the policy."""
        self.model.disable_when = frozenset(policy.disable_when)
        change = Assign(("policy",), policy.model_dump(mode="json", by_alias=True))
        await self._commit([Update(TENANT_ID, (change,))], "policy", "Tenant", TENANT_ID, "tenant")

    async def access(self, user: str) -> Access:
        """The stored record."""
        return Access.from_document((await self.store.read(TENANT, access_id(user))).document)

    async def held(self) -> dict[str, Held]:
        """Every stored record, as the model tells it."""
        records = [Access.from_document(d) for d in await self.documents("Access")]
        return {
            r.user_id: (r.enabled, frozenset(f"{g.kind}:{g.key}" for g in r.grants))
            for r in records
        }

    async def documents(self, type: str) -> list[Document]:
        """All documents of a type."""
        return [item.document async for item in every(self.store, TENANT, Query(type))]

    async def event(self, ulid: str) -> Document:
        """A stored event."""
        return (await self.store.read(TENANT, event_id(ulid))).document

    async def settled(self) -> None:
        """Assert that access is what the model says, that nothing is left lying about, and that
        the application was told."""
        await self.settled_but_for_the_topic()
        await self._told()

    async def settled_but_for_the_topic(self) -> None:
        """The same, where the topic is another one than the world's own."""
        assert await self.held() == self.model.access()
        assert {e["state"] for e in await self.documents("Event")} <= {"done"}
        edges = {(e["groupId"], e["memberId"]) for e in await self.documents("Membership")}
        assert edges == {(g, m) for g, members in self.model.members.items() for m in members}
        assert not [g for g in await self.documents("Group") if "intent" in g]
        for mapping in await self.documents("Mapping"):
            assert mapping["groupId"] in self.model.groups
            assert mapping["appliedVersion"] == mapping["version"]
        assert {d["userId"] for d in await self.documents("ManualGrants")} <= set(self.model.users)

    async def _told(self) -> None:
        """Assert that each user's history leads to the record without a gap, and that whatever the
        application could see of it was told or waits in an outbox row."""
        waiting = {id for row in await self.documents("Publication") for id in row["changes"]}
        told = {change.change_id for change in self.told}
        histories: dict[str, list[AccessChange]] = {}
        for document in await self.documents("AccessChange"):
            change = AccessChange.from_document(document)
            histories.setdefault(change.user_id, []).append(change)
            visible = _seen(change.before) != _seen(change.after)
            assert (change.change_id in told | waiting) is visible
        records = {d["userId"]: Access.from_document(d) for d in await self.documents("Access")}
        assert records.keys() <= histories.keys()
        for user, history in histories.items():
            if sum(change.before is None for change in history) > 1:
                continue  # an id that was used again, which Muster never does
            history.sort(key=lambda change: change.version)
            states = [None, *(change.after for change in history)]
            assert states[:-1] == [change.before for change in history]
            record = records.get(user)
            assert states[-1] == (record and AccessState(**record.model_dump(include=STATE)))

    def _change(self, group: str, added: Iterable[str], removed: Iterable[str]) -> MembershipChange:
        added, removed = list(added), list(removed)
        self.model.members[group] |= set(added)
        self.model.members[group] -= set(removed)
        return MembershipChange(
            added=tuple(map(self._member, added)), removed=tuple(map(self._member, removed))
        )

    def _member(self, id: str) -> str:
        return user_id(id) if id.startswith("u") else group_id(id)

    def _edge(self, group: str, member: str, ulid: str) -> Document:
        return Membership(
            tenant_id=TENANT,
            group_id=group,
            member_id=member.split(":")[1],
            member_type="User" if member.startswith("user:") else "Group",
            since=self.now.moment,
            event_id=ulid,
        ).to_document()

    def _ulid(self) -> str:
        """Of the event that the next commit writes."""
        return f"e{self._events:04}"

    async def _commit(
        self,
        operations: Sequence[Operation],
        operation: Literal["create", "patch", "delete", "mapping", "policy", "grant"],
        resource_type: Literal["User", "Group", "Tenant"],
        resource_id: str,
        scope: Literal["user", "members", "group", "tenant"],
        membership: MembershipChange | None = None,
    ) -> None:
        ulid = self._ulid()
        self._events += 1
        event = Event(
            tenant_id=TENANT,
            event_id=ulid,
            at=self.now(),
            actor=Actor(type="connection", id="entra"),
            request_id="request",
            operation=operation,
            resource_type=resource_type,
            resource_id=resource_id,
            scope=scope,
            membership=membership,
        )
        await self.store.batch(TENANT, [*operations, Create(event.to_document())])
        self.queue.append((ulid, None))


SMALL = Portions(
    edges_per_batch=2,
    users_per_batch=2,
    pages_per_message=2,
    edges_per_message=3,
    groups_per_event=1,
)
"""Five users are a crowd."""


@asynccontextmanager
async def tenant(place: str = "sqlite", portions: Portions = PORTIONS) -> AsyncIterator[World]:
    """A world of its own, in one of PLACES."""
    async with PLACES[place]() as opened:
        document = Tenant(tenant_id=TENANT, name="Contoso").to_document()
        await opened.store.batch(TENANT, [Create(document)])
        yield World(opened, portions)


STATE = {"enabled", "reasons", "grants"}


def _seen(state: AccessState | None) -> object:
    """What the application sees of it."""
    return state and (state.enabled, state.reasons, {(g.kind, g.key) for g in state.grants})


def group_document(id: str) -> Document:
    return {
        "id": group_id(id),
        "tenantId": TENANT,
        "type": "Group",
        "source": "scim",
        "created": "2026-01-01T00:00:00.000Z",
        "modified": "2026-01-01T00:00:00.000Z",
        "resource": {
            "schemas": ["urn:ietf:params:scim:schemas:core:2.0:Group"],
            "id": id,
            "displayName": id,
        },
        "search": {"meta": {}},
    }


type Hook = Callable[[str, tuple[Any, ...]], Awaitable[None]]
"""Called with the method's name and what it was asked."""


async def nothing(method: str, asked: tuple[Any, ...]) -> None:
    """The hook that does nothing."""


class Hooked:
    """A store with something happening before and after each call."""

    def __init__(self, store: Store, before: Hook = nothing, after: Hook = nothing) -> None:
        self._store = store
        self._before = before
        self._after = after

    async def _call[T](self, method: Callable[..., Awaitable[T]], *asked: Any) -> T:
        name = getattr(method, "__name__", "")
        await self._before(name, asked)
        answer = await method(*asked)
        await self._after(name, asked)
        return answer

    async def read(self, tenant_id: str, document_id: str) -> Stored:
        return await self._call(self._store.read, tenant_id, document_id)

    async def read_many(self, tenant_id: str, ids: Sequence[str]) -> dict[str, Stored]:
        return await self._call(self._store.read_many, tenant_id, ids)

    async def batch(self, tenant_id: str, operations: Sequence[Operation]) -> list[str | None]:
        return await self._call(self._store.batch, tenant_id, operations)

    async def query(self, tenant_id: str, query: Query) -> Page:
        return await self._call(self._store.query, tenant_id, query)

    async def count(self, tenant_id: str, type: str, where: Condition = EVERYTHING) -> int:
        return await self._call(self._store.count, tenant_id, type, where)

    async def query_every_tenant(self, query: Query) -> Page:
        return await self._call(self._store.query_every_tenant, query)

    async def changes(self, tenant_id: str | None, after: str | None, limit: int) -> Changes:
        return await self._call(self._store.changes, tenant_id, after, limit)

    async def close(self) -> None:
        await self._store.close()
