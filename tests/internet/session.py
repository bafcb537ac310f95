"""One connection to a provider's host: made to take some thousand messages a second in one process."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Protocol, cast

from tests.internet.memory import Memory
from tests.internet.words import on_the_wire

BODY_END, LINE_END = b"\r\n.\r\n", b"\r\n"
FEATURES = b"".join(b"250-%s\r\n" % name for name in (b"PIPELINING", b"8BITMIME", b"SMTPUTF8", b"SIZE 104857600"))
OK = b"250 2.0.0 Ok\r\n"


class Log(Protocol):
    """Who hears what happens; `at` and `answered` are time.monotonic(). `received` comes with the answer to a
    message, its `at` is that of its last byte."""

    def opened(self, at: float, host: str, client: str) -> int: ...

    def closed(self, at: float, session: int) -> None: ...

    def refused(self, at: float, session: int, phase: str, reply: str) -> None: ...

    def received(
        self, at: float, session: int, sender: str, recipients: list[str], answered: float, message: bytes
    ) -> None: ...


class Session(asyncio.Protocol):
    """Answers in order; while it thinks (`message_s`, `banner_s`) it reads on and does nothing."""

    def __init__(self, host: str, memory: Memory, log: Log) -> None:
        self._host, self._memory, self._log = host, memory, log
        self._provider = memory.provider
        self._held = bytearray()
        self._looked = 0  # so far no end was found in what is held
        self._in_body = self._thinking = self._over = False
        self._sender: str | None = None
        self._recipients: list[str] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport, now = cast(asyncio.Transport, transport), time.monotonic()
        self._client = self.transport.get_extra_info("peername")[0]
        self._session = self._log.opened(now, self._host, self._client)
        if refusal := self._memory.connect(self._client, now):
            self._write([self._no("banner", refusal)])
            self._end()
        elif self._provider.banner_s:
            self._think(self._provider.banner_s, self._greet)
        else:
            self._greet()

    def connection_lost(self, exc: Exception | None) -> None:
        self._end()

    def data_received(self, data: bytes) -> None:
        self._held += data
        if not self._thinking and not self._over:
            self._go_on()

    def _greet(self) -> None:
        self._write([b"220 %s ESMTP\r\n" % self._host.encode()])

    def _think(self, seconds: float, then: Callable[[], None]) -> None:
        self._thinking = True
        asyncio.get_running_loop().call_later(seconds, self._thought, then)

    def _thought(self, then: Callable[[], None]) -> None:
        self._thinking = False
        if not self._over:
            then()
            self._go_on()

    def _go_on(self) -> None:
        """Takes every command and message that is complete, and answers all of them in one write."""
        replies: list[bytes] = []
        while not self._thinking and not self._over:
            mark = BODY_END if self._in_body else LINE_END
            end = self._held.find(mark, max(0, self._looked - len(mark)))
            if end < 0:
                self._looked = len(self._held)
                break
            taken, self._looked = bytes(self._held[:end]), 0
            del self._held[: end + len(mark)]
            replies.append(self._message(taken[2:] + LINE_END) if self._in_body else self._command(taken))
        self._write(replies)
        if replies and replies[-1][:3] in {b"221", b"421"}:
            self._end()

    def _command(self, line: bytes) -> bytes:
        match line[:4].upper():
            case b"EHLO":
                self._reset()
                return b"250-%s\r\n%s250 ENHANCEDSTATUSCODES\r\n" % (self._host.encode(), FEATURES)
            case b"MAIL":
                return self._mail(_address(line))
            case b"RCPT":
                return self._recipient(_address(line))
            case b"DATA":
                if not self._recipients:
                    return b"503 5.5.1 no recipients\r\n"
                self._in_body = True
                self._held[:0] = LINE_END  # so that a dot in the first line ends it too
                return b"354 go ahead\r\n"
            case b"QUIT":
                return b"221 2.0.0 Bye\r\n"
            case b"HELO" | b"RSET" | b"NOOP":
                self._reset()
                return OK
        return b"502 5.5.1 unknown\r\n"

    def _mail(self, sender: str) -> bytes:
        self._reset()
        if refusal := self._memory.mail(self._client, time.monotonic()):
            return self._no("mail", refusal)
        self._sender = sender
        return OK

    def _recipient(self, address: str) -> bytes:
        if self._sender is None:
            return b"503 5.5.1 MAIL first\r\n"
        if refusal := self._memory.recipient(self._client, self._sender, address, time.monotonic()):
            return self._no("rcpt", refusal)
        self._recipients.append(address)
        return OK

    def _message(self, message: bytes) -> bytes:
        at, self._in_body = time.monotonic(), False
        self._memory.accept(self._client)
        if self._provider.message_s:
            self._think(self._provider.message_s, lambda: self._write([self._taken(at, message)]))
            return b""
        return self._taken(at, message)

    def _taken(self, at: float, message: bytes) -> bytes:
        sender, recipients = self._sender or "", self._recipients
        self._reset()
        self._log.received(at, self._session, sender, recipients, time.monotonic(), message)
        return OK

    def _no(self, phase: str, reply: str) -> bytes:
        self._log.refused(time.monotonic(), self._session, phase, reply)
        return on_the_wire(reply)

    def _reset(self) -> None:
        self._sender, self._recipients = None, []

    def _write(self, replies: list[bytes]) -> None:
        if replies and not self.transport.is_closing():
            self.transport.write(b"".join(replies))

    def _end(self) -> None:
        """Counts as gone from the moment it said goodbye: the client may come again at once."""
        if not self._over:
            self._over = True
            self._memory.leave(self._client)
            self._log.closed(time.monotonic(), self._session)
            self.transport.close()


def _address(line: bytes) -> str:
    return line.partition(b"<")[2].partition(b">")[0].decode("utf-8", "replace")
