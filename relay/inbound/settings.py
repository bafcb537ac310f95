"""What one listener is told; `config` fills it in, sessions read it once, when they begin."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, slots=True)
class ListenerSettings:
    """One listener. Sizes are bytes, durations seconds.

    `networks`: who may relay without a credential. `tls`: none, starttls or implicit. `auth`: none, optional
    or required. `auth_clear`: whether passwords may come in clear text; None: only with profile legacy.
    `accepts`: mail, or bounces: from anyone, for addresses of reports alone (relay/inbound/feedback.py).
    `senders`: globs of the addresses that may be used as sender here; empty: any. `spill_bytes`: from which
    size on a message is kept in the spool while it arrives, not in memory.

    Limits and where they come from: at least 100 recipients and 5 minutes between commands (RFC 5321
    §4.5.3.1.8, §4.5.3.2.7), 3 minutes between blocks of DATA (§4.5.3.2.5). `data_min_bytes_per_s` counts
    after `data_grace_s`. `max_errors` ends a session (421) that gives nothing but errors, `max_idle_commands`
    one that talks on and on without mail, `session_timeout_s` one that is simply old (RFC 5321 §3.8).
    """

    name: str
    hostname: str
    accepts: str = "mail"
    networks: tuple[Network, ...] = ()
    tls: str = "none"
    auth: str = "none"
    auth_clear: bool | None = None
    profile: str = "modern"
    senders: tuple[str, ...] = ()
    postmaster: str = ""
    spill_bytes: int = 262_144
    max_message_bytes: int = 52_428_800
    max_header_bytes: int = 262_144
    max_recipients: int = 1000
    max_connections: int = 1000
    max_connections_per_client: int = 100
    max_errors: int = 20
    max_idle_commands: int = 1000
    idle_timeout_s: float = 300.0
    data_timeout_s: float = 180.0
    data_grace_s: float = 60.0
    data_min_bytes_per_s: float = 1000.0
    tls_handshake_s: float = 30.0
    session_timeout_s: float = 3600.0

    @property
    def legacy(self) -> bool:
        """Whether old clients are met half-way here: repaired line ends, old TLS, passwords in clear."""
        return self.profile == "legacy"

    @property
    def clear_auth(self) -> bool:
        """Whether AUTH is offered without TLS."""
        return self.legacy if self.auth_clear is None else self.auth_clear

    def contains(self, address: str) -> bool:
        """Whether a client's IP address is in the listener's networks."""
        return within(address, self.networks)


def networks(texts: Sequence[str]) -> tuple[Network, ...]:
    """CIDR texts as networks; raises ValueError for one that is none."""
    return tuple(ipaddress.ip_network(text, strict=False) for text in texts)


@lru_cache(maxsize=4096)
def neighbourhood(address: str) -> str:
    """What counts as one client: an IPv4 address, or the /64 of an IPv6 address, as a host has all of it."""
    if ":" not in address:
        return address
    try:
        return str(ipaddress.ip_network((address.partition("%")[0], 64), strict=False))
    except ValueError:
        return address


@lru_cache(maxsize=4096)
def within(address: str, allowed: tuple[Network, ...]) -> bool:
    """Whether an IP address is in one of the networks; an IPv4-mapped IPv6 address counts as IPv4."""
    if not allowed:
        return False
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped is not None:
        ip = ip.ipv4_mapped
    return any(ip.version == network.version and ip in network for network in allowed)
