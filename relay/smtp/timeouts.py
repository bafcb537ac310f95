"""How long a client waits in each phase (RFC 5321 §4.5.3.2)."""

from __future__ import annotations

from dataclasses import dataclass

from relay.core.outcome import Phase


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds for each phase, counted from its beginning and again from each reply, never from a byte:
    a server that sends one byte a second gains nothing. `body_s` is for one block that the connection
    does not take. A final dot given up too early delivers mail twice, hence its ten minutes."""

    resolve_s: float = 30.0
    connect_s: float = 30.0
    banner_s: float = 300.0  # §4.5.3.2.1
    ehlo_s: float = 300.0
    starttls_s: float = 120.0
    tls_s: float = 30.0
    auth_s: float = 120.0
    idle_s: float = 30.0  # how long a connection is kept for more mail
    mail_s: float = 300.0  # §4.5.3.2.2
    rcpt_s: float = 300.0  # §4.5.3.2.3
    data_s: float = 120.0  # §4.5.3.2.4
    body_s: float = 180.0  # §4.5.3.2.5
    dot_s: float = 600.0  # §4.5.3.2.6
    rset_s: float = 10.0
    quit_s: float = 10.0

    def of(self, phase: Phase) -> float:
        """The limit of one phase in seconds."""
        limit: float = getattr(self, _NAMES[phase])
        return limit


_NAMES = {phase: f"{phase.value}_s" for phase in Phase}
