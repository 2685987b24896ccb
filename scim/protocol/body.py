"""JSON in requests: how much of it there may be, which message it is, and JSON text inside it."""

from typing import Any

import orjson

from scim.protocol.errors import InvalidSyntax, InvalidValue, PayloadTooLarge

BODY_VALUES = 400_000
"""The most values, arrays and objects that a body may hold, as `values_in` counts them."""
BULK_VALUES = 80_000
"""The same for a bulk request, whose resources are all validated and written."""
BODY_DEPTH = 32
"""How deep objects and arrays may be nested in a body, and in a JSON text inside it."""


def values_in(body: bytes) -> int:
    """An upper estimate of how many values, arrays and objects a JSON body holds, in a thousandth
    of the time that parsing takes; punctuation inside texts counts, too."""
    return body.count(b",") + body.count(b"[") + body.count(b"{")


def too_deep(body: Any) -> bool:
    """Whether a body is nested deeper than BODY_DEPTH; goes layer by layer, without recursion."""
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


def check_message(schemas: object, urn: str) -> None:
    """Raises InvalidSyntax where the `schemas` of a body (None: it has none) do not contain the URN
    of the message that is expected, in any case."""
    if schemas is None or (
        isinstance(schemas, list)
        and any(isinstance(one, str) and one.lower() == urn.lower() for one in schemas)
    ):
        return
    name = urn.rpartition(":")[2]
    raise InvalidSyntax(f"`schemas` of a {name} must be an array that contains {urn}.")


def in_json_text(value: Any) -> Any:
    """The object or array in a text that holds one as JSON, for clients that send JSON as text; any
    other value unchanged. Raises PayloadTooLarge and InvalidValue where it holds more or deeper
    JSON than a body may: the limits apply inside texts, too."""
    if not isinstance(value, str) or not value[:_BEGINNING].lstrip().startswith(("{", "[")):
        return value
    if values_in(value.encode("utf-8", "surrogatepass")) > BODY_VALUES:
        raise PayloadTooLarge(
            f"A text in the request holds JSON of more than {BODY_VALUES:,} values. Send less at "
            "once."
        )
    try:
        found = orjson.loads(value)
    except orjson.JSONDecodeError:
        return value
    if too_deep(found):
        raise InvalidValue(
            f"A text in the request holds JSON whose objects and arrays are more than {BODY_DEPTH}"
            " deep in each other. Look for a value that was wrapped again and again."
        )
    return found


_BEGINNING = 1000
"""Characters of a text that are searched for the beginning of an object or array."""
