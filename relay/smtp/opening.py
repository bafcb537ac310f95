"""From the banner to a session that can carry mail: EHLO, STARTTLS, login."""

from __future__ import annotations

from collections.abc import Callable

from relay.core.outcome import Phase, Trouble, judge, judge_reply
from relay.core.reply import Reply
from relay.smtp import capabilities
from relay.smtp.happenings import Ready
from relay.smtp.login import login_lines
from relay.smtp.session import Session, StartTls
from relay.smtp.states import Event, State


def say_ehlo(session: Session) -> None:
    """EHLO with our name; whatever was known of the server is forgotten."""
    session.capabilities = capabilities.NONE
    session.write(b"EHLO " + session.helo)


def _greeted(session: Session, reply: Reply) -> None:
    if reply.severity == 2:
        session.move(Event.GREETED)
        say_ehlo(session)
    else:
        session.give_up(judge_reply(Phase.BANNER, reply))


def _ehlo_answered(session: Session, reply: Reply) -> None:
    if reply.severity == 5:  # RFC 5321 §3.2: a server that does not know EHLO
        session.move(Event.EHLO_REFUSED)
        session.write(b"HELO " + session.helo)
    elif reply.severity != 2:
        session.give_up(judge_reply(Phase.EHLO, reply))
    else:
        session.capabilities = capabilities.parse(reply)
        if session.capabilities.starttls and not session.tls and session.starttls is not StartTls.NEVER:
            session.move(Event.TLS_WANTED)
            session.write(b"STARTTLS")
        else:
            _introduced(session)


def _helo_answered(session: Session, reply: Reply) -> None:
    if reply.severity == 2:
        _introduced(session)
    else:
        session.give_up(judge_reply(Phase.EHLO, reply))


def _starttls_answered(session: Session, reply: Reply) -> None:
    if reply.severity == 2:
        session.move(Event.TLS_GRANTED)
    elif session.starttls is StartTls.REQUIRED:
        session.give_up(judge(Trouble.TLS_REQUIRED_MISSING, Phase.STARTTLS,
                              f"TLS is required here and the host refuses it: {reply}"))
    else:
        _introduced(session)


def _introduced(session: Session) -> None:
    """Names are exchanged and TLS is settled: log in, or be ready."""
    if session.starttls is StartTls.REQUIRED and not session.tls:
        session.give_up(judge(Trouble.TLS_REQUIRED_MISSING, Phase.STARTTLS))
    elif session.login is None:
        _ready(session)
    else:
        session.login_lines = login_lines(session.login, session.capabilities.auth, tls=session.tls)
        if session.login_lines:
            session.move(Event.LOGIN_WANTED)
            session.write(session.login_lines.pop(0))
        else:
            session.give_up(judge(Trouble.LOGIN_IMPOSSIBLE, Phase.AUTH))


def _login_answered(session: Session, reply: Reply) -> None:
    if reply.severity == 2:
        _ready(session)
    elif reply.severity == 3 and session.login_lines:
        session.write(session.login_lines.pop(0))
    elif reply.severity == 3:
        session.broken(judge_reply(Phase.AUTH, reply))
    else:
        session.give_up(judge_reply(Phase.AUTH, reply))


def _ready(session: Session) -> None:
    session.move(Event.READY)
    session.happenings.append(Ready())


OPENING: dict[State, Callable[[Session, Reply], None]] = {
    State.GREETING: _greeted,
    State.EHLO: _ehlo_answered,
    State.HELO: _helo_answered,
    State.STARTTLS: _starttls_answered,
    State.LOGIN: _login_answered,
}
