"""Versions of resources and of answers (RFC 7644 section 3.14)."""

import hashlib
from collections.abc import Callable, Sequence
from typing import Any

import orjson


def weak(etag: str, beyond: Sequence[Any] = ()) -> str:
    """The store's ETag as the weak entity tag that clients see: `W/"…"`.

    `beyond` is JSON that the answer also shows and that may change without the resource, such as
    the names of a group's members. Where there is any, its digest is appended after a full stop, so
    that the tag changes with it: `W/"17-0.5d41402abc4b2a76"`.
    """
    if not beyond:
        return f'W/"{_opaque(etag)}"'
    digest = hashlib.blake2b(orjson.dumps(beyond), digest_size=8).hexdigest()
    return f'W/"{_opaque(etag)}{_DIGEST}{digest}"'


def names_answer(header: str, tag: str) -> bool:
    """Whether an If-None-Match header names this tag of an answer.

    `*` names every tag. Tags are compared weakly, whether strong or weak and also in lists, since
    all of ours are weak (RFC 9110 section 8.8.3.2); tags without quotes are understood.
    """
    return _names(header, _opaque(tag), _opaque)


def names_version(header: str, etag: str) -> bool:
    """Whether an If-Match header names this ETag of the store. The digest in the tag is ignored: a
    member's new name is no reason to refuse a change of the group."""
    return _names(header, _opaque(etag), lambda tag: _opaque(tag).partition(_DIGEST)[0])


def _names(header: str, wanted: str, form: Callable[[str], str]) -> bool:
    tags = [tag.strip() for tag in header.split(",")]
    return "*" in tags or wanted in map(form, tags)


_DIGEST = "."
"""Separates the digest; no store's ETag contains it."""


def _opaque(tag: str) -> str:
    """Cosmos DB's ETags come with quotes, SQLite's without."""
    return tag.removeprefix("W/").strip('"')
