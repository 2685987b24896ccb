"""A machine that plays anything at all: changes of the directory, mappings, policies and grants by
hand, with messages doubled, in any order and several at a time, workers that die or stand still,
and a topic that is down. Whenever it comes to rest, access is what the model says."""

import asyncio
import random
from collections.abc import Callable, Coroutine, Iterable, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
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
from directory.reasons import Reason
from directory.resources import StoredUser
from directory.tenants import Policy
from queues.relay import EventMessage
from reconciler.access import current_access
from reconciler.recomputation import Committed
from reconciler.worker import Reconciler
from tests.reconciler.world import SMALL, TENANT, Hooked, Message, Model, World, tenant

USERS = [f"u{number}" for number in range(7)]
GROUPS = [f"g{number}" for number in range(6)]
"""No id is used twice: what is deleted stays away."""


def existing(kinds: Callable[[Model], Iterable[str]]) -> st.SearchStrategy[str]:
    """One of what there is when the rule is played, so that no step goes by without effect."""
    machines = st.runner()
    return machines.flatmap(lambda machine: st.sampled_from(sorted(kinds(machine.world.model))))


existing_users = existing(lambda model: model.users)
existing_groups = existing(lambda model: model.groups)
some_members = st.lists(
    existing(lambda model: {*model.users, *model.groups}), min_size=1, max_size=6, unique=True
)
entitlements = st.sampled_from([["role:Owner"], ["role:Reader"], ["role:Owner", "role:Reader"], []])
policies: st.SearchStrategy[tuple[Reason, ...]] = st.sampled_from(
    [("inactive", "noGroup"), ("noGroup",), ("inactive",), ()]
)
seldom = st.sampled_from([False, False, False, True])
seeds = st.integers(0, 2**32)


def few_messages_wait(machine: "Machine") -> bool:
    """Among many, what one event leaves undone is done by another; and workers get their turn.
    Counted by commits: how many messages wait after several workers is a matter of their timing,
    and what is played next must not depend on that."""
    return machine.world.commits - machine.worked < 4


def there_are_users(machine: "Machine") -> bool:
    return bool(machine.world.model.users)


def there_are_groups(machine: "Machine") -> bool:
    return bool(machine.world.model.groups)


def messages_may_wait(machine: "Machine") -> bool:
    return machine.world.commits > machine.rested


class Dead(Exception):
    """The process is gone."""


class Machine(RuleBasedStateMachine):
    """One tenant; each rule is something that can happen to it."""

    place = "sqlite"

    def __init__(self) -> None:
        super().__init__()
        self._runner = asyncio.Runner()
        self._stack = AsyncExitStack()
        world = tenant(self.place, SMALL)
        self.world: World = self.run(self._stack.enter_async_context(world))
        self.gone: set[str] = set()
        self.handled: list[Message] = []
        self.standing: asyncio.Task[None] | None = None
        self.go_on = asyncio.Event()
        self.worked = 0
        """How many changes there were when workers had their last turn."""
        self.rested = 0
        """How many there were when everything was done."""

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
        """Everybody but u0 is in one group; u1 and u2 have something by g0."""
        world = self.world
        for user in USERS[:4]:
            self.run(world.put_user(user))
        for group in GROUPS[:3]:
            self.run(world.put_group(group))
        self.run(world.change_members("g0", ["u1", "g1"]))
        self.run(world.change_members("g1", ["u2"]))
        self.run(world.change_members("g2", ["u3"]))
        self.run(world.put_mapping("g0", ["role:Owner"]))
        self.run(world.drain())
        self.worked = self.rested = world.commits

    @precondition(few_messages_wait)
    @precondition(lambda self: not self.gone.issuperset(USERS))
    @rule(data=st.data(), inactive=seldom, by_hand=seldom)
    def put_user(self, data: st.DataObject, inactive: bool, by_hand: bool) -> None:
        """Create or change a user; Entra ID adopts one that was made by hand, never the reverse."""
        model = self.world.model
        user = data.draw(st.sampled_from([id for id in USERS if id not in self.gone]))
        by_hand = by_hand and (user not in model.users or user in model.manual)
        self.run(self.world.put_user(user, not inactive, "manual" if by_hand else "scim"))

    @precondition(few_messages_wait)
    @precondition(there_are_users)
    @rule(user=existing_users, given=entitlements)
    def give(self, user: str, given: list[str]) -> None:
        self.run(self.world.give(user, given))

    @precondition(few_messages_wait)
    @precondition(
        lambda self: (
            not self.existed().issuperset(GROUPS)
            and (there_are_users(self) or there_are_groups(self))
        )
    )
    @rule(members=some_members)
    def put_group(self, members: list[str]) -> None:
        new = next(id for id in GROUPS if id not in self.existed())
        self.run(self.world.put_group(new))
        self._change_members(new, members)

    @precondition(few_messages_wait)
    @precondition(there_are_users)
    @rule(user=existing_users)
    def delete_user(self, user: str) -> None:
        self.gone.add(user)
        self.run(self.world.delete_user(user))

    @precondition(few_messages_wait)
    @precondition(there_are_groups)
    @rule(group=existing_groups)
    def delete_group(self, group: str) -> None:
        self.gone.add(group)
        self.run(self.world.delete_group(group))

    @precondition(few_messages_wait)
    @precondition(there_are_groups)
    @rule(group=existing_groups, members=some_members)
    def change_members(self, group: str, members: list[str]) -> None:
        self._change_members(group, members)

    @precondition(few_messages_wait)
    @precondition(there_are_groups)
    @rule(group=existing_groups, given=entitlements)
    def put_mapping(self, group: str, given: list[str]) -> None:
        self.run(self.world.put_mapping(group, given))

    @precondition(few_messages_wait)
    @rule(disable_when=policies)
    def put_policy(self, disable_when: tuple[Reason, ...]) -> None:
        self.run(self.world.put_policy(Policy(disable_when=disable_when)))

    @precondition(messages_may_wait)
    @rule(seed=seeds)
    def work(self, seed: int) -> None:
        """Workers handle some of the messages; or one of them dies, or stands still. The seed
        decides: as rules of their own, Hypothesis would play the rare ones too seldom."""
        self.worked = self.world.commits
        if not self.world.queue:
            return
        chance = random.Random(seed)
        play = chance.choice([self._handle_some, self._handle_some, self._die, self._stand_still])
        self.run(play(chance))

    @precondition(messages_may_wait)
    @rule()
    def quiesce(self) -> None:
        self.run(self.rest())
        self.worked = self.rested = self.world.commits

    @invariant()
    def nobody_who_is_disabled_reads_as_enabled(self) -> None:
        """From the moment the write was answered, whatever the queue is doing."""
        self.run(self._disabled_at_once())

    def existed(self) -> set[str]:
        return self.gone | self.world.model.groups

    def _change_members(self, group: str, members: list[str]) -> None:
        """Who is a member goes, who is none comes."""
        current = self.world.model.members[group]
        added = [id for id in members if id not in current]
        removed = [id for id in members if id in current]
        self.run(self._finish_first(group))
        large = len(members) > SMALL.edges_per_batch
        change = self.world.intend_members if large else self.world.change_members
        self.run(change(group, added, removed))

    async def rest(self) -> None:
        """Handle all there is; what is true then stays true however often it is done again."""
        world, chance = self.world, random.Random(len(self.handled))
        while world.queue or self.standing:
            while world.queue:
                await self._handle_some(chance)
            if self.standing:
                self.go_on.set()
                await self.standing
                self.standing = None
        await world.settled()
        records = {d["id"]: d for d in await world.documents("Access")}
        for event, _ in self.handled[-5:]:
            await world.reconciler().handle(TENANT, event)
        await world.recompute(USERS, "drift")
        for record in await world.documents("Access"):
            assert record | {"version": 0} == records[record["id"]] | {"version": 0}
        await world.settled()

    async def _handle_some(self, chance: random.Random) -> None:
        """Some of the waiting messages, in any order, some of them twice, several at a time."""

        async def elsewhere(_method: str, _asked: tuple[Any, ...]) -> None:
            for _ in range(chance.randint(0, 2)):
                await asyncio.sleep(0)

        async def publish(committed: Sequence[Committed]) -> None:
            """A topic that is down leaves the outbox rows."""
            if chance.random() < 0.7:
                await self.world.publish(committed)

        world = self.world
        store = Hooked(world.store, elsewhere, elsewhere)
        reconciler = world.reconciler(store, publish=publish)
        chance.shuffle(world.queue)
        some = [world.queue.pop() for _ in range(chance.randint(1, len(world.queue)))]
        again = [message for message in some if chance.random() < 0.3]
        messages = _together(some, chance) + _together(again[:2], chance)
        await asyncio.gather(*(self._handle(reconciler, message) for message in messages))
        world.queue += again[2:]
        self.handled += some

    async def _die(self, chance: random.Random) -> None:
        """A worker dies at one of its writes, before it took effect or after; its message comes
        again. To die at a read leaves behind what the write before it did."""
        left = chance.randint(1, 5)

        async def die(method: str, _asked: tuple[Any, ...]) -> None:
            nonlocal left
            left -= method == "batch"
            if not left:
                raise Dead

        world = self.world
        store = Hooked(world.store, **{chance.choice(["before", "after"]): die})
        message = self._next(chance)
        try:
            await self._handle(world.reconciler(store), message)
        except Dead:
            if message.others:
                await world.reconciler().handle_all(message, delivery=2, last=False)
            else:
                world.queue.append((message.event_id, message.cursor))

    async def _stand_still(self, chance: random.Random) -> None:
        """A worker stands still before one of its writes, until all others have done their work."""
        if self.standing:
            return
        left = chance.randint(1, 3)
        reached = asyncio.Event()

        async def stop(method: str, _asked: tuple[Any, ...]) -> None:
            nonlocal left
            left -= method == "batch"
            if not left and not reached.is_set():
                reached.set()
                await self.go_on.wait()

        self.go_on.clear()
        reconciler = self.world.reconciler(Hooked(self.world.store, before=stop))
        worker = asyncio.create_task(self._handle(reconciler, self._next(chance)))
        stopped = asyncio.create_task(reached.wait())
        await asyncio.wait([worker, stopped], return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        if worker.done():
            await worker
        else:
            self.standing = worker

    def _next(self, chance: random.Random) -> EventMessage:
        """The message that waits first; others of its kind may come with it."""
        message = _together(self.world.queue, chance)[0]
        del self.world.queue[: len(message.event_ids)]
        return message

    async def _handle(self, reconciler: Reconciler, message: EventMessage) -> None:
        """The first delivery. Alone, its events have messages of other ids, which were not sent."""
        if message.others:
            self.world.sent -= {f"{event}:None" for event in message.event_ids}
        await reconciler.handle_all(message, delivery=1, last=False)

    async def _finish_first(self, group: str) -> None:
        """What every writer to a group does with an intent that it finds."""
        stored = await self.world.store.read(TENANT, f"group:{group}")
        if unfinished := stored.document.get("intent"):
            await membership_change.finish(
                self.world.store,
                TENANT,
                unfinished,
                self.world.now,
                edges_per_batch=SMALL.edges_per_batch,
            )

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
                access = current_access(records.get(id), StoredUser(user, ""), policy)
                assert access is not None
                assert not access.enabled
                assert not access.grants


def _together(some: Sequence[Message], chance: random.Random) -> list[EventMessage]:
    """The messages; some of those that have no cursor come together, as the relay sends them."""
    messages: list[EventMessage] = []
    for event, cursor in some:
        last = messages[-1] if messages else None
        if last and cursor is None and last.cursor is None and chance.random() < 0.5:
            messages[-1] = replace(last, others=(*last.others, event))
        else:
            messages.append(EventMessage(TENANT, event, cursor))
    return messages


Machine.TestCase.settings = settings(max_examples=40, stateful_step_count=20)
TestAnything = Machine.TestCase


class MachineOnTheWire(Machine):
    """The same; it takes longer."""

    place = "wire"


MachineOnTheWire.TestCase.settings = settings(Machine.TestCase.settings, max_examples=3)
TestAnythingOnTheWire = MachineOnTheWire.TestCase
