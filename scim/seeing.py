"""The steps of setting up Entra ID that a request shows: test connection, matching, writes."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Literal

from scim.exchange import Answer
from scim.refusing import Asked, member

type Step = Literal[
    "usersSought",
    "userByExternalId",
    "userByUserName",
    "userByEmail",
    "userCreated",
    "activeTrue",
    "activeFalse",
    "groupsSought",
    "groupByExternalId",
    "groupByDisplayName",
    "groupCreated",
    "memberAdded",
    "groupInGroup",
]

_MATCHED = re.compile(r"\s*\(?\s*([\w.:-]+)(?:\[[^\]]*\]\.value)?\s+eq\s", re.ASCII | re.IGNORECASE)
_BY: Mapping[tuple[str, str], Step] = {
    ("Users", "externalid"): "userByExternalId",
    ("Users", "username"): "userByUserName",
    ("Users", "emails"): "userByEmail",
    ("Groups", "externalid"): "groupByExternalId",
    ("Groups", "displayname"): "groupByDisplayName",
}
_TRUE = ("true", "True")


def steps_of(asked: Asked, answer: Answer) -> Iterator[Step]:
    """The steps that a request shows; none for a refused one."""
    if answer.status >= 400:
        return
    match asked.operation:
        case "GET /Users":
            yield "usersSought"
            yield from _matching("Users", asked.filter)
        case "GET /Groups":
            yield "groupsSought"
            yield from _matching("Groups", asked.filter)
        case "POST /Users":
            yield "userCreated"
            yield from _active(asked.body)
        case "POST /Groups":
            yield "groupCreated"
            yield from _members(member(asked.body, "members"))
        case "PATCH /Users/{id}":
            for _, value in _changes(asked.body, "active"):
                yield _state(value)
        case "PATCH /Groups/{id}":
            for verb, value in _changes(asked.body, "members"):
                if verb != "remove":
                    yield from _members(value)


def _matching(endpoint: str, filter: str) -> Iterator[Step]:
    found = _MATCHED.match(filter)
    if found and (step := _BY.get((endpoint, found[1].split(".")[0].casefold()))):
        yield step


def _active(user: Any) -> Iterator[Step]:
    value = member(user, "active")
    if value is not None:
        yield _state(value)


def _state(value: Any) -> Step:
    return "activeTrue" if value is True or value in _TRUE else "activeFalse"


def _changes(body: Any, name: str) -> Iterator[tuple[str, Any]]:
    """Verb and value of each operation on an attribute, named by the path or in an object."""
    operations = member(body, "operations")
    for one in operations if isinstance(operations, list) else ():
        verb, path, value = (member(one, key) for key in ("op", "path", "value"))
        if isinstance(path, str) and path:
            if path.casefold() == name:
                yield str(verb).casefold(), value
        elif (inner := member(value, name)) is not None:
            yield str(verb).casefold(), inner


def _members(value: Any) -> Iterator[Step]:
    listed = value if isinstance(value, list) else [value]
    types = {str(member(one, "type")) for one in listed if isinstance(one, Mapping)}
    if types:
        yield "memberAdded"
    if "Group" in types:
        yield "groupInGroup"
