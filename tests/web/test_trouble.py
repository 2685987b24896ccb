"""One table of what goes wrong (`web.trouble`), and every surface shows each row of it alike: the
same status, its own media type, and a Retry-After that is rounded up."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Receive, Scope, Send

from administration.errors import AdministrationError, Overtaken
from directory.documents import Key
from directory.store import (
    BadContinuation,
    BadPosition,
    Conflict,
    LostPosition,
    NotFound,
    PreconditionFailed,
    Throttled,
    TooLarge,
    Unavailable,
    Unreadable,
)
from queues.port import QueueError
from scim.protocol.errors import Uniqueness
from tests.environment import Environment, client_of, running
from tests.scim.test_isolation import surfaces
from tests.transports import in_process
from trust.refusal import (
    HomedElsewhere,
    KeysUnavailable,
    Misplaced,
    UnknownTenant,
    bad_token,
    no_credentials,
)
from web.surface import UNREADABLE, Surface
from web.trouble import body_too_large, malformed, too_many_requests, too_slow
from wiring import Lazy, failed, not_built


def unreadable() -> Unreadable:
    """What reading a stored document that is none raises."""
    with pytest.raises(Unreadable) as caught:
        Key.from_document({"id": "key:broken"})
    return caught.value


ROWS: dict[str, tuple[Callable[[], Exception], int, str | None]] = {
    "no credentials": (lambda: no_credentials("scim"), 401, None),
    "bad token": (lambda: bad_token("access", "It has expired"), 401, None),
    "another region": (lambda: HomedElsewhere("elsewhere"), 403, None),
    "a credential out of place": (Misplaced, 403, None),
    "no such organisation": (UnknownTenant, 404, None),
    "keys away": (lambda: KeysUnavailable(2.5), 503, "3"),
    "throttled": (lambda: Throttled(2.5), 429, "3"),
    "throttled for a moment": (lambda: Throttled(0), 429, "1"),
    "store away": (Unavailable, 503, "5"),
    "queue away": (QueueError, 503, "5"),
    "too large to store": (TooLarge, 413, None),
    "not found": (lambda: NotFound("user:x"), 409, None),
    "conflict": (lambda: Conflict("user:x"), 409, None),
    "overtaken": (lambda: PreconditionFailed("user:x"), 409, None),
    "bad continuation": (BadContinuation, 400, None),
    "no position": (BadPosition, 400, None),
    "position lost": (LostPosition, 410, None),
    "unreadable document": (unreadable, 500, None),
    "too fast": (lambda: too_many_requests(2.1), 429, "3"),
    "too slow": (lambda: too_slow(90), 503, "30"),
    "body too large": (lambda: body_too_large(10), 413, None),
    "body malformed": (lambda: malformed("no JSON"), 400, None),
    "body cut short": (ClientDisconnect, 400, None),
    "a fault": (lambda: KeyError("ada@example.com"), 500, None),
}
MEDIA_TYPES = {
    "scim": "application/scim+json",
    "access": "application/problem+json",
    "oauth": "application/json",
    "console": "text/html; charset=utf-8",
    "console-api": "application/problem+json",
    "operator": "application/problem+json",
    "health": "application/json",
}
STATUS_OF_OAUTH = {403: 400}
"""RFC 6749 section 5.2: what says `unauthorized_client` is a 400."""


async def answered(app: ASGIApp, **scope: Any) -> httpx.Response:
    """What an application answers."""

    async def with_scope(given: Scope, receive: Receive, send: Send) -> None:
        await app({**given, **scope}, receive, send)

    transport = httpx.ASGITransport(app=with_scope, raise_app_exceptions=True)
    async with httpx.AsyncClient(transport=transport, base_url="http://h") as client:
        return await client.get("/")


@pytest.mark.parametrize("row", ROWS)
@pytest.mark.parametrize("name", MEDIA_TYPES)
async def test_every_surface_answers_every_row(name: str, row: str) -> None:
    raised, status, retry_after = ROWS[row]
    if name == "oauth":
        status = STATUS_OF_OAUTH.get(status, status)
    answer = await answered(not_built(name, raised()))
    assert answer.status_code == status
    assert answer.headers["content-type"] == MEDIA_TYPES[name]
    assert answer.headers.get("retry-after") == retry_after
    assert ("www-authenticate" in answer.headers) == (status == 401)
    assert "ada@example.com" not in answer.text
    told = answer.headers["x-request-id"] in answer.text
    assert told == (status == 500)


async def test_no_surface_is_left_out(tmp_path: Path) -> None:
    async with in_process(tmp_path) as muster:
        assert {*surfaces(muster), "console"} == {*MEDIA_TYPES}
    assert {*failed(KeyError())} == {"scim", "access", "oauth", "operator", "console", "health"}


@pytest.mark.parametrize("name", ["console", "console-api"])
@pytest.mark.parametrize(
    ("raised", "status"),
    [
        (AdministrationError("The catalog lacks it."), 422),
        (Overtaken("Somebody else saved it."), 409),
        (Uniqueness("It is taken."), 409),
    ],
)
async def test_what_administration_refuses_is_the_same_on_pages_and_in_the_api(
    name: str, raised: Exception, status: int
) -> None:
    answer = await answered(not_built(name, raised))
    assert (answer.status_code, answer.headers["content-type"]) == (status, MEDIA_TYPES[name])
    assert str(raised) in answer.text


@pytest.mark.parametrize("name", MEDIA_TYPES)
async def test_an_unreadable_url_is_refused_as_the_surface_shows_errors(name: str) -> None:
    async def never(_scope: Scope, _receive: Receive, _send: Send) -> None:
        raise AssertionError("it was served")

    surface = not_built(name, KeyError())
    answer = await answered(Surface(name, never, {}, surface._refuse), **{UNREADABLE: True})
    assert (answer.status_code, answer.headers["content-type"]) == (400, MEDIA_TYPES[name])
    assert "percent-encoded" in answer.text


async def test_what_has_begun_cannot_become_another_answer() -> None:
    async def breaks_off(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise Unavailable

    surface = Surface("access", breaks_off, {}, not_built("access", KeyError())._refuse)
    with pytest.raises(Unavailable):
        await answered(surface)


async def test_a_console_that_cannot_be_built_says_so_and_is_built_later() -> None:
    """What it needs at its first request may be away."""
    attempts = 0

    def built() -> Surface:
        nonlocal attempts
        attempts += 1
        if attempts == 1:
            raise Throttled(1.2)
        return not_built("console", NotFound("x"))

    lazy = Lazy("console", built)
    first, second = await answered(lazy), await answered(lazy)
    assert (first.status_code, first.headers["retry-after"]) == (429, "2")
    assert first.headers["content-type"] == MEDIA_TYPES["console"]
    assert "frame-ancestors" in first.headers["content-security-policy"]
    assert second.status_code == 409


BASES = {
    "scim": "/scim",
    "access": "/access/v1",
    "oauth": "/oauth",
    "console": "/console",
    "console-api": "/console/api",
    "operator": "/operator/v1",
}


@pytest.fixture
async def environment(tmp_path: Path) -> AsyncIterator[Environment]:
    async with running(tmp_path) as environment:
        yield environment


@pytest.mark.parametrize("name", BASES)
async def test_where_nothing_is(environment: Environment, name: str) -> None:
    app = getattr(environment.application, name.removesuffix("-api"))
    async with client_of(app, BASES[name], "none") as client:
        answer = await client.get("/no/where/at/all")
        assert (answer.status_code, answer.headers["content-type"]) == (404, MEDIA_TYPES[name])
