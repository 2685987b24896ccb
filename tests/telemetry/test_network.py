"""A record names the network that a request came from, and never the address."""

import logging

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.responses import Response

from telemetry.network import network_of
from web.surface import Surface


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("203.0.113.7", "203.0.113.0/24"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1::/48"),
        ("::ffff:203.0.113.7", "203.0.113.0/24"),
        ("fe80::1%eth0", "fe80::/48"),
        ("", ""),
        ("unknown", ""),
        ("203.0.113.7, ada@contoso.example", ""),
    ],
)
def test_an_address_is_cut(address: str, network: str) -> None:
    assert network_of(address) == network


@given(st.ip_addresses())
def test_every_address_of_a_network_is_told_alike(address: object) -> None:
    network = network_of(str(address))
    assert network_of(network.partition("/")[0]) == network


@given(st.text())
def test_nothing_that_a_client_writes_is_told(text: str) -> None:
    network = network_of(text)
    assert network == "" or network.endswith(("/24", "/48"))


async def test_the_record_of_a_request_has_it(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    surface = Surface("test", Response(b"", 204, {}), {}, lambda _: Response(b"", 500, {}))
    for client in (("203.0.113.7", 50512), None):
        caplog.clear()
        transport = httpx.ASGITransport(surface, client=client)  # type: ignore[arg-type]
        async with httpx.AsyncClient(transport=transport, base_url="https://muster") as asking:
            await asking.get("/")
        (record,) = [each for each in caplog.records if each.name == "muster.test"]
        assert getattr(record, "network", "") == ("203.0.113.0/24" if client else "")
        assert "203.0.113.7" not in str(record.__dict__)
