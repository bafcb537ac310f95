"""The outbound SMTP conversation without I/O: bytes in, bytes and happenings out.

1. `receive` reads replies and moves the session: banner, EHLO, STARTTLS, login, idle.
2. `begin` writes MAIL, RCPT and DATA, in one group where the server has PIPELINING (RFC 2920).
3. SendBody: the driver writes the body with its final dot and calls `body_sent(next, rest)`, where `rest` is what
   it has not written itself; the next message's commands go out behind the dot, in the same write, so that a
   message costs one round trip in steady state.
4. Each delivery ends in exactly one Result, each session in exactly one Closed, whatever the server does.

The driver's part: write `take_output()` after every call, the last time after Closed; call `timed_out` when
`timeout_s` has passed since `steps` last changed (while the body is sent: since a block was taken); call
`lost` when the connection ends; call `body_sent` in the same step that writes the dot, before waiting.
"""

from __future__ import annotations

from relay.core.outcome import Phase, Trouble, judge, judge_reply
from relay.core.reply import Reply
from relay.smtp.capabilities import Capabilities
from relay.smtp.exchange import answered, interrupted, start
from relay.smtp.happenings import Closed, Happening, Ready, Result, SendBody, WantTls
from relay.smtp.login import Login
from relay.smtp.opening import OPENING, say_ehlo
from relay.smtp.session import Session, StartTls
from relay.smtp.states import Event, State, advance
from relay.smtp.timeouts import Timeouts
from relay.smtp.transaction import Delivery
from relay.smtp.wire import ReplyReader

__all__ = ["Closed", "Conversation", "Delivery", "Happening", "Login", "Ready", "Result", "SendBody",
           "StartTls", "Timeouts", "WantTls"]


class Conversation:
    """One session with one server. `helo` is our name, ASCII. `secured`: the connection is TLS from its
    first byte (port 465). Raises ValueError for a `helo` that no command may contain."""

    __slots__ = ("_reader", "_session", "_timeouts")

    def __init__(self, *, helo: str, starttls: StartTls, login: Login | None = None,
                 timeouts: Timeouts | None = None, secured: bool = False) -> None:
        if not (helo.isascii() and helo.isprintable()) or not helo or " " in helo:
            raise ValueError(f"not a name for EHLO: {helo!r}")
        self._session = Session(helo, starttls, login, secured=secured)
        self._timeouts = timeouts or Timeouts()
        self._reader = ReplyReader()

    @property
    def can_begin(self) -> bool:
        """Whether `begin` is possible."""
        return self._session.state is State.IDLE

    @property
    def closed(self) -> bool:
        """Whether Closed has been told."""
        return self._session.state is State.CLOSED

    @property
    def capabilities(self) -> Capabilities:
        """What the server announced in the EHLO that counts now."""
        return self._session.capabilities

    @property
    def tls(self) -> bool:
        """Whether the session is encrypted."""
        return self._session.tls

    @property
    def steps(self) -> int:
        """Grows with each reply read and each call that moves the session; the timer starts anew then."""
        return self._session.steps

    @property
    def phase(self) -> Phase:
        """What is waited for."""
        return self._session.phase

    @property
    def timeout_s(self) -> float:
        """Seconds to wait in this phase, from the last change of `steps`."""
        return self._timeouts.of(self._session.phase)

    def take_output(self) -> bytes:
        """The bytes to write now; they are given once."""
        session = self._session
        data, session.out = session.out, b""
        return data

    def begin(self, delivery: Delivery) -> list[Happening]:
        """Starts a delivery in an idle session. A Result comes at once if it cannot succeed here."""
        session = self._session
        begun = advance(session.state, Event.BEGIN_)
        session.steps += 1
        if start(session, delivery):
            session.state = begun
        return session.told()

    def body_sent(self, following: Delivery | None = None, rest: bytes = b"") -> list[Happening]:
        """The body and its dot are written, but for `rest`, which `take_output` gives in front of what follows.
        `following` is begun behind the dot (RFC 2920 §3.1) or, without PIPELINING, after its reply; its Result
        comes at once if it cannot succeed here."""
        session = self._session
        session.out += rest
        session.move(Event.BODY_SENT_)
        session.steps += 1
        session.sent, session.current = session.current, None
        session.expected.append((Phase.DOT, 0))
        if following is not None:
            if session.capabilities.pipelining:
                start(session, following)
            else:
                session.next = following
        return session.told()

    def tls_done(self) -> list[Happening]:
        """The handshake succeeded; everything learnt before is forgotten (RFC 3207 §4.2)."""
        session = self._session
        session.move(Event.TLS_DONE_)
        session.steps += 1
        session.tls = True
        say_ehlo(session)
        return []

    def tls_failed(self, text: str) -> list[Happening]:
        """The handshake failed; the session is over. Where TLS was only an opportunity the engine may
        connect again with StartTls.NEVER."""
        self._session.move(Event.TLS_FAILED_)
        return [Closed(judge(Trouble.TLS_HANDSHAKE, Phase.TLS, text))]

    def quit(self) -> list[Happening]:
        """Says goodbye in an idle session; Closed follows with the reply. Nothing if it is ending already."""
        session = self._session
        if session.state not in (State.QUITTING, State.CLOSED):
            session.move(Event.QUIT_)
            session.steps += 1
            session.write(b"QUIT")
        return []

    def lost(self) -> list[Happening]:
        """The connection ended without our doing."""
        session = self._session
        if session.state is State.QUITTING:
            session.close(session.ending)
        elif session.state is not State.CLOSED:
            session.close(judge(Trouble.LOST, session.phase))
        return session.told()

    def timed_out(self) -> list[Happening]:
        """`timeout_s` has passed. An idle session says QUIT, every other one is over."""
        session = self._session
        if session.state is State.IDLE:
            return self.quit()
        if session.state in (State.QUITTING, State.CLOSED):
            return self.lost()
        text = f"no answer in phase {session.phase.value} within {self.timeout_s:g} seconds"
        session.close(judge(Trouble.TIMEOUT, session.phase, text))
        return session.told()

    def receive(self, data: bytes) -> list[Happening]:
        """Reads what the server sent."""
        session, reader = self._session, self._reader
        if session.state is State.CLOSED:
            return []
        shaking = session.state is State.HANDSHAKE
        for reply in reader.feed(data):
            _take(session, reply)
            if self.closed:
                return session.told()
        if reader.trouble:
            session.broken(judge(Trouble.PROTOCOL, session.phase, reader.trouble))
        elif session.state is State.HANDSHAKE:
            if reader.pending:  # RFC 3207 §4.2: nothing said in clear may count inside
                session.broken(judge(Trouble.PROTOCOL, Phase.STARTTLS,
                                     "bytes in clear after the reply to STARTTLS"))
            elif not shaking:
                session.happenings.append(WantTls())
        return session.told()


def _take(session: Session, reply: Reply) -> None:
    """One reply, whatever the state."""
    session.steps += 1
    state = session.state
    if (state is State.ENVELOPE or state is State.DOT) and reply.code != 421:
        answered(session, reply)
    elif state is State.QUITTING:
        session.close(session.ending)
    elif state is State.HANDSHAKE:
        session.broken(judge(Trouble.PROTOCOL, Phase.STARTTLS, "bytes in clear after the reply to STARTTLS"))
    elif reply.code == 421:  # RFC 5321 §3.8: at any time, and the server closes
        session.close(judge_reply(session.phase, reply), refused=True)
    elif state is State.BODY:
        interrupted(session, reply)
        session.broken(judge(Trouble.PROTOCOL, Phase.BODY, f"a reply before the final dot: {reply}"))
    elif state is State.IDLE:
        session.broken(judge(Trouble.PROTOCOL, Phase.IDLE, f"a reply nobody asked for: {reply}"))
    else:
        OPENING[state](session, reply)
