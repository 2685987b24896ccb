"""What a request looks like to a function, and what becomes of the function's response."""

import asyncio
import socket
from collections.abc import AsyncIterator
from http.cookies import SimpleCookie

import httpx
import pytest

import laptop.devhost.http
import laptop.devhost.server
from laptop.devhost.http import BODY_BYTES, HttpTriggers
from laptop.devhost.runtime import Function, FunctionApp, IndexingFailed
from laptop.devhost.server import listen, url_of

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def exchange(server: tuple[str, int], request: bytes) -> tuple[bytes, bytes]:
    """Send these bytes; returns the response's head and body."""
    reader, writer = await asyncio.open_connection(*server)
    writer.write(request)
    async with asyncio.timeout(10):
        response = await reader.read()
    writer.close()
    head, _, body = response.partition(b"\r\n\r\n")
    return head, body


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
async def test_a_function_without_methods_gets_them_all(
    client: httpx.AsyncClient, method: str
) -> None:
    body = b'{"a": "\xc3\xa9"}\x00\xff'
    answer = await client.request(method, "/mirror/x", content=body)
    assert answer.json()["method"] == method
    assert answer.json()["body"].encode("latin-1") == body
    assert answer.headers["content-type"] == "application/scim+json"


async def test_head_has_no_body(client: httpx.AsyncClient) -> None:
    answer = await client.head("/mirror/x")
    assert (answer.status_code, answer.content) == (200, b"")


QUERY = "filter=displayName%20eq+%22a%26b%22&x=1&x=2&empty=&plus=%2B&quote='"


async def test_the_url_is_absolute_and_keeps_the_raw_query(client: httpx.AsyncClient) -> None:
    url = f"{client.base_url.join('/mirror/a%2Fb%20c')}?{QUERY}"
    assert (await client.get(url)).json()["url"] == url


async def test_params_drop_empty_values_and_join_repeated_ones(client: httpx.AsyncClient) -> None:
    seen = (await client.get(f"/mirror/?{QUERY}")).json()
    assert seen["params"] == {
        "filter": 'displayName eq "a&b"',
        "x": "1,2",
        "plus": "+",
        "quote": "'",
    }


@pytest.mark.parametrize(
    ("headers", "start"),
    [
        ({"host": "muster.example"}, "http://muster.example/mirror/"),
        ({"host": "muster.example", "x-forwarded-proto": "https"}, "https://muster.example/"),
        ({"x-forwarded-host": "tunnel.example"}, "http://tunnel.example/mirror/"),
        (
            {"disguised-host": "public.example", "x-forwarded-host": "other.example"},
            "http://public.example/mirror/",
        ),
    ],
)
async def test_the_url_is_what_the_client_addressed(
    client: httpx.AsyncClient, headers: dict[str, str], start: str
) -> None:
    seen = (await client.get("/mirror/x", headers=headers)).json()
    assert seen["url"].startswith(start)
    assert seen["headers"]["host"] == start.split("/")[2]


async def test_header_names_are_lower_case_and_repeated_values_joined(
    echo_server: tuple[str, int],
) -> None:
    _, body = await exchange(
        echo_server,
        b"GET /mirror/x HTTP/1.1\r\nHost: h\r\nConnection: close\r\n"
        b"X-One: a\r\nX-ONE: b\r\nX-Name: \xc3\xa9\r\n\r\n",
    )
    seen = httpx.Response(200, content=body).json()["headers"]
    assert seen["x-one"] == "a,b"
    assert seen["x-name"] == "é"


async def test_a_body_in_chunks_without_length_arrives_empty(client: httpx.AsyncClient) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        yield b'{"userName":'
        yield b'"ada"}'

    seen = (await client.post("/mirror/x", content=chunks())).json()
    assert seen["headers"]["transfer-encoding"] == "chunked"
    assert seen["body"] == ""


POST = b"POST /mirror/x HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n"


async def test_a_body_over_the_limit_is_refused_unread(echo_server: tuple[str, int]) -> None:
    head, body = await exchange(echo_server, POST % (BODY_BYTES + 1))
    assert head.startswith(b"HTTP/1.1 413 ")
    assert body == b""


async def test_the_limit_is_what_the_host_is_told(echo: FunctionApp) -> None:
    transport = httpx.ASGITransport(HttpTriggers(echo, "", body_bytes=10))
    async with httpx.AsyncClient(transport=transport, base_url="http://h") as client:
        assert (await client.post("/mirror/x", content=b"x" * 10)).status_code == 200
        assert (await client.post("/mirror/x", content=b"x" * 11)).status_code == 413


async def test_a_body_that_does_not_come_is_given_up(
    echo_server: tuple[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(laptop.devhost.http, "BODY_SECONDS", 0.1)
    head, _ = await exchange(echo_server, POST % 10 + b"123")
    assert head.startswith(b"HTTP/1.1 408 ")


GET = b"GET /mirror/x HTTP/1.1\r\nHost: h\r\n\r\n"


@pytest.mark.parametrize(
    "sent",
    [b"", b"GET /mirror/x HTTP/1.1\r\nHost: h\r\nX-One: ", GET + GET[:20]],
    ids=["nothing", "half a head", "half a second head"],
)
async def test_a_head_that_does_not_come_is_given_up(
    echo_server: tuple[str, int], monkeypatch: pytest.MonkeyPatch, sent: bytes
) -> None:
    monkeypatch.setattr(laptop.devhost.server, "HEAD_SECONDS", 0.1)
    head, _ = await exchange(echo_server, sent)
    assert head.startswith(b"HTTP/1.1 200 ") is sent.startswith(GET)


async def test_a_head_in_time_ends_the_waiting_for_it(
    echo_server: tuple[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection lives on while a body takes longer than a head may."""
    monkeypatch.setattr(laptop.devhost.server, "HEAD_SECONDS", 0.1)
    reader, writer = await asyncio.open_connection(*echo_server)
    writer.write((POST % 3).replace(b"Host", b"Connection: close\r\nHost"))
    await asyncio.sleep(0.3)
    writer.write(b"123")
    async with asyncio.timeout(10):
        assert (await reader.read()).startswith(b"HTTP/1.1 200 ")
    writer.close()


@pytest.mark.parametrize(
    "request_head",
    [
        b"GET /mirror/x HTTP/1.1\r\n",
        b"GET /mirror/x HTTP/1.1\r\nHost: h\r\nX-Name: \xff\r\n",
        b"GET /mirror/x?a=\xff HTTP/1.1\r\nHost: h\r\n",
        b"GET /mirror/\xff HTTP/1.1\r\nHost: h\r\n",
    ],
    ids=["no host", "header not UTF-8", "query not ASCII", "path not ASCII"],
)
async def test_a_malformed_request_never_reaches_a_function(
    echo_server: tuple[str, int], request_head: bytes
) -> None:
    head, _ = await exchange(echo_server, request_head + b"Connection: close\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 404),
        ("GET", "/mirrors", 404),
        ("GET", "/mirror", 200),
        ("GET", "/MIRROR/x", 200),
        ("GET", "/mirror/x%0Ay", 200),
        ("GET", "/posts", 404),
        ("POST", "/posts", 200),
        ("POST", "/posts/7/", 200),
        ("POST", "/posts/7/8", 404),
        ("GET", "/either", 404),
    ],
)
async def test_routes(client: httpx.AsyncClient, method: str, path: str, status: int) -> None:
    assert (await client.request(method, path)).status_code == status


async def test_route_parameters(client: httpx.AsyncClient) -> None:
    assert (await client.get("/mirror/v2/Users/a%20b")).json()["route"] == {"path": "v2/Users/a b"}
    assert (await client.get("/mirror")).json()["route"] == {}
    assert (await client.post("/posts")).text == "none"


async def test_of_two_matching_functions_the_first_in_the_alphabet_answers(
    client: httpx.AsyncClient,
) -> None:
    assert (await client.get("/either/x")).text == "earlier"
    assert (await client.put("/either/x")).text == "later"


@pytest.mark.parametrize("how", ["raise", "none", "dict", "text"])
async def test_what_is_no_response_becomes_an_empty_500(
    client: httpx.AsyncClient, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    answer = await client.get(f"/misbehave/{how}")
    assert (answer.status_code, answer.content) == (500, b"")
    assert "misbehave" in caplog.text


async def test_of_repeated_response_headers_the_last_survives_but_for_cookies(
    client: httpx.AsyncClient,
) -> None:
    answer = await client.get("/misbehave/repeat")
    assert answer.status_code == 204
    assert answer.headers.get_list("x-twice") == ["second"]
    first, second = (SimpleCookie(line) for line in answer.headers.get_list("set-cookie"))
    assert first["a"].value == "1"
    assert (first["a"]["path"], first["a"]["max-age"]) == ("/", "60")
    assert first["a"]["secure"]
    assert first["a"]["httponly"]
    assert first["a"]["samesite"] == "lax"
    assert second["b"].value == "x%3Dy"  # ASP.NET encodes it
    assert second["b"]["expires"] == "Thu, 01 Jan 2032 00:00:00 GMT"


async def test_answers_do_not_wait_for_acknowledgements() -> None:
    with listen("127.0.0.1", 0) as listener:
        client = socket.create_connection(listener.getsockname())
        connection, _ = listener.accept()
        with client, connection:
            assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


@pytest.mark.parametrize(
    ("host", "start"), [("127.0.0.1", "http://127.0.0.1:"), ("::1", "http://[::1]:")]
)
async def test_the_url_of_a_listener(host: str, start: str) -> None:
    try:
        listener = listen(host, 0)
    except OSError:
        pytest.skip(f"this machine has no {host}")
    with listener:
        assert url_of(listener) == f"{start}{listener.getsockname()[1]}"


@pytest.mark.parametrize("route", ["users/{id:int}", "users/{id=7}", "a/b{id}"])
async def test_routes_that_devhost_cannot_match_are_refused_by_name(route: str) -> None:
    trigger = {"type": "httpTrigger", "name": "req", "route": route}
    app = FunctionApp((Function("id", "users", trigger),))
    with pytest.raises(IndexingFailed, match="users"):
        HttpTriggers(app, "")


async def test_the_route_prefix_comes_first(echo: FunctionApp) -> None:
    transport = httpx.ASGITransport(HttpTriggers(echo, "api"))
    async with httpx.AsyncClient(transport=transport, base_url="http://h") as client:
        assert (await client.get("/mirror/x")).status_code == 404
        assert (await client.get("/api/mirror/x")).json()["url"] == "http://h/api/mirror/x"
