"""What came of an attempt: one verdict per recipient, and how far the trouble reaches.

Every failure passes through the two halves of one table: REPLIES for what a server said (phase × first
digit, RFC 5321 §4.2.1), TROUBLES for what happened without words. Text and enhanced code are evidence:
they choose the kind, never the verdict.

A 5xx in the banner or to EHLO is trouble of that host, not of the mail: nobody has named a message yet.
It defers, the other MX are asked, and only expiry bounces. Postfix does the same with a 5xx greeting
(postconf(5), smtp_skip_5xx_greeting, default yes).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from relay.core.classify import Kind, classify
from relay.core.reply import Reply

TEXT_LENGTH = 500  # characters of a reply kept for people; the rest helps nobody and fills the queue file


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
    """Where in an attempt it happened. IDLE: a kept connection between two messages."""

    RESOLVE = "resolve"
    CONNECT = "connect"
    BANNER = "banner"
    EHLO = "ehlo"
    STARTTLS = "starttls"
    TLS = "tls"
    AUTH = "auth"
    IDLE = "idle"
    MAIL = "mail"
    RCPT = "rcpt"
    DATA = "data"
    BODY = "body"
    DOT = "dot"
    RSET = "rset"
    QUIT = "quit"

    __hash__ = object.__hash__  # members are single; Enum's own hash is Python code on the hot path


class Trouble(Enum):
    """What can go wrong without a reply that says so."""

    DNS_TEMPORARY = "dns_temporary"
    NO_DOMAIN = "no_domain"
    NULL_MX = "null_mx"
    NO_ADDRESS = "no_address"
    LOOP = "loop"
    TARGET_FORBIDDEN = "target_forbidden"
    CONNECT_REFUSED = "connect_refused"
    CONNECT_TIMEOUT = "connect_timeout"
    CONNECT_FAILED = "connect_failed"
    TLS_REQUIRED_MISSING = "tls_required_missing"
    TLS_HANDSHAKE = "tls_handshake"
    LOGIN_IMPOSSIBLE = "login_impossible"
    TIMEOUT = "timeout"
    LOST = "lost"
    LOST_AFTER_DOT = "lost_after_dot"
    PROTOCOL = "protocol"
    NO_8BITMIME = "no_8bitmime"
    NO_SMTPUTF8 = "no_smtputf8"
    TOO_LARGE = "too_large"
    UNWRITABLE = "unwritable"
    EXPIRED = "expired"
    CANCELLED = "cancelled"
    SOURCE_UNUSABLE = "source_unusable"
    OURS = "ours"


@dataclass(frozen=True, slots=True)
class Outcome:
    """The end of one attempt for one recipient. `kind` is the bounce class ("" when delivered),
    `reply` the server's words when it spoke, `text` one line for people in every case, `trouble` what
    went wrong when no reply says it. `untouched`: this was no attempt at all, the recipient may be
    tried again at once and nothing is counted against it. A reply rule may have decided: `rule` is its
    "name (file:line)", `again_s` its wait in place of the schedule's."""

    verdict: Verdict
    scope: Scope
    phase: Phase
    kind: str = ""
    reply: Reply | None = None
    text: str = ""
    trouble: Trouble | None = None
    untouched: bool = False
    again_s: float | None = None
    rule: str = ""

    @property
    def status(self) -> str:
        """The enhanced status code of a delivery report, as "5.1.1" (RFC 3463)."""
        return _status(self)


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the trouble table; `scope` None: as far as REACH says for the phase."""

    verdict: Verdict
    scope: Scope | None
    kind: Kind
    status: str
    text: str


_DELIVERED, _DEFERRED, _FAILED = Verdict.DELIVERED, Verdict.DEFERRED, Verdict.FAILED

# Phase × first digit. What is not here is not an answer to that phase: Trouble.PROTOCOL.
REPLIES: dict[tuple[Phase, int], tuple[Verdict, Scope]] = {
    (Phase.BANNER, 4): (_DEFERRED, Scope.HOST),
    (Phase.BANNER, 5): (_DEFERRED, Scope.HOST),  # RFC 5321 §3.1: 554 instead of 220
    (Phase.EHLO, 4): (_DEFERRED, Scope.HOST),
    (Phase.EHLO, 5): (_DEFERRED, Scope.HOST),
    (Phase.STARTTLS, 4): (_DEFERRED, Scope.HOST),
    (Phase.STARTTLS, 5): (_DEFERRED, Scope.HOST),
    (Phase.AUTH, 4): (_DEFERRED, Scope.HOST),
    (Phase.AUTH, 5): (_DEFERRED, Scope.HOST),  # our login is wrong, the mail is not
    (Phase.IDLE, 4): (_DEFERRED, Scope.SESSION),
    (Phase.IDLE, 5): (_DEFERRED, Scope.SESSION),
    (Phase.MAIL, 4): (_DEFERRED, Scope.MESSAGE),
    (Phase.MAIL, 5): (_FAILED, Scope.MESSAGE),
    (Phase.RCPT, 4): (_DEFERRED, Scope.RECIPIENT),
    (Phase.RCPT, 5): (_FAILED, Scope.RECIPIENT),
    (Phase.DATA, 4): (_DEFERRED, Scope.MESSAGE),
    (Phase.DATA, 5): (_FAILED, Scope.MESSAGE),
    (Phase.BODY, 4): (_DEFERRED, Scope.MESSAGE),
    (Phase.BODY, 5): (_FAILED, Scope.MESSAGE),
    (Phase.DOT, 2): (_DELIVERED, Scope.RECIPIENT),
    (Phase.DOT, 4): (_DEFERRED, Scope.MESSAGE),
    (Phase.DOT, 5): (_FAILED, Scope.MESSAGE),
    (Phase.RSET, 4): (_DEFERRED, Scope.SESSION),
    (Phase.RSET, 5): (_DEFERRED, Scope.SESSION),
}

# How far a broken conversation reaches: before it could carry mail the host is at fault, later only it.
REACH: dict[Phase, Scope] = {
    phase: Scope.HOST
    if phase in {Phase.CONNECT, Phase.BANNER, Phase.EHLO, Phase.STARTTLS, Phase.TLS, Phase.AUTH}
    else Scope.DESTINATION if phase is Phase.RESOLVE else Scope.SESSION
    for phase in Phase
}

TROUBLES: dict[Trouble, Row] = {
    Trouble.DNS_TEMPORARY: Row(_DEFERRED, Scope.DESTINATION, Kind.DNS_FAILURE, "4.4.3",
                               "the domain's name servers do not answer"),
    Trouble.NO_DOMAIN: Row(_FAILED, Scope.DESTINATION, Kind.BAD_DOMAIN, "5.1.2",
                           "the domain does not exist"),
    Trouble.NULL_MX: Row(_FAILED, Scope.DESTINATION, Kind.BAD_DOMAIN, "5.1.10",
                         "556 the domain accepts no mail: it has a null MX"),  # RFC 7505 §4.1
    Trouble.NO_ADDRESS: Row(_FAILED, Scope.DESTINATION, Kind.BAD_DOMAIN, "5.4.4",
                            "none of the domain's mail servers has an address"),  # RFC 5321 §5.1: an error
    Trouble.LOOP: Row(_FAILED, Scope.DESTINATION, Kind.PROTOCOL_ERRORS, "5.4.6",
                      "the domain's best mail server is this relay: mail would loop"),
    # deferred, not failed: a split DNS or a forgotten allow_targets is ours to repair before expiry
    Trouble.TARGET_FORBIDDEN: Row(_DEFERRED, Scope.DESTINATION, Kind.POLICY_RELATED, "4.4.4",
                                  "the domain's mail servers have private or loopback addresses; "
                                  "list them in delivery.allow_targets if that is meant"),
    Trouble.CONNECT_REFUSED: Row(_DEFERRED, Scope.HOST, Kind.CONNECTION_TLS, "4.4.1",
                                 "the host refused the connection"),
    Trouble.CONNECT_TIMEOUT: Row(_DEFERRED, Scope.HOST, Kind.CONNECTION_TLS, "4.4.1",
                                 "the host did not answer the connection"),
    Trouble.CONNECT_FAILED: Row(_DEFERRED, Scope.HOST, Kind.CONNECTION_TLS, "4.4.1",
                                "the host cannot be reached"),
    Trouble.TLS_REQUIRED_MISSING: Row(_DEFERRED, Scope.HOST, Kind.CONNECTION_TLS, "4.7.4",
                                      "TLS is required here and the host does not offer it"),
    Trouble.TLS_HANDSHAKE: Row(_DEFERRED, Scope.HOST, Kind.CONNECTION_TLS, "4.7.5",
                               "the TLS handshake failed"),
    Trouble.LOGIN_IMPOSSIBLE: Row(_DEFERRED, Scope.HOST, Kind.POLICY_RELATED, "4.7.0",
                                  "the host offers no login we may use: AUTH PLAIN or LOGIN over TLS"),
    Trouble.TIMEOUT: Row(_DEFERRED, None, Kind.CONNECTION_TLS, "4.4.2", "the host did not answer in time"),
    Trouble.LOST: Row(_DEFERRED, None, Kind.CONNECTION_TLS, "4.4.2", "the host closed the connection"),
    Trouble.LOST_AFTER_DOT: Row(_DEFERRED, Scope.SESSION, Kind.CONNECTION_TLS, "4.4.2",
                                "the connection was lost after the whole message was sent and before "
                                "the host's answer; it may have been delivered"),  # RFC 1047
    Trouble.PROTOCOL: Row(_DEFERRED, None, Kind.PROTOCOL_ERRORS, "4.5.0",
                          "the host does not speak SMTP as it should"),
    Trouble.NO_8BITMIME: Row(_FAILED, Scope.MESSAGE, Kind.PROTOCOL_ERRORS, "5.6.3",
                             "the message has 8-bit content and the host does not take it (no 8BITMIME); "
                             "stream setting eight_bit: encode converts such messages"),  # RFC 6152 §3
    Trouble.NO_SMTPUTF8: Row(_FAILED, Scope.MESSAGE, Kind.PROTOCOL_ERRORS, "5.6.7",
                             "an address or header field is not ASCII and the host does not take it "
                             "(no SMTPUTF8)"),  # RFC 6531 §3.5
    Trouble.TOO_LARGE: Row(_FAILED, Scope.MESSAGE, Kind.MESSAGE_TOO_LARGE, "5.3.4",
                           "the message is larger than the host accepts"),  # RFC 1870 §6
    Trouble.UNWRITABLE: Row(_FAILED, Scope.RECIPIENT, Kind.PROTOCOL_ERRORS, "5.5.4",
                            "an address or DSN parameter holds a character no command may contain"),
    Trouble.EXPIRED: Row(_FAILED, Scope.RECIPIENT, Kind.MESSAGE_EXPIRED, "4.4.7",
                         "the message could not be delivered in the time it had"),
    Trouble.CANCELLED: Row(_FAILED, Scope.RECIPIENT, Kind.POLICY_RELATED, "5.7.0",
                           "an operator of the relay cancelled the message"),
    Trouble.SOURCE_UNUSABLE: Row(_DEFERRED, Scope.SOURCE, Kind.UNCATEGORIZED, "4.3.5",
                                 "the relay's own source address cannot be used"),
    Trouble.OURS: Row(_DEFERRED, Scope.MESSAGE, Kind.UNCATEGORIZED, "4.3.0",
                      "a fault of the relay itself"),
}

# subject.detail a report gives for a reply without an enhanced code of its own (RFC 3463 §3)
_DETAILS: dict[str, str] = {
    Kind.INVALID_RECIPIENT: "1.1", Kind.BAD_DOMAIN: "1.2", Kind.INACTIVE_MAILBOX: "2.1",
    Kind.QUOTA_ISSUES: "2.2", Kind.MESSAGE_TOO_LARGE: "3.4", Kind.PROTOCOL_ERRORS: "5.0",
    Kind.RATE_LIMITED: "3.2", Kind.GREYLISTED: "7.1", Kind.CONNECTION_TLS: "4.2",
    Kind.TOO_MANY_RECIPIENTS: "5.3", Kind.POLICY_RELATED: "7.0",
}
_CLASS = {_DELIVERED: "2", _DEFERRED: "4", _FAILED: "5"}


def judge_reply(phase: Phase, reply: Reply) -> Outcome:
    """The outcome of a reply that ends something: a 4xx or 5xx anywhere, a 2xx to the final dot.
    Any other reply is no answer to that phase and is judged as Trouble.PROTOCOL."""
    found = REPLIES.get((phase, reply.code // 100))
    if found is None:
        return judge(Trouble.PROTOCOL, phase, f"{phase.value} answered with {reply}"[:TEXT_LENGTH])
    verdict, scope = found
    if verdict is _DELIVERED:
        return Outcome(verdict, scope, phase, "", reply, str(reply)[:TEXT_LENGTH])
    if reply.code == 421:  # the session ends, whatever was asked (RFC 5321 §3.8)
        scope = REACH[phase]
    kind = classify(reply, of_recipient=phase is Phase.RCPT)
    return Outcome(verdict, scope, phase, kind, reply, str(reply)[:TEXT_LENGTH])


def judge(trouble: Trouble, phase: Phase, text: str = "") -> Outcome:
    """The outcome of trouble without a reply; `text` replaces the table's own words."""
    row = TROUBLES[trouble]
    return Outcome(row.verdict, row.scope or REACH[phase], phase, row.kind,
                   text=(text or row.text)[:TEXT_LENGTH], trouble=trouble)


def _status(outcome: Outcome) -> str:
    digit = _CLASS[outcome.verdict]
    if outcome.trouble is not None:
        return TROUBLES[outcome.trouble].status
    # a 5xx that only defers (banner, EHLO) must not read as permanent, so the class follows the verdict
    if outcome.reply is not None and outcome.reply.enhanced:
        return digit + outcome.reply.enhanced[1:]
    return f"{digit}.{_DETAILS.get(outcome.kind, '0.0')}"
