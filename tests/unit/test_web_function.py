"""The bridge from an HTTP-triggered function to an ASGI application, with an application of
Starlette's, which uses more of ASGI than ours do."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from web import function


@dataclass(frozen=True)
class Trigger:
    """What a function is given."""

    url: str
    method: str = "GET"
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""

    def get_body(self) -> bytes:
        """The request's body."""
        return self.body


async def _echo(request: Request) -> Response:
    seen = {
        "origin": f"{request.url.scheme}://{request.url.netloc}",
        "path": request.path_params["path"],
        "query": [*request.query_params.multi_items()],
        "x": request.headers["X-Mixed-Case"],
        "body": (await request.body()).decode(),
    }
    response = JSONResponse(seen, 201)
    response.set_cookie("a", "1")
    response.set_cookie("b", "2")
    return response


async def _parts(_: Request) -> Response:
    def parts() -> Iterator[bytes]:
        yield b"one "
        yield b"two"

    return StreamingResponse(parts())


APPLICATION = Starlette(
    routes=[Route("/parts", _parts), Route("/{path:path}", _echo, methods=["POST"])]
)


async def _answer(trigger: Trigger) -> function.Answered:
    return await function.answer(APPLICATION, trigger, function.scope_of(trigger))


async def test_an_application_sees_the_request_and_its_answer_comes_back_whole() -> None:
    trigger = Trigger(
        "https://h:8443/a%20b/%C3%BC?x=1&x=%3F&y=",
        "POST",
        {"host": "h:8443", "x-mixed-case": "v"},
        b"\x7b\x7d",
    )
    answered = await _answer(trigger)
    assert answered.status == 201
    assert answered.body == (
        b'{"origin":"https://h:8443","path":"a b/\xc3\xbc",'
        b'"query":[["x","1"],["x","?"],["y",""]],"x":"v","body":"{}"}'
    )
    cookies = [value.partition(";")[0] for name, value in answered.headers if name == "set-cookie"]
    assert cookies == ["a=1", "b=2"]


async def test_an_answer_in_parts_is_complete() -> None:
    """Such an application listens for the client to leave while it answers."""
    assert (await _answer(Trigger("http://h/parts"))).body == b"one two"


@pytest.mark.parametrize(
    ("said", "proxies", "client"),
    [
        ("203.0.113.7:50512", 0, ("203.0.113.7", 50512)),
        ("198.51.100.1, 203.0.113.7:50512", 0, ("203.0.113.7", 50512)),  # the first is a claim
        ("198.51.100.1, 203.0.113.7, 192.0.2.9:443", 1, ("203.0.113.7", 0)),
        ("[2001:db8::1]:50512", 0, ("2001:db8::1", 50512)),
        ("2001:db8::1", 0, ("2001:db8::1", 0)),
        ("203.0.113.7:50512", 1, None),  # it did not come through the proxy
        ("", 0, None),
        (" , ", 0, None),
        ("203.0.113.7:port", 0, None),
        ("[::1", 0, None),
    ],
)
def test_the_client_is_who_the_platform_names(
    said: str, proxies: int, client: tuple[str, int] | None
) -> None:
    trigger = Trigger("https://h/", headers={"x-forwarded-for": said})
    assert function.client_of(trigger, proxies) == client
    assert function.client_of(Trigger("https://h/"), proxies) is None


@given(st.text())
def test_no_forwarding_header_is_a_fault(said: str) -> None:
    function.client_of(Trigger("https://h/", headers={"x-forwarded-for": said}))
