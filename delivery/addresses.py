"""Which addresses webhooks may connect to.

A person who may create an endpoint must not reach what only the deployment can reach: its machine
and network, the platform's services, another customer's network. The check is made on the address
at the moment of connecting, so that no name can lead elsewhere after the check.
"""

import socket
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any
from urllib.parse import urlsplit

PORTS = (443, 8443)
URL_CHARACTERS = 2048

_GLOBAL_UNICAST = IPv6Network("2000::/3")
_NAT64 = IPv6Network("64:ff9b::/96")
_REFUSED = (
    ip_network("168.63.129.16/32"),  # Azure's platform, reachable only from its machines
    ip_network("192.88.99.0/24"),  # relays of 6to4
)

type AddressInfo = tuple[Any, Any, int, str, tuple[Any, ...]]


class AddressRefused(OSError):
    """A connection to an address that is not public."""

    def __init__(self) -> None:
        super().__init__("The address is not public")


def is_public(text: str) -> bool:
    """Whether an IP address is on the public internet, including the IPv4 address inside an IPv6
    address (IPv4-mapped, NAT64, 6to4)."""
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return False
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        elif address in _NAT64:
            address = IPv4Address(int(address) & 0xFFFFFFFF)
        elif address.sixtofour is not None:
            address = address.sixtofour
        elif address not in _GLOBAL_UNICAST or address.teredo is not None:
            return False
    refused = address.is_multicast or address.is_reserved or not address.is_global
    return not refused and not any(address in network for network in _REFUSED)


def socket_factory(private: bool) -> Callable[[AddressInfo], socket.socket]:
    """A function that makes the socket for an address to connect to. It raises AddressRefused for
    an address that is not public, unless `private` allows it."""

    def make(info: AddressInfo) -> socket.socket:
        family, kind, protocol, _, address = info
        if not private and not is_public(address[0]):
            raise AddressRefused
        return socket.socket(family, kind, protocol)

    return make


def fault_of(url: str, private: bool) -> str:
    """The requirement that an endpoint's URL does not meet; empty: it is valid. The address behind
    its name is checked when connecting. `private` allows any address and port, and http."""
    fault = "a URL such as https://app.example/webhooks"
    if len(url) > URL_CHARACTERS or not url.isascii() or not url.isprintable() or " " in url:
        return fault
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return fault
    if parts.scheme not in ("https", "http") or not parts.hostname:
        return fault
    if "@" in parts.netloc or "#" in url:
        return "a URL without a user name and without a fragment"
    if private:
        return ""
    if parts.scheme != "https":
        return "an https URL"
    if (port or 443) not in PORTS:
        return f"a URL with port {' or '.join(map(str, PORTS))}"
    host = parts.hostname
    if (":" in host or host.replace(".", "").isdigit()) and not is_public(host):
        return "a public address"
    return ""
