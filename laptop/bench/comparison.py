"""Muster and scim2-server side by side: one operation at a time, the same client, in turns.

A round measures every operation on both. A figure is the median over the rounds, and a ratio is the
median of the rounds' ratios, so that other load on the machine affects both sides alike. After each
stretch on Muster, the reconciler finishes the work that the requests caused before the next stretch
begins; `whole_cpu` includes its processor time.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

from laptop.bench import muster, peer
from laptop.bench.client import Client, Load, Sample, drive
from laptop.bench.contender import Contender
from laptop.bench.operations import Case
from laptop.bench.process import cpu_seconds, memory_bytes

CONCURRENCY = 8


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is measured: `seconds` for each operation on each server in each round."""

    rounds: int
    seconds: float
    users: int
    groups: tuple[int, ...]
    """Numbers of members."""


DEFAULT = Plan(rounds=3, seconds=1.0, users=10_000, groups=(10, 10_000, 100_000))
QUICK = Plan(rounds=1, seconds=0.3, users=1_000, groups=(10, 1_000))


@dataclass(frozen=True, slots=True)
class Stretch:
    """One operation in one round; `whole_cpu` is seconds until everything was reconciled."""

    sample: Sample
    whole_cpu: float | None

    @property
    def cpu_per_request(self) -> float | None:
        """Seconds of the server's processor time while it answered."""
        return _share(self.sample.cpu_seconds, self.sample)

    @property
    def whole_cpu_per_request(self) -> float | None:
        """The same with the reconciler's work that followed."""
        return _share(self.whole_cpu, self.sample)


def _share(seconds: float | None, sample: Sample) -> float | None:
    return None if seconds is None else seconds / len(sample.latencies)


type Figure = Callable[[Stretch], float | None]


@dataclass(frozen=True, slots=True)
class Measurements:
    """The stretches by server and operation, one per round; notes for readers about each server;
    each server's memory (bytes) at the end."""

    plan: Plan
    stretches: dict[str, dict[str, list[Stretch]]]
    notes: tuple[str, ...]
    memory: dict[str, int | None]

    @property
    def operations(self) -> tuple[str, ...]:
        """The operations, in the order in which they are shown."""
        return tuple(self.stretches[muster.NAME])

    def median(self, server: str, operation: str, figure: Figure) -> float | None:
        """The median over the rounds; None where the system does not show the figure."""
        return _median([figure(stretch) for stretch in self.stretches[server][operation]])

    def ratio(self, of: tuple[str, str], to: tuple[str, str], figure: Figure) -> float | None:
        """The median over the rounds of `of` as a multiple of `to`, each a server and operation."""
        ours, theirs = (self.stretches[server][operation] for server, operation in (of, to))
        figures = [(figure(one), figure(other)) for one, other in zip(ours, theirs, strict=True)]
        return _median([a / b if a is not None and b else None for a, b in figures])


def per_second(stretch: Stretch) -> float:
    """Requests answered per second."""
    return stretch.sample.per_second


def _median(figures: Sequence[float | None]) -> float | None:
    known = [figure for figure in figures if figure is not None]
    return median(known) if known else None


async def measure(plan: Plan, progress: Callable[[str], None]) -> Measurements:
    """Measure everything. Raises StartFailed, UnexpectedAnswer in an ExceptionGroup,
    TimeoutError."""
    progress(f"loading {plan.users:,} users and groups of {max(plan.groups):,} into Muster")
    async with muster.serving(plan.users, plan.groups) as ours:
        progress(f"loading the same into {peer.NAME}")
        async with peer.serving(plan.users, plan.groups) as theirs:
            contenders = (ours, theirs)
            stretches = await _rounds(contenders, plan, progress)
            return Measurements(
                plan,
                stretches,
                tuple(each.note for each in contenders),
                {each.name: memory_bytes(each.pid) for each in contenders},
            )


async def _rounds(
    contenders: Sequence[Contender], plan: Plan, progress: Callable[[str], None]
) -> dict[str, dict[str, list[Stretch]]]:
    loads = {
        (each.name, operation): _loads(case)
        for each in contenders
        for operation, case in each.cases.items()
    }
    stretches: dict[str, dict[str, list[Stretch]]] = {
        each.name: {operation: [] for operation in each.cases} for each in contenders
    }
    operations = list(contenders[0].cases)
    progress("warming up")
    for operation in operations:
        for each in contenders:
            await _stretch(each, operation, loads[each.name, operation], plan.seconds / 4)
    for number in range(plan.rounds):
        progress(f"round {number + 1} of {plan.rounds}")
        # The order alternates, so that no operation always follows the same other one.
        for operation in operations if number % 2 else reversed(operations):
            for each in contenders if number % 2 else reversed(contenders):
                stretch = await _stretch(each, operation, loads[each.name, operation], plan.seconds)
                stretches[each.name][operation].append(stretch)
    return stretches


def _loads(case: Case) -> list[Load]:
    workers = case.workers or CONCURRENCY
    return [Load(case.calls(worker, workers)) for worker in range(workers)]


async def _stretch(
    contender: Contender, operation: str, loads: Sequence[Load], seconds: float
) -> Stretch:
    directory = contender.cases[operation].directory
    clients = [Client(directory.url, directory.token) for _ in loads]
    before = cpu_seconds(contender.pid)
    sample = await drive(clients, loads, seconds, contender.pid)
    await contender.settle()
    after = cpu_seconds(contender.pid)
    return Stretch(sample, None if before is None or after is None else after - before)
