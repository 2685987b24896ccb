"""A machine that plays anything at all: changes of the directory, mappings, policies and grants by
hand, with messages lost, doubled, in any order and several at a time, workers that die, and a topic
that is down. Whenever it comes to rest, access is what the model says."""

import asyncio
import random
from collections.abc import Coroutine, Sequence
from contextlib import AsyncExitStack
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from directory import membership_change
from directory.access import Access
from directory.documents import Reason
from directory.tenants import Policy
from reconciler.access import current_access
from reconciler.recomputation import Committed
from reconciler.worker import Reconciler
from tests.reconciler.world import TENANT, Hooked, Message, World, small_pieces, tenant

USERS = [f"u{number}" for number in range(5)]
GROUPS = [f"g{number}" for number in range(4)]

users = st.sampled_from(USERS)
groups = st.sampled_from(GROUPS)
member_sets = st.lists(st.sampled_from(USERS + GROUPS), max_size=5, unique=True)
entitlements = st.lists(st.sampled_from(["role:Owner", "role:Reader"]), unique=True)
rules: st.SearchStrategy[list[Reason]] = st.lists(
    st.sampled_from(["inactive", "noGroup"]), unique=True
)
seeds = st.integers(0, 2**32)


class Dead(Exception):
    """The process is gone."""


class Machine(RuleBasedStateMachine):
    """One tenant; each rule is something that can happen to it."""

    place = "sqlite"

    def __init__(self) -> None:
        super().__init__()
        self._runner = asyncio.Runner()
        self._stack = AsyncExitStack()
        self._stack.enter_context(small_pieces())
        self.world: World = self.run(self._stack.enter_async_context(tenant(self.place)))
        self.gone: set[str] = set()
        self.handled: list[Message] = []
        self.topic_is_down = False

    def run[T](self, coroutine: Coroutine[Any, Any, T]) -> T:
        return self._runner.run(coroutine)

    def teardown(self) -> None:
        try:
            self.run(self.rest())
        finally:
            self.run(self._stack.aclose())
            self._runner.close()

    @initialize()
    def begin(self) -> None:
        for user in USERS[:4]:
            self.run(self.world.put_user(user))
        for group in GROUPS[:3]:
            self.run(self.world.put_group(group))
        self.run(self.world.change_members("g0", ["u0", "u1", "g1"]))
        self.run(self.world.change_members("g1", ["u2"]))
        self.run(self.rest())

    @rule(user=users, active=st.booleans(), by_hand=st.booleans())
    def put_user(self, user: str, active: bool, by_hand: bool) -> None:
        """Create or change a user; Entra ID adopts one that was made by hand, never the reverse."""
        by_hand = by_hand and (
            user not in self.world.model.users or user in self.world.model.manual
        )
        if user not in self.gone:
            self.run(self.world.put_user(user, active, "manual" if by_hand else "scim"))

    @rule(user=users, given=entitlements)
    def give(self, user: str, given: list[str]) -> None:
        if user in self.world.model.users:
            self.run(self.world.give(user, given))

    @rule(group=groups)
    def put_group(self, group: str) -> None:
        if group not in self.gone | self.world.model.groups:
            self.run(self.world.put_group(group))

    @rule(user=users)
    def delete_user(self, user: str) -> None:
        if user in self.world.model.users:
            self.gone.add(user)
            self.run(self.world.delete_user(user))

    @rule(group=groups)
    def delete_group(self, group: str) -> None:
        if group in self.world.model.groups:
            self.gone.add(group)
            self.run(self.world.delete_group(group))

    @rule(group=groups, come=member_sets, go=member_sets, large=st.booleans())
    def change_members(self, group: str, come: list[str], go: list[str], large: bool) -> None:
        model = self.world.model
        if group not in model.groups:
            return
        current = model.members[group]
        added = [id for id in come if id in {*model.users, *model.groups} - current]
        removed = [id for id in go if id in current]
        if added or removed:
            self.run(self._finish_first(group))
            change = self.world.intend_members if large else self.world.change_members
            self.run(change(group, added, removed))

    @rule(group=groups, given=entitlements)
    def put_mapping(self, group: str, given: list[str]) -> None:
        if group in self.world.model.groups:
            self.run(self.world.put_mapping(group, given))

    @rule(disable_when=rules)
    def put_policy(self, disable_when: list[Reason]) -> None:
        self.run(self.world.put_policy(Policy(disable_when=tuple(disable_when))))

    @rule(down=st.booleans())
    def topic(self, down: bool) -> None:
        """The topic goes down, or comes back."""
        self.topic_is_down = down

    @precondition(lambda self: self.world.queue)
    @rule(seed=seeds)
    def handle_some(self, seed: int) -> None:
        """Some of the waiting messages, in any order, some of them twice, several at a time."""
        self.run(self._handle_some(random.Random(seed)))

    @precondition(lambda self: self.world.queue)
    @rule(calls=st.integers(1, 40), committed=st.booleans())
    def die(self, calls: int, committed: bool) -> None:
        """A worker dies at some call to the store, before it took effect or after; its message
        comes again."""
        self.run(self._die(calls, committed))

    @rule()
    def quiesce(self) -> None:
        self.run(self.rest())

    @invariant()
    def nobody_who_is_disabled_reads_as_enabled(self) -> None:
        """From the moment the write was answered, whatever the queue is doing."""
        self.run(self._disabled_at_once())

    async def rest(self) -> None:
        """Handle all there is; what is true then stays true however often it is done again."""
        world, chance = self.world, random.Random(0)
        while world.queue:
            await self._handle_some(chance)
        await world.settled()
        records = {d["id"]: d for d in await world.documents("Access")}
        for event, _ in self.handled[-20:]:
            await world.reconciler().handle(TENANT, event)
        await world.reconciler().recompute(TENANT, USERS, "drift")
        for record in await world.documents("Access"):
            assert record | {"version": 0} == records[record["id"]] | {"version": 0}
        await world.settled()

    async def _publish(self, committed: Sequence[Committed]) -> None:
        """A topic that is down leaves the outbox rows."""
        if self.topic_is_down:
            return
        await self.world.publish(committed)

    async def _handle_some(self, chance: random.Random) -> None:
        async def elsewhere(_method: str, _asked: tuple[Any, ...]) -> None:
            for _ in range(chance.randint(0, 2)):
                await asyncio.sleep(0)

        world = self.world
        store = Hooked(world.store, elsewhere, elsewhere)
        reconciler = Reconciler(store, world.submit, self._publish, world.now)
        chance.shuffle(world.queue)
        some = [world.queue.pop() for _ in range(chance.randint(0, len(world.queue)))]
        again = [message for message in some if chance.random() < 0.3]
        await asyncio.gather(*(reconciler.handle(TENANT, *m) for m in some + again[:2]))
        world.queue += again[2:]
        self.handled += some

    async def _die(self, calls: int, committed: bool) -> None:
        left = calls

        async def die(_method: str, _asked: tuple[Any, ...]) -> None:
            nonlocal left
            left -= 1
            if not left:
                raise Dead

        world = self.world
        store = Hooked(world.store, after=die) if committed else Hooked(world.store, before=die)
        dying = Reconciler(store, world.submit, self._publish, world.now)
        message = world.queue.pop(0)
        try:
            await dying.handle(TENANT, *message)
        except Dead:
            world.queue.append(message)

    async def _finish_first(self, group: str) -> None:
        """What every writer to a group does with an intent that it finds."""
        stored = await self.world.store.read(TENANT, f"group:{group}")
        if unfinished := stored.document.get("intent"):
            await membership_change.finish(self.world.store, TENANT, unfinished)

    async def _disabled_at_once(self) -> None:
        world = self.world
        policy = Policy.model_validate(
            (await world.store.read(TENANT, "tenant")).document["policy"]
        )
        records = {d["userId"]: Access.from_document(d) for d in await world.documents("Access")}
        for user in await world.documents("User"):
            id = user["resource"]["id"]
            inactive = not world.model.users[id] and id not in world.model.manual
            if inactive and "inactive" in policy.disable_when:
                access = current_access(records.get(id), user, policy)
                assert access is not None
                assert not access.enabled
                assert not access.grants


Machine.TestCase.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)
TestAnything = Machine.TestCase


class MachineOnTheWire(Machine):
    """The same; it takes longer."""

    place = "wire"


MachineOnTheWire.TestCase.settings = settings(Machine.TestCase.settings, max_examples=4)
TestAnythingOnTheWire = MachineOnTheWire.TestCase
