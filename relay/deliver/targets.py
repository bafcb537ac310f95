"""Which addresses mail may be delivered to. MX records are written by strangers: without this, anyone could
have the relay speak to the machine itself, to its private network or to a cloud's metadata service."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

# The first network that holds the address names the reason. IANA IPv4 and IPv6 Special-Purpose Address
# Registries (RFC 6890 and its updates); multicast from RFC 5771 and RFC 4291 §2.7.
REFUSED: tuple[tuple[Network, str], ...] = tuple(
    (ip_network(network), reason)
    for network, reason in (
        ("0.0.0.0/8", "unspecified"),  # RFC 1122 §3.2.1.3; Linux connects 0.0.0.0 to itself
        ("10.0.0.0/8", "private"),  # RFC 1918
        ("100.64.0.0/10", "carrier-grade NAT"),  # RFC 6598
        ("127.0.0.0/8", "loopback"),
        ("169.254.0.0/16", "link-local"),  # RFC 3927; cloud metadata services
        ("172.16.0.0/12", "private"),
        ("192.0.0.0/24", "reserved"),  # RFC 6890 §2.1
        ("192.0.2.0/24", "documentation"),  # RFC 5737
        ("192.168.0.0/16", "private"),
        ("198.18.0.0/15", "benchmarking"),  # RFC 2544
        ("198.51.100.0/24", "documentation"),
        ("203.0.113.0/24", "documentation"),
        ("224.0.0.0/4", "multicast"),
        ("255.255.255.255/32", "broadcast"),
        ("240.0.0.0/4", "reserved"),
        ("::/128", "unspecified"),
        ("::1/128", "loopback"),
        ("64:ff9b:1::/48", "private"),  # RFC 8215: local-use translation
        ("100::/64", "discard-only"),  # RFC 6666
        ("2001:db8::/32", "documentation"),  # RFC 3849
        ("3fff::/20", "documentation"),  # RFC 9637
        ("5f00::/16", "reserved"),  # RFC 9602: segment routing
        ("fc00::/7", "private"),  # RFC 4193
        ("fe80::/10", "link-local"),
        ("fec0::/10", "private"),  # RFC 3879: old site-local
        ("ff00::/8", "multicast"),
    )
)
TRANSLATED = ip_network("64:ff9b::/96")  # RFC 6052 §2.1: the well-known NAT64 prefix
COMPATIBLE = ip_network("::/96")  # RFC 4291 §2.5.5.1, deprecated


class TargetGuard:
    """Refuses addresses that are not on the public Internet, but for the networks in `allowed` (CIDR).
    An IPv4 address inside an IPv6 one (mapped, 6to4, Teredo, NAT64) is judged as the IPv4 address it
    stands for: `::ffff:127.0.0.1` is loopback. Raises ValueError for an entry that is no network."""

    def __init__(self, allowed: Iterable[str] = ()) -> None:
        self._allowed = tuple(ip_network(network) for network in allowed)
        self.refusal = lru_cache(maxsize=4096)(self._refusal)

    def _refusal(self, address: str) -> str | None:
        """Why the relay must not connect to this IP address in text, or None when it may."""
        try:
            ip = ip_address(address.partition("%")[0])
        except ValueError:
            return f"{address} is not an IP address"
        meant = (ip, *_inside(ip))
        if any(one in network for one in meant for network in self._allowed):
            return None
        for one in meant:
            for network, reason in REFUSED:
                if one in network:
                    return f"{address} is a {reason} address, not listed in delivery.allow_targets"
        return None


def _inside(ip: Address) -> tuple[IPv4Address, ...]:
    """The IPv4 addresses an IPv6 address leads to."""
    if isinstance(ip, IPv4Address):
        return ()
    found = [ip.ipv4_mapped, ip.sixtofour, *(ip.teredo or ())]
    if ip in TRANSLATED or (ip in COMPATIBLE and int(ip) > 1):
        found.append(IPv4Address(int(ip) & 0xFFFFFFFF))
    return tuple(one for one in found if one is not None)
