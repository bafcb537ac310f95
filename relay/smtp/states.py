"""The client's state machine as a table, and the diagram made from it.

Events ending in _ are what the driver does; the others are what the server's words or silence come to.
An event that is not in the table for a state is a fault of the driver: IllegalEvent names both.
"""

from __future__ import annotations

from enum import Enum


class State(Enum):
    """Where a session stands."""

    GREETING = "greeting"
    EHLO = "ehlo"
    HELO = "helo"
    STARTTLS = "starttls"
    HANDSHAKE = "handshake"
    LOGIN = "login"
    IDLE = "idle"
    ENVELOPE = "envelope"
    BODY = "body"
    DOT = "dot"
    QUITTING = "quitting"
    CLOSED = "closed"

    __hash__ = object.__hash__  # members are single; Enum's own hash is Python code on the hot path


class Event(Enum):
    """What moves it."""

    GREETED = "220"
    EHLO_REFUSED = "EHLO 5xx"
    TLS_WANTED = "STARTTLS sent"
    TLS_GRANTED = "220 to STARTTLS"
    TLS_DONE_ = "tls_done()"
    TLS_FAILED_ = "tls_failed()"
    LOGIN_WANTED = "AUTH sent"
    READY = "session ready"
    BEGIN_ = "begin()"
    GO_AHEAD = "354"
    NOBODY_LEFT = "354, no recipient: lone dot"
    BODY_SENT_ = "body_sent()"
    OVER = "transaction over"
    NEXT = "dot answered, next under way"
    GIVE_UP = "trouble, QUIT sent"
    QUIT_ = "quit()"
    CLOSE = "closed"

    __hash__ = object.__hash__


_S, _E = State, Event

TABLE: dict[tuple[State, Event], State] = {
    (_S.GREETING, _E.GREETED): _S.EHLO,
    (_S.EHLO, _E.EHLO_REFUSED): _S.HELO,  # RFC 5321 §3.2: old servers know HELO only
    (_S.EHLO, _E.TLS_WANTED): _S.STARTTLS,
    (_S.EHLO, _E.LOGIN_WANTED): _S.LOGIN,
    (_S.EHLO, _E.READY): _S.IDLE,
    (_S.HELO, _E.READY): _S.IDLE,
    (_S.STARTTLS, _E.TLS_GRANTED): _S.HANDSHAKE,
    (_S.STARTTLS, _E.LOGIN_WANTED): _S.LOGIN,  # refused, and TLS was only an opportunity
    (_S.STARTTLS, _E.READY): _S.IDLE,
    (_S.HANDSHAKE, _E.TLS_DONE_): _S.EHLO,  # RFC 3207 §4.2: begin again
    (_S.HANDSHAKE, _E.TLS_FAILED_): _S.CLOSED,
    (_S.LOGIN, _E.READY): _S.IDLE,
    (_S.IDLE, _E.BEGIN_): _S.ENVELOPE,
    (_S.IDLE, _E.QUIT_): _S.QUITTING,
    (_S.ENVELOPE, _E.GO_AHEAD): _S.BODY,
    (_S.ENVELOPE, _E.NOBODY_LEFT): _S.DOT,  # RFC 2920 §3.1
    (_S.ENVELOPE, _E.OVER): _S.IDLE,
    (_S.BODY, _E.BODY_SENT_): _S.DOT,
    (_S.DOT, _E.OVER): _S.IDLE,
    (_S.DOT, _E.NEXT): _S.ENVELOPE,
} | {
    # only a server that still follows the protocol is told goodbye (RFC 5321 §4.1.1.10)
    (state, _E.GIVE_UP): _S.QUITTING
    for state in (_S.GREETING, _S.EHLO, _S.HELO, _S.STARTTLS, _S.LOGIN, _S.ENVELOPE)
} | {
    (state, _E.CLOSE): _S.CLOSED for state in State if state is not _S.CLOSED
}


class IllegalEvent(Exception):
    """The driver asked for something the session's state has no room for."""


def advance(state: State, event: Event) -> State:
    """The state after `event`; raises IllegalEvent naming both."""
    try:
        return TABLE[state, event]
    except KeyError:
        raise IllegalEvent(f"{event.value} is not possible in state {state.value}") from None


def diagram() -> str:
    """The table as a Mermaid state diagram; transitions to `closed` exist from everywhere and are left
    out but for those from `quitting`."""
    lines = ["stateDiagram-v2", f"    [*] --> {State.GREETING.value}"]
    for (state, event), after in TABLE.items():
        if event is not Event.CLOSE or state is State.QUITTING:
            lines.append(f"    {state.value} --> {after.value}: {event.value}")
    lines.append(f"    {State.CLOSED.value} --> [*]")
    return "\n".join(lines) + "\n"
