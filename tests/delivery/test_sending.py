"""Where a message may be posted to, and what may come of it: over real HTTP and TLS."""

import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from delivery.addresses import fault_of, is_public
from delivery.sending import ANSWER_BYTES, HttpPoster
from tests.delivery.receiver import Reply, certified, receiving

PUBLIC = "8.8.8.8 20.50.2.1 2600:1406::1 ::ffff:8.8.8.8 64:ff9b::8.8.8.8 2002:808:808::1".split()
NOT_PUBLIC = (
    # this machine, and nowhere
    "127.0.0.1 127.9.9.9 ::1 0.0.0.0 :: ::ffff:127.0.0.1 ::127.0.0.1 "
    # private networks, carrier-grade NAT, link-local with every cloud's metadata
    "10.0.0.1 172.16.0.1 192.168.1.1 100.64.0.1 169.254.169.254 fe80::1 fe80::1%eth0 fd00:ec2::254 "
    "fec0::1 ::ffff:10.0.0.1 ::ffff:169.254.169.254 "
    # the same inside other addresses
    "64:ff9b::10.0.0.1 64:ff9b::a9fe:a9fe 64:ff9b:1::1 2002:a00:1::1 2002:7f00:1::1 "
    "2001:0:4136:e378:8000:63bf:3fff:fdd2 "
    # multicast, broadcast, reserved, documentation, benchmarks, Azure's platform, relays
    "224.0.0.1 239.1.1.1 ff02::1 ff0e::1 255.255.255.255 240.0.0.1 192.0.2.1 198.18.0.1 "
    "2001:db8::1 168.63.129.16 192.88.99.1 no-address"
).split()


@pytest.mark.parametrize("address", PUBLIC)
def test_an_address_of_the_internet_is_public(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize("address", NOT_PUBLIC)
def test_no_other_address_is(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize(
    ("url", "fault"),
    [
        ("https://app.example/hooks?key=1", ""),
        ("https://app.example:8443/", ""),
        ("https://[2600:1406::1]/", ""),
        ("http://app.example/", "https"),
        ("https://app.example:22/", "port"),
        ("https://user:password@app.example/", "user name"),
        ("https://app.example/#there", "fragment"),
        ("https://127.0.0.1/", "public"),
        ("https://[::1]/", "public"),
        ("https://2130706433/", "public"),
        ("ftp://app.example/", "URL"),
        ("https://", "URL"),
        ("https://app.example:https/", "URL"),
        ("https://app.example/\r\nx: y", "URL"),
        ("https://" + "a" * 2048, "URL"),
    ],
)
def test_what_is_wrong_with_a_url_is_said(url: str, fault: str) -> None:
    assert fault in fault_of(url, private=False)
    assert bool(fault) == bool(fault_of(url, private=False))


@pytest.fixture
async def poster() -> AsyncIterator[HttpPoster]:
    poster = HttpPoster(private=True)
    yield poster
    await poster.close()


@pytest.fixture
async def careful() -> AsyncIterator[HttpPoster]:
    poster = HttpPoster()
    yield poster
    await poster.close()


async def test_a_name_that_leads_to_this_machine_is_not_connected_to(
    careful: HttpPoster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However it looked when the endpoint was made: the address that is connected to counts."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.1)
        port = server.getsockname()[1]
        monkeypatch.setattr("delivery.addresses.PORTS", (port,))

        def resolved(host: Any, *_: Any, **__: Any) -> list[Any]:
            address = ("127.0.0.1", port)
            return [(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", address)] * 2

        monkeypatch.setattr(socket, "getaddrinfo", resolved)
        answer = await careful.post(f"https://rebound.example:{port}/", b"{}", {})
        assert answer.text == "address"
        with pytest.raises(TimeoutError):
            server.accept()


@pytest.mark.parametrize("url", ["http://app.example/", "https://127.0.0.1/", "https://x:25/"])
async def test_what_no_endpoint_could_be_is_not_connected_to(careful: HttpPoster, url: str) -> None:
    assert (await careful.post(url, b"{}", {})).text == "url"


async def test_a_redirect_is_a_failure_and_not_followed(poster: HttpPoster) -> None:
    async with receiving(Reply(302, {"location": "/elsewhere"})) as receiver:
        answer = await poster.post(f"http://127.0.0.1:{receiver.port}/hooks", b"{}", {})
        assert (answer.status, answer.succeeded) == (302, False)
        assert [path for path, _, _ in receiver.received] == ["/hooks"]


async def test_a_cookie_is_not_kept_and_a_long_answer_not_read(poster: HttpPoster) -> None:
    long = Reply(200, {"set-cookie": "a=b", "retry-after": "7"}, b"x" * (ANSWER_BYTES * 64))
    async with receiving(long) as receiver:
        url = f"http://localhost:{receiver.port}/"
        answers = [await poster.post(url, b"{}", {"webhook-id": "1"}) for _ in range(2)]
        assert [(one.status, one.retry_after) for one in answers] == [(200, "7"), (204, "")]
        _, headers, body = receiver.received[1]
        assert "cookie" not in headers
        assert (headers["content-type"], headers["webhook-id"], body) == (
            "application/json",
            "1",
            b"{}",
        )


async def test_who_takes_too_long_or_is_not_there_is_told_apart() -> None:
    poster = HttpPoster(private=True, timeout=0.05)
    async with receiving(Reply(seconds=0.5)) as receiver:
        slow = await poster.post(f"http://127.0.0.1:{receiver.port}/", b"{}", {})
    gone = await poster.post(f"http://127.0.0.1:{receiver.port}/", b"{}", {})
    assert (slow.text, gone.text) == ("timeout", "connection")
    await poster.close()


async def test_a_server_proves_its_name(poster: HttpPoster, tmp_path: Path) -> None:
    server, trusting = certified(tmp_path, "localhost")
    believer = HttpPoster(private=True, trusted=trusting)
    async with receiving(tls=server) as receiver:
        by_name, by_address = (
            f"https://{host}:{receiver.port}/" for host in ("localhost", "127.0.0.1")
        )
        assert (await believer.post(by_name, b"{}", {})).status == 204
        assert (await believer.post(by_address, b"{}", {})).text == "tls", "of another name"
        assert (await poster.post(by_name, b"{}", {})).text == "tls", "of no known authority"
        _, headers, _ = receiver.received[0]
        assert headers["host"] == f"localhost:{receiver.port}"
    await believer.close()
