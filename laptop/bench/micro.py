"""The cost of the pure core, without server and store; every figure is a ratio to a yardstick that
is measured in the same rounds."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from statistics import median

import orjson
from scim2_models import Context, EnterpriseUser, PatchOp, User

from laptop.bench import payloads
from laptop.bench.employee import Employee
from scim.protocol import entra, patch
from scim.protocol.binding import bind
from scim.protocol.filter import parse_filter
from scim.protocol.schema import load_resource_types
from scim.protocol.validation import normalise

SLICE_SECONDS = 0.01
"""How long one contender runs before the next has its turn."""

type Job = Callable[[], object]


@dataclass(frozen=True, slots=True)
class Cost:
    """The cost of one call: seconds, and a multiple of the yardstick (medians over rounds)."""

    operation: str
    implementation: str
    seconds: float
    ratio: float


def measure(rounds: int) -> list[Cost]:
    """Measure every contender in turn, `rounds` times; the first one is the yardstick."""
    contenders = _contenders()
    calls = [_calls_per_slice(job) for _, _, job in contenders]
    taken: list[list[float]] = [[] for _ in contenders]
    for _ in range(rounds):
        for (_, _, job), number, seconds in zip(contenders, calls, taken, strict=True):
            seconds.append(_seconds_per_call(job, number))
    yardstick = taken[0]
    return [
        Cost(operation, implementation, median(seconds), _median_ratio(seconds, yardstick))
        for (operation, implementation, _), seconds in zip(contenders, taken, strict=True)
    ]


def _contenders() -> list[tuple[str, str, Job]]:
    body = orjson.dumps(payloads.user(7))
    change = orjson.dumps(payloads.update(7))
    parse, update, select = (
        "user: JSON to validated",
        "PATCH of five operations",
        "filter userName eq, never seen before",
    )
    return [
        (parse, "pydantic, declared by hand", lambda: Employee.model_validate_json(body)),
        (parse, "Muster", lambda: _muster_user(body)),
        (parse, "scim2-models", lambda: _peer_user(body)),
        (update, "Muster", _muster_patch(body, change)),
        (update, "scim2-models", _peer_patch(body, change)),
        (select, "Muster", _muster_filter()),
    ]


_USER = load_resource_types()["User"]
_PEER_USER = User[EnterpriseUser]


def _muster_user(body: bytes) -> dict[str, object]:
    return normalise(_USER, entra.resource(_USER, orjson.loads(body))).resource


def _peer_user(body: bytes) -> User[EnterpriseUser]:
    context = Context.RESOURCE_CREATION_REQUEST
    return _PEER_USER.model_validate_json(body, scim_ctx=context)


def _muster_patch(body: bytes, change: bytes) -> Job:
    resource = _muster_user(body)
    return lambda: patch.apply(_USER, resource, entra.operations(orjson.loads(change)))


def _peer_patch(body: bytes, change: bytes) -> Job:
    """scim2-models changes the user in place, so every call has to start from a copy."""
    user = _peer_user(body)

    def job() -> object:
        context = Context.RESOURCE_PATCH_REQUEST
        operations = PatchOp[_PEER_USER].model_validate_json(change, scim_ctx=context)
        copy = user.model_copy(deep=True)
        operations.patch(copy)
        return copy

    return job


def _muster_filter() -> Job:
    numbers = count()
    return lambda: bind(_USER, parse_filter(f'userName eq "{payloads.user_name(next(numbers))}"'))


def _calls_per_slice(job: Job) -> int:
    """How many calls fill a slice; this warms up the job, too."""
    number = 1
    while (seconds := _seconds_per_call(job, number)) * number < SLICE_SECONDS:
        number *= 2
    return max(1, round(SLICE_SECONDS / seconds))


def _seconds_per_call(job: Job, number: int) -> float:
    started = time.perf_counter()
    for _ in range(number):
        job()
    return (time.perf_counter() - started) / number


def _median_ratio(some: list[float], others: list[float]) -> float:
    """The median of the rounds' ratios, so that other load on the machine cancels out."""
    return median(one / other for one, other in zip(some, others, strict=True))
