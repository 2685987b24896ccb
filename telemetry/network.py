"""The network that a request came from: enough to see an attack, too little to identify a
person."""

from functools import lru_cache
from ipaddress import IPv6Address, ip_address, ip_network

PREFIXES = {4: 24, 6: 48}
"""Bits of an address that are kept, by IP version: fewer than the prefix of one customer of a
provider has (RFC 6177 for version 6)."""


@lru_cache(maxsize=4096)
def network_of(address: str) -> str:
    """The network of an IP address: `203.0.113.7` → `203.0.113.0/24`, `2001:db8:1:2::3` →
    `2001:db8:1::/48`; empty for a text that is no address."""
    try:
        found = ip_address(address)
    except ValueError:
        return ""
    if isinstance(found, IPv6Address):
        found = found.ipv4_mapped or found
    return str(ip_network(f"{found}/{PREFIXES[found.version]}", strict=False))
