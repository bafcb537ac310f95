"""What a conversation tells its driver."""

from __future__ import annotations

from dataclasses import dataclass

from relay.core.outcome import Outcome


@dataclass(frozen=True, slots=True)
class WantTls:
    """Do the TLS handshake now, then call `tls_done()` or `tls_failed(text)`. Nothing read before it
    may reach `receive` after it."""


@dataclass(frozen=True, slots=True)
class Ready:
    """The session is idle: `begin` or `quit`."""


@dataclass(frozen=True, slots=True)
class SendBody:
    """Write `wire.stuff(chunks)` of this message, whole, then call `body_sent`; or give that its end, or all of it."""

    token: object


@dataclass(frozen=True, slots=True)
class Result:
    """The end of one delivery: `outcomes` in the order of its recipients. `dsn_passed_on`: the server
    announced DSN, so for delivered recipients the duty to report is now its own (RFC 3461 §5.2.1)."""

    token: object
    outcomes: tuple[Outcome, ...]
    dsn_passed_on: bool

    @property
    def untouched(self) -> bool:
        """Whether no recipient was attempted: try again at once, count nothing."""
        return all(outcome.untouched for outcome in self.outcomes)


@dataclass(frozen=True, slots=True)
class Closed:
    """The session is over: write what `take_output` still has and close the connection. `outcome` is for
    mail that wanted this session and was not begun; None after our own QUIT."""

    outcome: Outcome | None


Happening = WantTls | Ready | SendBody | Result | Closed
