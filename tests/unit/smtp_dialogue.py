"""SMTP dialogues as text, and a small receiver to talk to."""

from __future__ import annotations

from collections import deque

from relay.core.envelope import Recipient
from relay.core.outcome import Outcome, Verdict
from relay.smtp.client import Closed, Conversation, Delivery, Ready, Result, SendBody, StartTls
from relay.smtp.wire import stuff

OPENING = """
    S: 220 mx.example.net ESMTP
    C: EHLO relay.example.com
    S: 250-mx.example.net
    S: 250-PIPELINING
    S: 250-SIZE 1000000
    S: 250-8BITMIME
    S: 250-SMTPUTF8
    S: 250-DSN
    S: 250 ENHANCEDSTATUSCODES
"""
PLAIN_OPENING = """
    S: 220 mx.example.net ESMTP
    C: EHLO relay.example.com
    S: 250 mx.example.net
"""


def conversation(starttls=StartTls.OPPORTUNISTIC, **settings) -> Conversation:
    return Conversation(helo="relay.example.com", starttls=starttls, **settings)


def delivery(token="m1", *recipients: str, **settings) -> Delivery:
    named = tuple(Recipient(address) for address in recipients or ("bob@example.net",))
    return Delivery(**({"token": token, "sender": "ann@example.com", "recipients": named, "size": 1000}
                       | settings))


def dialogue(talk: Conversation, text: str) -> list:
    """Says the S: lines to the conversation and expects the C: lines from it; what happened."""
    happenings, expected = [], []
    for line in filter(None, (line.lstrip() for line in text.splitlines())):
        who, _, words = line.partition(": ")
        assert who in ("S", "C"), line
        if who == "C":
            expected.append(words)
            continue
        _compare(talk, expected)
        happenings += talk.receive(words.encode() + b"\r\n")
    _compare(talk, expected)
    return happenings


def _compare(talk: Conversation, expected: list[str]) -> None:
    said = talk.take_output().decode()
    assert said.splitlines() == expected
    assert said.count("\r\n") == len(expected)
    expected.clear()


def opened(text=OPENING, **settings) -> Conversation:
    talk = conversation(**settings)
    assert dialogue(talk, text) == [Ready()]
    return talk


def only(happenings: list) -> Outcome:
    """The outcome of the only recipient of the only Result."""
    results = [one for one in happenings if isinstance(one, Result)]
    assert len(results) == 1, happenings
    assert len(results[0].outcomes) == 1
    return results[0].outcomes[0]


def verdicts(result: Result) -> list[str]:
    return [outcome.verdict.value for outcome in result.outcomes]


class Receiver:
    """A server that follows SMTP, but whose answers are drawn from `plan`: a code for each command that
    may be refused, or 0 to hang up there. Remembers what it took in `taken`, as (token, address)."""

    def __init__(self, plan: list[int], *, pipelining: bool) -> None:
        self.plan = deque(plan)
        self.words = "250-PIPELINING\r\n250 DSN\r\n" if pipelining else "250 DSN\r\n"
        self.taken: set[tuple[str, str]] = set()
        self.mail = False
        self.rcpts: list[str] = []
        self.data: list[bytes] | None = None
        self.buffer = b""
        self.gone = False

    def draw(self, good: int) -> int:
        code = self.plan.popleft() if self.plan else 200
        return good if code == 200 else code

    def hear(self, data: bytes) -> bytes:
        self.buffer += data
        said = b""
        while b"\r\n" in self.buffer and not self.gone:
            line, self.buffer = self.buffer.split(b"\r\n", 1)
            assert b"\r" not in line
            assert b"\n" not in line
            said += self.text(line) if self.data is not None else self.command(line.decode())
        return said

    def text(self, line: bytes) -> bytes:
        if line != b".":
            self.data.append(line[1:] if line.startswith(b".") else line)
            return b""
        token = b"".join(self.data).decode()
        self.data = None
        code = self.draw(250)
        if code in (0, 250):  # 0: took it, and hung up before saying so
            self.taken |= {(token, address) for address in self.rcpts}
        self.mail, self.rcpts = False, []
        return self.say(code)

    def command(self, line: str) -> bytes:
        verb = line[:4]
        if verb == "EHLO":
            return b"250-mx\r\n" + self.words.encode()
        if verb == "QUIT":
            return self.say(221)
        if verb == "RSET":
            self.mail, self.rcpts = False, []
            return self.say(self.draw(250))
        if verb == "MAIL":
            return self.envelope(verb, line, allowed=not self.mail)
        return self.envelope(verb, line, allowed=self.mail)

    def envelope(self, verb: str, line: str, *, allowed: bool) -> bytes:
        if not allowed:
            return self.say(503)
        code = self.draw(354 if verb == "DATA" else 250)
        if code == 250 and verb == "MAIL":
            self.mail = True
        if code == 250 and verb == "RCPT":
            self.rcpts.append(line.split("<")[1].split(">", maxsplit=1)[0])
        if code == 354:
            self.data = []
        return self.say(code)

    def say(self, code: int) -> bytes:
        self.gone = code in (0, 221, 421)
        return b"" if code == 0 else b"%d words\r\n" % code


class Driver:
    """Sends deliveries through a conversation to a receiver, `cut` bytes at a time."""

    def __init__(self, receiver: Receiver, deliveries: list[Delivery], *, cut: int) -> None:
        self.talk = conversation(starttls=StartTls.NEVER)
        self.receiver, self.waiting, self.cut = receiver, deque(deliveries), cut
        self.results: dict[object, Result] = {}
        self.closed: Closed | None = None

    def run(self) -> None:
        self.hand_over(b"220 mx\r\n")
        for _ in range(10_000):
            if self.closed:
                return
            said = self.receiver.hear(self.talk.take_output())
            if said:
                self.hand_over(said)
            elif self.receiver.gone:
                self.act(self.talk.lost())
            else:
                self.act(self.talk.timed_out())
        raise AssertionError("no end")

    def hand_over(self, said: bytes) -> None:
        for at in range(0, len(said), self.cut):
            self.act(self.talk.receive(said[at:at + self.cut]))

    def act(self, happenings: list) -> None:
        for one in happenings:
            assert self.closed is None, "something after Closed"
            if isinstance(one, Result):
                assert one.token not in self.results, "a second Result"
                self.results[one.token] = one
            elif isinstance(one, Closed):
                self.closed = one
        for one in happenings:
            if isinstance(one, SendBody):
                self.send(one)
        if self.talk.can_begin:
            self.act(self.talk.begin(self.waiting.popleft()) if self.waiting else self.talk.quit())

    def send(self, wanted: SendBody) -> None:
        self.hand_over(self.receiver.hear(self.talk.take_output()))
        self.pending = self.receiver.hear(b"".join(stuff([str(wanted.token).encode()])))
        following = self.waiting.popleft() if self.waiting else None
        self.act(self.talk.body_sent(following))
        self.hand_over(self.pending)

    def delivered(self) -> set[tuple[object, str]]:
        return {(token, f"{token}-{index}@example.net") for token, result in self.results.items()
                for index, outcome in enumerate(result.outcomes) if outcome.verdict is Verdict.DELIVERED}
