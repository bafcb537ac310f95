"""What delivery needs to know of the configuration."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field

from relay.smtp.client import StartTls
from relay.smtp.login import Login
from relay.smtp.timeouts import Timeouts


@dataclass(frozen=True, slots=True)
class DeliverySettings:
    """`hostname` is our EHLO name where a source has none. `fixed` is (host, port) of a smarthost or the
    sandbox, None for MX delivery. `connections` bounds all outbound connections, `fixed_connections` those
    to a fixed host. `backlog` bounds the recipients of one
    stream in memory."""

    hostname: str
    fixed: tuple[str, int] | None = None
    fixed_tls: StartTls | None = None
    fixed_connections: int = 20
    login: Login | None = None
    connections: int = 200
    timeouts: Timeouts = field(default_factory=Timeouts)
    backlog: int = 20_000


def opportunistic_context() -> ssl.SSLContext:
    """TLS that hides mail from onlookers but proves nobody's name: any certificate, any version still
    spoken. A weak cipher is better than the clear text that would follow a refusal (RFC 7435 §3)."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def verified_context(ca_file: str = "") -> ssl.SSLContext:
    """TLS that proves the host's name, for a smarthost that gets our password."""
    context = ssl.create_default_context(cafile=ca_file or None)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context
