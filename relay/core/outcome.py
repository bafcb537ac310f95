"""What came of an attempt: one verdict per recipient, and how far the trouble reaches."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from relay.core.reply import Reply


class Verdict(Enum):
    """What happens to the recipient now."""

    DELIVERED = "delivered"
    DEFERRED = "deferred"
    FAILED = "failed"


class Scope(Enum):
    """Whom the same trouble would hit again: what else to leave alone after it."""

    RECIPIENT = "recipient"
    MESSAGE = "message"
    SESSION = "session"
    HOST = "host"
    DESTINATION = "destination"
    SOURCE = "source"


class Phase(Enum):
    """Where in an attempt it happened."""

    RESOLVE = "resolve"
    CONNECT = "connect"
    BANNER = "banner"
    EHLO = "ehlo"
    STARTTLS = "starttls"
    TLS = "tls"
    AUTH = "auth"
    MAIL = "mail"
    RCPT = "rcpt"
    DATA = "data"
    BODY = "body"
    DOT = "dot"
    RSET = "rset"
    QUIT = "quit"


@dataclass(frozen=True, slots=True)
class Outcome:
    """The end of one attempt for one recipient. `kind` is the bounce class ("" when delivered),
    `reply` the server's words when it spoke, `text` one line for people in every case."""

    verdict: Verdict
    scope: Scope
    phase: Phase
    kind: str = ""
    reply: Reply | None = None
    text: str = ""
