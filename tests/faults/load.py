"""Clients that send numbered messages as fast as they are answered, and what became of each."""

from __future__ import annotations

import re
import smtplib
import threading
import time
from collections import Counter
from collections.abc import Iterable

from tests.peers.receiver import Message
from tests.peers.relay import QUEUED_ID, Relay

SENDER, YOU = "shop@shop.test", "you@r10.receivers.test"
NUMBER = re.compile(rb"^X-Number: (\S+)\r\n", re.MULTILINE)
LINE = b"y" * 70 + b"\r\n"
SMALL, LARGE = 2_000, 300_000  # the larger ones go to the spool


def message(number: str, size: int) -> bytes:
    """A message that tells its number."""
    head = f"From: {SENDER}\r\nSubject: x\r\nX-Number: {number}\r\n\r\n"
    return head.encode() + LINE * (size // len(LINE))


def numbers(messages: Iterable[Message]) -> list[str]:
    """The numbers of what a receiver got."""
    found = (NUMBER.search(one.data) for one in messages)
    return [one[1].decode() for one in found if one]


class Client(threading.Thread):
    """Sends until told to stop. `answered` is number to id of what the relay took responsibility for, `refused`
    counts what it said instead, `waited_s` the time from the first byte of a message to its reply."""

    def __init__(
        self, relay: Relay, name: str, *, to: str = YOU, keep: bool = True, large_every: int = 20, pause_s: float = 0.0
    ) -> None:  # fmt: skip
        super().__init__(daemon=True)
        self.relay, self.label, self.to = relay, name, to
        self.keep, self.large_every, self.pause_s = keep, large_every, pause_s
        self.answered: dict[str, str] = {}
        self.refused: Counter[str] = Counter()
        self.waited_s: list[float] = []
        self.sent, self.broken, self.stopping = 0, 0, threading.Event()
        self.most = 1 << 60

    def run(self) -> None:
        while not self.stopping.is_set() and self.sent < self.most:
            try:
                with smtplib.SMTP("127.0.0.1", self.relay.smtp_port, "app.shop.test", timeout=60) as smtp:
                    smtp.ehlo()
                    self.one(smtp)
                    while self.keep and not self.stopping.wait(self.pause_s) and self.sent < self.most:
                        self.one(smtp)
            except (OSError, smtplib.SMTPException):
                self.broken += 1
                self.stopping.wait(0.02)  # it is dead, or about to be

    def one(self, smtp: smtplib.SMTP) -> None:
        """One transaction; a refusal is counted, a connection that ends raises."""
        self.sent += 1
        number, size = f"{self.label}.{self.sent}", LARGE if self.sent % self.large_every == 0 else SMALL
        begun = time.monotonic()
        for verb in (f"MAIL FROM:<{SENDER}>", f"RCPT TO:<{self.to}>", "DATA"):
            code, words = smtp.docmd(verb)
            if code not in {250, 354}:
                self._refused(code, words)
                smtp.rset()
                return
        smtp.send(message(number, size) + b".\r\n")
        code, words = smtp.getreply()
        self.waited_s.append(time.monotonic() - begun)
        if code == 250 and (found := QUEUED_ID.search(words.decode())):
            self.answered[number] = found[1]
        else:
            self._refused(code, words)

    def _refused(self, code: int, words: bytes) -> None:
        enhanced = words.decode().split(" ")[0]
        self.refused[f"{code} {enhanced}"] += 1
        self.stopping.wait(0.02)


class Load:
    """Some clients together."""

    def __init__(self, clients: Iterable[Client]) -> None:
        self.clients = list(clients)

    def __enter__(self) -> Load:
        for client in self.clients:
            client.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Ends after the message under way."""
        for client in self.clients:
            client.stopping.set()
        self.join()

    def join(self) -> None:
        """Waits until every client has sent what it was to send."""
        for client in self.clients:
            client.join(90)
            assert not client.is_alive(), f"client {client.label} hangs"

    @property
    def answered(self) -> dict[str, str]:
        """Number to id of everything answered 250."""
        return {number: id_ for client in self.clients for number, id_ in client.answered.items()}

    @property
    def refused(self) -> Counter[str]:
        """What was said instead, by code and enhanced code."""
        return sum((client.refused for client in self.clients), Counter())


def clients(relay: Relay, count: int = 4, *, name: str = "c", **options: object) -> Load:
    """A load of that many clients; two loads of one relay need names."""
    return Load(Client(relay, f"{name}{number}", **options) for number in range(count))  # type: ignore[arg-type]
