"""JSON in requests: how much of it there may be, and JSON text inside it."""

from typing import Any

import orjson

BODY_VALUES = 400_000
"""The most values, arrays and objects that a body may hold, as `values_in` counts them."""
BODY_DEPTH = 32
"""How deep objects and arrays in a body may be in each other; those in a JSON text, too."""


def values_in(body: bytes) -> int:
    """At least how many values, arrays and objects a JSON body holds, in a thousandth of the time
    that reading it takes; what looks like one inside a text counts, too."""
    return body.count(b",") + body.count(b"[") + body.count(b"{")


def too_deep(body: Any) -> bool:
    """Whether a body is nested deeper than BODY_DEPTH; looks at it layer by layer."""
    layer = [body] if isinstance(body, dict | list) else []
    for _ in range(BODY_DEPTH):
        layer = [
            inner
            for outer in layer
            for inner in (outer.values() if type(outer) is dict else outer)
            if type(inner) is dict or type(inner) is list
        ]
        if not layer:
            return False
    return True


def in_json_text(value: Any) -> Any:
    """What stands in a text that is a JSON object or array, where one is expected; any other value
    as it is, a text that holds more or deeper JSON than a body may among them."""
    if not isinstance(value, str) or not value[:_BEGINNING].lstrip().startswith(("{", "[")):
        return value
    if value.count(",") + value.count("[") + value.count("{") > BODY_VALUES:
        return value
    try:
        found = orjson.loads(value)
    except orjson.JSONDecodeError:
        return value
    return value if too_deep(found) else found


_BEGINNING = 1000
"""White space before an object or array is no longer than this."""
