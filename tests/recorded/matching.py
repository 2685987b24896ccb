"""Compares an answer with what a recording expects of it.

An object matches when every member named in the expectation matches; members that are not named
may be there. A list matches when it has the same length and its elements can be paired with the
expected ones, in any order. Everything else must be equal, and of the same JSON type.

An object with one of these keys alone is a matcher instead:

    {"$exists": true}     the member is there and not null
    {"$absent": true}     the member is not there at all
    {"$empty": true}      not there, null, "", [] or {}: what RFC 7643 section 2.5 calls unassigned
    {"$matches": "…"}     a string in which the regular expression is found
    {"$contains": [ … ]}  a list that has these elements among others
    {"$count": 3}         a list of that length
    {"$not": …}           anything but this
"""

import re
from collections.abc import Callable, Sequence
from typing import Any


class _Missing:
    def __repr__(self) -> str:
        return "nothing"


MISSING = _Missing()
"""Stands for a member that is not there."""


def differences(expected: Any, actual: Any, at: str = "$") -> list[str]:
    """What keeps `actual` from matching, one line each; none where it matches."""
    if isinstance(expected, dict):
        if len(expected) == 1 and (name := next(iter(expected))) in _MATCHERS:
            return _MATCHERS[name](expected[name], actual, at)
        return _object(expected, actual, at)
    if isinstance(expected, list):
        return _list(expected, actual, at)
    if _same(expected, actual):
        return []
    return [f"{at}: expected {expected!r}, got {actual!r}"]


def _same(expected: Any, actual: Any) -> bool:
    """Equality of JSON scalars: true is not 1."""
    return isinstance(expected, bool) is isinstance(actual, bool) and bool(expected == actual)


def _object(expected: dict[str, Any], actual: Any, at: str) -> list[str]:
    if not isinstance(actual, dict):
        return [f"{at}: expected an object, got {actual!r}"]
    return [
        line
        for name, value in expected.items()
        for line in differences(value, actual.get(name, MISSING), f"{at}.{name}")
    ]


def _list(expected: Sequence[Any], actual: Any, at: str) -> list[str]:
    if not isinstance(actual, list):
        return [f"{at}: expected a list, got {actual!r}"]
    if len(expected) != len(actual):
        return [f"{at}: expected {len(expected)} elements, got {len(actual)}: {actual!r}"]
    return _contains(expected, actual, at)


def _contains(expected: Sequence[Any], actual: Any, at: str) -> list[str]:
    """Every expected element is paired with an element of its own (bipartite matching)."""
    if not isinstance(actual, list):
        return [f"{at}: expected a list, got {actual!r}"]
    fits = [[not differences(e, a) for a in actual] for e in expected]
    taken: dict[int, int] = {}

    def place(element: int, seen: set[int]) -> bool:
        for index, fit in enumerate(fits[element]):
            if fit and index not in seen:
                seen.add(index)
                if index not in taken or place(taken[index], seen):
                    taken[index] = element
                    return True
        return False

    return [
        f"{at}: no element for {value!r} in {actual!r}"
        for element, value in enumerate(expected)
        if not place(element, set())
    ]


def _exists(_: Any, actual: Any, at: str) -> list[str]:
    return [f"{at}: expected a value, got {actual!r}"] if actual in (MISSING, None) else []


def _absent(_: Any, actual: Any, at: str) -> list[str]:
    return [] if actual is MISSING else [f"{at}: expected nothing, got {actual!r}"]


def _empty(_: Any, actual: Any, at: str) -> list[str]:
    if actual is MISSING or actual is None or actual in ("", [], {}):
        return []
    return [f"{at}: expected no value, got {actual!r}"]


def _matches(pattern: str, actual: Any, at: str) -> list[str]:
    if isinstance(actual, str) and re.search(pattern, actual):
        return []
    return [f"{at}: {actual!r} does not match {pattern!r}"]


def _count(length: int, actual: Any, at: str) -> list[str]:
    if isinstance(actual, list) and len(actual) == length:
        return []
    return [f"{at}: expected {length} elements, got {actual!r}"]


def _not(unexpected: Any, actual: Any, at: str) -> list[str]:
    return [] if differences(unexpected, actual) else [f"{at}: must not be {actual!r}"]


_MATCHERS: dict[str, Callable[[Any, Any, str], list[str]]] = {
    "$exists": _exists,
    "$absent": _absent,
    "$empty": _empty,
    "$matches": _matches,
    "$contains": _contains,
    "$count": _count,
    "$not": _not,
}
