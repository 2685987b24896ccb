"""The SCIM requests that are measured, for any server: those that Entra ID sends all day."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count, cycle
from urllib.parse import quote

import orjson

from laptop.bench import payloads
from laptop.bench.client import Call

PAGE = 100
BULK = 100
FIRST_NEW = 1_000_000
"""The number of the first employee who is in no directory before a run."""


@dataclass(frozen=True, slots=True)
class Directory:
    """A directory to measure with: Tenant URL, bearer token, and its users' SCIM ids; user `n` is
    employee `n` of `bench.payloads`. `patched` is the status that a PATCH of a user gets."""

    url: str
    token: str
    users: tuple[str, ...]
    patched: int = 200


@dataclass(frozen=True, slots=True)
class Case:
    """An operation: `calls(worker, workers)` is one worker's endless share of the requests."""

    name: str
    directory: Directory
    calls: Callable[[int, int], Iterator[Call]]
    workers: int | None = None
    """A limit on concurrent requests, for operations that take seconds."""


def user_cases(fixed: Directory, growing: Directory) -> list[Case]:
    """The operations on users; only POST and Bulk add users, and they add them to `growing`."""
    return [
        Case("POST user", growing, _create),
        Case("GET user by id", fixed, lambda *share: _get(fixed, *share)),
        Case("match by userName", fixed, lambda *share: _match(fixed, "userName", *share)),
        Case("match by externalId", fixed, lambda *share: _match(fixed, "externalId", *share)),
        Case("PATCH active", fixed, lambda *share: _deactivate(fixed, *share)),
        Case(f"list {PAGE} users", fixed, lambda *share: _list(fixed, *share)),
        Case("filter by extension attribute", fixed, lambda *share: _filter(fixed, *share)),
        Case(f"Bulk of {BULK} users", growing, _bulk),
    ]


def member_case(members: int, directory: Directory, group: str, workers: int | None = None) -> Case:
    """Add one member to a group of `members` and remove it again. The users are taken from the end
    of the directory, who are in no group."""
    return Case(
        f"PATCH member, group of {members:,}",
        directory,
        lambda worker, _: _member(group, directory.users[-1 - worker]),
        workers,
    )


def _create(worker: int, workers: int) -> Iterator[Call]:
    for number in count(FIRST_NEW + worker, workers):
        yield Call("POST", "/Users", orjson.dumps(payloads.user(number)), 201)


def _get(directory: Directory, worker: int, workers: int) -> Iterator[Call]:
    for id in cycle(directory.users[worker::workers]):
        yield Call("GET", f"/Users/{id}")


def _match(directory: Directory, attribute: str, worker: int, workers: int) -> Iterator[Call]:
    value = {"userName": payloads.user_name, "externalId": payloads.object_id}[attribute]
    for number in cycle(range(worker, len(directory.users), workers)):
        condition = quote(f'{attribute} eq "{value(number)}"')
        yield Call("GET", f"/Users?filter={condition}")


def _filter(directory: Directory, worker: int, workers: int) -> Iterator[Call]:
    for number in cycle(range(worker, len(directory.users), workers)):
        condition = quote(f'{payloads.ENTERPRISE}:employeeNumber eq "{number}"')
        yield Call("GET", f"/Users?filter={condition}")


def _deactivate(directory: Directory, worker: int, workers: int) -> Iterator[Call]:
    bodies = [
        orjson.dumps(payloads.patch({"op": "Replace", "path": "active", "value": value}))
        for value in ("False", "True")
    ]
    for id in cycle(directory.users[worker::workers]):
        for body in bodies:
            yield Call("PATCH", f"/Users/{id}", body, directory.patched)


def _list(directory: Directory, worker: int, workers: int) -> Iterator[Call]:
    for start in cycle(range(1 + worker * PAGE, len(directory.users), workers * PAGE)):
        yield Call("GET", f"/Users?startIndex={start}&count={PAGE}")


def _bulk(worker: int, workers: int) -> Iterator[Call]:
    numbers = count(2 * FIRST_NEW + worker, workers)
    while True:
        users = [payloads.user(next(numbers)) for _ in range(BULK)]
        yield Call("POST", "/Bulk", orjson.dumps(payloads.bulk(users)))


def _member(group: str, user: str) -> Iterator[Call]:
    operations = (
        {"op": "add", "path": "members", "value": [{"value": user}]},
        {"op": "remove", "path": f'members[value eq "{user}"]'},
    )
    bodies = [orjson.dumps(payloads.patch(operation)) for operation in operations]
    for body in cycle(bodies):
        yield Call("PATCH", f"/Groups/{group}", body, 204)
