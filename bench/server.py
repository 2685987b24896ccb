"""What the whole of Muster costs: one server on loopback, one operation at a time.

A round measures every case once; a case's figure is the median over the rounds, and a ratio is
the median of each round's own ratio, so that what else the machine does weighs on both sides
alike. After each stretch the reconciler finishes what the requests caused before the next begins;
its processor time counts as part of the operation in `whole_cpu`.
"""

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from bench.client import Client, Sample, drive
from bench.muster import Muster, add_group, running
from bench.operations import Case, member_case, user_cases
from bench.process import cpu_seconds, memory_bytes

CONCURRENCY = 8
USERS = 2_000
SMALL_GROUP = 10
WARM_UP_SECONDS = 0.3


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is measured: `seconds` for each case in each round."""

    rounds: int
    seconds: float
    large_group: int
    """Members."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """One case in one round; `whole_cpu` is seconds until everything was reconciled."""

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
    """The stretches of every case by its name, one per round; which of the cases change a small
    and a large group; the server's memory (bytes) at the end."""

    stretches: dict[str, list[Stretch]]
    small_group: str
    large_group: str
    memory: int | None

    def median(self, case: str, figure: Figure) -> float | None:
        """Over the rounds; None where the system does not tell."""
        return _median([figure(stretch) for stretch in self.stretches[case]])

    def ratio(self, case: str, to: str, figure: Figure) -> float | None:
        """How many times `to` it is, round by round."""
        pairs = zip(self.stretches[case], self.stretches[to], strict=True)
        figures = [(figure(one), figure(other)) for one, other in pairs]
        return _median([a / b if a is not None and b else None for a, b in figures])


def _median(figures: Sequence[float | None]) -> float | None:
    known = [figure for figure in figures if figure is not None]
    return median(known) if known else None


async def measure(plan: Plan, progress: Callable[[str], None]) -> Measurements:
    """Measure everything. Raises StartFailed, UnexpectedAnswer in an ExceptionGroup,
    TimeoutError."""
    tenants = {"people": USERS, "groups": plan.large_group + CONCURRENCY}
    with tempfile.TemporaryDirectory(prefix="muster-bench-") as folder:
        progress(f"creating {sum(tenants.values()):,} users in the store")
        async with running(Path(folder), tenants) as muster:
            progress(f"loading a group of {plan.large_group:,} through the API")
            small, large = [await _group(muster, size) for size in (SMALL_GROUP, plan.large_group)]
            users = user_cases(muster.tenants["people"], muster.tenants["groups"])
            stretches = await _rounds(muster, [*users, small, large], plan, progress)
            return Measurements(stretches, small.name, large.name, memory_bytes(muster.pid))


async def _group(muster: Muster, members: int) -> Case:
    tenant = muster.tenants["groups"]
    group = await add_group(tenant, members)
    await muster.settle()
    return member_case(f"PATCH member, group of {members:,}", tenant, group)


async def _rounds(
    muster: Muster, cases: Sequence[Case], plan: Plan, progress: Callable[[str], None]
) -> dict[str, list[Stretch]]:
    loads = {
        case.name: [case.calls(worker, CONCURRENCY) for worker in range(CONCURRENCY)]
        for case in cases
    }
    stretches: dict[str, list[Stretch]] = {case.name: [] for case in cases}

    async def stretch(case: Case, seconds: float) -> Stretch:
        directory = case.directory
        clients = [Client(directory.url, directory.token) for _ in range(CONCURRENCY)]
        before = cpu_seconds(muster.pid)
        sample = await drive(clients, loads[case.name], seconds, muster.pid)
        await muster.settle()
        after = cpu_seconds(muster.pid)
        return Stretch(sample, None if before is None or after is None else after - before)

    progress("warming up")
    for case in cases:
        await stretch(case, WARM_UP_SECONDS)
    for number in range(plan.rounds):
        progress(f"round {number + 1} of {plan.rounds}")
        # Neighbours change places, so that neither always follows the other.
        for case in cases if number % 2 else reversed(cases):
            stretches[case.name].append(await stretch(case, plan.seconds))
    return stretches
