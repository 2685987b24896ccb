"""JSON as SQLite's JSON functions can read it.

SQLite before 3.45 takes U+0000 in a JSON string for its end, so that `admin` would match
`admin\\u0000x`. The control characters U+0000 to U+0005, which text in practice never holds, are
therefore stored as two characters each: U+0001 or U+0002, then one of U+0003 to U+0005. No first
character is also a second one, and the pairs sort as the characters that they stand for; so a text
that equals, contains, begins with, ends with or precedes another still does when both are stored.
"""

import re
from collections.abc import Callable
from typing import Any

import orjson

_ESCAPED = "\\u000"
"""How orjson begins every control character that could need a pair."""
_PAIRS = dict(
    zip(
        "\x00\x01\x02\x03\x04\x05",
        ("\x01\x03", "\x01\x04", "\x01\x05", "\x02\x03", "\x02\x04", "\x02\x05"),
        strict=True,
    )
)
_CHARACTERS = {pair: character for character, pair in _PAIRS.items()}
_NOWHERE = "\x01\x01"
"""Stands for half of a surrogate pair, which no document can hold: it is never stored."""
_TO_STORE = re.compile("[\x00-\x05\ud800-\udfff]")
_STORED = re.compile("[\x01\x02][\x03-\x05]")


def stored_text(text: str) -> str:
    """The text as documents and keys hold it."""
    if text.isprintable():  # as nearly all are; it takes a third of the search
        return text
    return _TO_STORE.sub(lambda found: _PAIRS.get(found[0], _NOWHERE), text)


def original_text(text: str) -> str:
    """The text that `stored_text` was given."""
    if text.isprintable():
        return text
    return _STORED.sub(lambda found: _CHARACTERS[found[0]], text)


def stored_body(body: bytes) -> bytes:
    """The UTF-8 JSON as it is stored."""
    if b"\\" not in body or _ESCAPED.encode() not in body:
        return body
    return orjson.dumps(_rewritten(orjson.loads(body), stored_text))


def load(body: str) -> Any:
    """The document in a stored body, with its original text."""
    value = orjson.loads(body)
    # Few documents hold any backslash, and to look for it takes a twentieth of the time.
    escaped = "\\" in body and _ESCAPED in body
    return _rewritten(value, original_text) if escaped else value


def _rewritten(value: Any, rewrite: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return rewrite(value)
    if isinstance(value, list):
        return [_rewritten(element, rewrite) for element in value]
    if isinstance(value, dict):
        return {rewrite(key): _rewritten(member, rewrite) for key, member in value.items()}
    return value
