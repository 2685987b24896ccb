"""Plays a scenario against a server and fails where an answer is not as recorded.

Needs nothing but an HTTP client whose base URL is the SCIM base path and which carries the token,
so a scenario runs in-process, through the Functions runtime, or against a deployment.
"""

import asyncio
from collections.abc import Mapping
from typing import Any

import httpx
import orjson

from tests.recorded.matching import differences
from tests.recorded.protocol import MEDIA_TYPE, violations
from tests.recorded.scenario import GIVEN, Given, Scenario, Step, fill, pick

PATCH_OP = "urn:ietf:params:scim:api:messages:2.0:PatchOp"
PAGE = 100

type Directory = dict[str, dict[str, Any]]
"""Every user and group as the server shows it, by `Users/<id>` and `Groups/<id>`."""


async def play(client: httpx.AsyncClient, scenario: Scenario) -> None:
    """Play every step. Beyond what the scenario expects, a refused request must have changed
    nothing, and an accepted one nothing but the resource it names."""
    values = {"base": str(client.base_url).rstrip("/")}
    await _create(client, scenario.given, values)
    before = await _directory(client)
    moved: set[str] = set()
    for number, step in enumerate(scenario.steps, 1):
        answers = await _send(client, step, values)
        found = [line for answer in answers for line in _judge(step, answer, values)]
        if step.method != "GET":
            after = await _directory(client)
            found += side_effects(before, after, answers, moved)
            before = after
        if found:
            raise AssertionError(_report(scenario, number, step, answers[-1], found))
        _keep(step, answers, values)


async def _create(client: httpx.AsyncClient, given: Given, values: dict[str, str]) -> None:
    for name in given.users:
        answer = await client.post("/Users", json=fill(GIVEN.users[name], values))
        assert answer.status_code == 201, answer.text
        values[name] = answer.json()["id"]
    for name, members in given.groups.items():
        answer = await client.post("/Groups", json=fill(GIVEN.groups[name], values))
        assert answer.status_code == 201, answer.text
        values[name] = answer.json()["id"]
        if members:
            add = {"op": "Add", "path": "members", "value": [{"value": values[m]} for m in members]}
            answer = await client.patch(
                f"/Groups/{values[name]}", json={"schemas": [PATCH_OP], "Operations": [add]}
            )
            assert answer.status_code == 204, answer.text


async def _send(
    client: httpx.AsyncClient, step: Step, values: Mapping[str, str]
) -> list[httpx.Response]:
    """The answers to a step, one per repetition."""
    requests = [_request(client, step, known) for known in _rounds(step, values)]
    if step.together:
        return await asyncio.gather(*(client.send(request) for request in requests))
    return [await client.send(request) for request in requests]


def _keep(step: Step, answers: list[httpx.Response], values: dict[str, str]) -> None:
    for known, answer in zip(_rounds(step, values), answers, strict=True):
        for name, path in step.save.items():
            values[fill(name, known)] = pick(path, answer.json())


def _rounds(step: Step, values: Mapping[str, str]) -> list[dict[str, str]]:
    return [{**values, "n": str(n)} for n in range(1, step.repeat + 1)]


def _request(client: httpx.AsyncClient, step: Step, values: Mapping[str, str]) -> httpx.Request:
    content: bytes | None = None
    if step.body_hex is not None:
        content = bytes.fromhex(step.body_hex)
    elif step.body is not None:
        body = fill(step.body, values)
        content = body.encode() if isinstance(body, str) else orjson.dumps(body)
    # Joined by hand: httpx would take the first of two slashes away.
    url = httpx.URL(str(client.base_url).rstrip("/") + fill(step.path, values))
    if step.query:
        url = url.copy_merge_params(fill(step.query, values))
    request = client.build_request(step.method, url, content=content)
    if content is not None:
        request.headers["Content-Type"] = MEDIA_TYPE
    for name, value in step.headers.items():
        if value is None:
            request.headers.pop(name, None)
        else:
            request.headers[name] = fill(value, values)
    return request


def _judge(step: Step, answer: httpx.Response, values: Mapping[str, str]) -> list[str]:
    expect = step.expect
    found = violations(answer)
    if answer.status_code not in expect.status:
        allowed = " or ".join(map(str, expect.status))
        found.insert(0, f"expected {allowed}, got {answer.status_code}")
    if found:
        return found
    for name, value in expect.headers.items():
        found += differences(fill(value, values), answer.headers.get(name), f"header {name}")
    if answer.status_code == 204:
        return found
    if expect.scim_type:
        found += differences({"scimType": expect.scim_type}, answer.json())
    if expect.detail:
        found += differences({"detail": {"$matches": fill(expect.detail, values)}}, answer.json())
    if expect.body is not None:
        found += differences(fill(expect.body, values), answer.json())
    return found


async def _directory(client: httpx.AsyncClient) -> Directory:
    """Everything that can be read: the users' pages, and each group with its members."""
    users = await _every(client, "/Users", {})
    groups = await _every(client, "/Groups", {"excludedAttributes": "members"})
    found = {f"Users/{user['id']}": user for user in users}
    for group in groups:
        answer = await client.get(f"/Groups/{group['id']}")
        assert answer.status_code == 200, answer.text
        found[f"Groups/{group['id']}"] = answer.json()
    for resource in found.values():
        resource.pop("groups", None)  # shows what the groups say
        resource["members"] = sorted(member["value"] for member in resource.get("members", []))
    return found


async def _every(
    client: httpx.AsyncClient, path: str, query: dict[str, str]
) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    while True:
        page = {"startIndex": str(len(found) + 1), "count": str(PAGE)}
        answer = await client.get(path, params=query | page)
        assert answer.status_code == 200, answer.text
        body = answer.json()
        found += body["Resources"]
        if len(found) >= body["totalResults"] or not body["Resources"]:
            return found


def side_effects(
    before: Directory, after: Directory, answers: list[httpx.Response], moved: set[str]
) -> list[str]:
    """What changed that no accepted request names. `moved` collects the groups that lost a deleted
    user: the reconciler gives them another version, whenever it gets there."""
    named = {name for answer in answers if answer.is_success for name in _named(answer)}
    gone = {name.removeprefix("Users/") for name in before.keys() - after.keys()}
    found = []
    for name in sorted(before.keys() | after.keys()):
        if name in named:
            continue
        expected = before.get(name)
        if expected and name.startswith("Groups/") and gone.intersection(expected["members"]):
            # A deleted user leaves its groups: theirs are the only answers that change with it.
            moved.add(name)
            expected = expected | {"members": sorted(set(expected["members"]) - gone)}
        if expected and name in moved and name in after:
            expected = expected | {"meta": after[name]["meta"]}
        if expected != after.get(name):
            found.append(f"{name} changed as well: {expected!r} became {after.get(name)!r}")
    return found


def _named(answer: httpx.Response) -> set[str]:
    """The resource that a request is about, as Directory has it."""
    parts = answer.request.url.path.rstrip("/").split("/")
    if answer.request.method == "POST" and answer.status_code == 201:
        return {f"{parts[-1]}/{answer.json()['id']}"}
    return {"/".join(parts[-2:])}


def _report(
    scenario: Scenario, number: int, step: Step, answer: httpx.Response, found: list[str]
) -> str:
    sent = answer.request.content.decode("utf-8", "replace")
    return "\n".join(
        [
            f"{scenario.title} ({scenario.source}), step {number} {step.about}".rstrip(),
            *(f"  {line}" for line in found),
            f"> {answer.request.method} {answer.request.url}",
            f"> {sent[:1000]}",
            f"< {answer.status_code} {answer.text[:2000]}",
        ]
    )
