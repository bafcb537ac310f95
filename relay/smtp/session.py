"""The state of one session, shared by its three halves: opening, exchange, ending."""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from enum import Enum

from relay.core.outcome import TROUBLES, Outcome, Phase, Trouble, judge
from relay.smtp import capabilities
from relay.smtp.happenings import Closed, Happening, Result
from relay.smtp.login import Login
from relay.smtp.states import Event, State, advance
from relay.smtp.transaction import Delivery, Entry, Transaction


class StartTls(Enum):
    """Whether to ask for TLS inside the session."""

    OPPORTUNISTIC = "opportunistic"
    REQUIRED = "required"
    NEVER = "never"


_PHASES = {
    State.GREETING: Phase.BANNER, State.EHLO: Phase.EHLO, State.HELO: Phase.EHLO,
    State.STARTTLS: Phase.STARTTLS, State.HANDSHAKE: Phase.TLS, State.LOGIN: Phase.AUTH,
    State.IDLE: Phase.IDLE, State.BODY: Phase.BODY, State.QUITTING: Phase.QUIT, State.CLOSED: Phase.QUIT,
}
# where a QUIT would be read as something else: as message text, TLS, or an answer to a challenge
_NO_QUIT = frozenset({State.BODY, State.DOT, State.HANDSHAKE, State.LOGIN})


class Session:
    """Everything a session remembers. Only the modules of this package touch it."""

    __slots__ = (
        "capabilities", "current", "ending", "expected", "happenings", "helo", "login", "login_lines",
        "next", "out", "progress", "reset_due", "sent", "starttls", "state", "steps", "tls",
    )

    def __init__(self, helo: str, starttls: StartTls, login: Login | None, *, secured: bool) -> None:
        self.helo = helo.encode("ascii")
        self.starttls = starttls
        self.login = login
        self.login_lines: list[bytes] = []
        self.tls = secured
        self.capabilities = capabilities.NONE
        self.state = State.GREETING
        self.steps = 0
        self.out = b""  # not yet taken by the driver
        self.happenings: list[Happening] = []
        self.expected: deque[Entry] = deque()  # replies still owed, in order
        self.current: Transaction | None = None  # before its dot
        self.sent: Transaction | None = None  # after its dot
        self.next: Delivery | None = None  # to begin once the dot is answered
        self.reset_due = False
        self.progress = False  # some dot was answered: this session has carried mail
        self.ending: Outcome | None = None  # what Closed will say after QUIT

    @property
    def phase(self) -> Phase:
        """What is waited for."""
        return self.expected[0][0] if self.expected else _PHASES[self.state]

    def move(self, event: Event) -> None:
        """Goes where the table says; raises IllegalEvent."""
        self.state = advance(self.state, event)

    def write(self, line: bytes) -> None:
        """Adds a command to the output."""
        self.out += line + b"\r\n"

    def told(self) -> list[Happening]:
        """What has happened since the last call."""
        happenings, self.happenings = self.happenings, []
        return happenings

    def tell_result(self, transaction: Transaction) -> None:
        """Ends a delivery whose recipients all have their outcome."""
        self.happenings.append(
            Result(transaction.delivery.token, transaction.settled, self.capabilities.dsn))

    # --- endings ---------------------------------------------------------------------------------

    def give_up(self, outcome: Outcome) -> None:
        """Before any message: QUIT; Closed follows with the reply to it (RFC 5321 §4.1.1.10)."""
        self.move(Event.GIVE_UP)
        self.ending = outcome
        self.write(b"QUIT")

    def broken(self, outcome: Outcome) -> None:
        """The server does not follow the protocol: say QUIT where it cannot be misread, wait for nothing."""
        unread = any(phase in (Phase.DATA, Phase.DOT) for phase, _ in self.expected)
        if self.state not in _NO_QUIT and not unread:
            self.write(b"QUIT")
        self.close(outcome)

    def close(self, outcome: Outcome | None, *, refused: bool = False) -> None:
        """Ends the session and every delivery in it. `refused`: `outcome` is the server's own reply,
        which then also answers a dot that was waiting for one."""
        behind_a_dot = self.sent is not None
        if self.sent is not None:
            self._end(self.sent, self._after_dot(outcome, refused=refused))
        if outcome is not None:
            if self.current is not None:
                # a session that has carried mail ends as sessions do; one that never did was an attempt,
                # and must be counted, or a host that always hangs up would be asked for ever
                self._end(self.current, replace(outcome, untouched=self.progress or behind_a_dot))
            if self.next is not None:
                outcomes = (replace(outcome, untouched=True),) * len(self.next.recipients)
                self.happenings.append(Result(self.next.token, outcomes, False))
        self.sent = self.current = self.next = None
        self.expected.clear()
        self.move(Event.CLOSE)
        self.happenings.append(Closed(outcome))

    def _end(self, transaction: Transaction, outcome: Outcome) -> None:
        transaction.finish(outcome)
        self.tell_result(transaction)

    @staticmethod
    def _after_dot(outcome: Outcome | None, *, refused: bool) -> Outcome:
        assert outcome is not None  # only a session without mail under way says QUIT
        if refused:
            return outcome
        text = f"{TROUBLES[Trouble.LOST_AFTER_DOT].text} ({outcome.text})"
        return judge(Trouble.LOST_AFTER_DOT, Phase.DOT, text)
