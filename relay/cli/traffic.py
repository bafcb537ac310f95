"""A small source and a small sink of mail, in one event loop: times are taken at both ends by one clock."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import cast

SENDER, RECIPIENT = "a@example.com", "b@example.net"
BODY_END, LINE_END = b"\r\n.\r\n", b"\r\n"


class Refusal(Exception):
    """A reply other than the one expected."""


class Sink:
    """Takes everything; calls `arrived(recipient, message, at)` for each, at = time.monotonic() of its last byte."""

    def __init__(self, arrived: Callable[[str, bytes, float], None]) -> None:
        self._arrived = arrived
        self._server: asyncio.Server | None = None
        self._sessions: set[asyncio.Transport] = set()

    async def start(self, port: int) -> None:
        """Listens on 127.0.0.1."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: _Session(self._arrived, self._sessions), "127.0.0.1", port, backlog=1000, reuse_address=True
        )

    async def stop(self) -> None:
        """Closes the port and every connection."""
        if self._server is not None:
            self._server.close()
        for transport in list(self._sessions):
            transport.abort()
        await asyncio.sleep(0)  # lets them go


class _Session(asyncio.Protocol):
    """One connection to the sink: commands line by line, a message up to its dot."""

    def __init__(
        self, arrived: Callable[[str, bytes, float], None], sessions: set[asyncio.Transport]
    ) -> None:  # fmt: skip
        self._arrived, self._sessions = arrived, sessions
        self._held, self._in_body, self._recipient = b"", False, ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by class
        self._sessions.add(self._transport)
        self._transport.write(b"220 sink ESMTP\r\n")

    def connection_lost(self, exc: Exception | None) -> None:
        self._sessions.discard(self._transport)

    def data_received(self, data: bytes) -> None:
        self._held += data
        replies = []
        while (end := self._held.find(BODY_END if self._in_body else LINE_END)) >= 0:
            if self._in_body:
                message, self._held = self._held[2 : end + 2], self._held[end + 5 :]
                self._in_body = False
                self._arrived(self._recipient, message, time.monotonic())
                replies.append(b"250 2.0.0 Ok\r\n")
            else:
                line, self._held = self._held[:end], self._held[end + 2 :]
                replies.append(self._answer(line))
        self._transport.write(b"".join(replies))
        if replies and replies[-1].startswith(b"221"):
            self._transport.close()

    def _answer(self, line: bytes) -> bytes:
        match line[:4].upper():
            case b"EHLO":
                return b"250-sink\r\n250-PIPELINING\r\n250 8BITMIME\r\n"
            case b"RCPT":
                self._recipient = line.partition(b"<")[2].partition(b">")[0].decode()
            case b"DATA":
                self._in_body = True
                self._held = LINE_END + self._held  # so that a dot in the first line ends it too
                return b"354 go ahead\r\n"
            case b"QUIT":
                return b"221 2.0.0 Bye\r\n"
        return b"250 2.0.0 Ok\r\n"


class Client:
    """One connection to a server under test, every command in a round trip of its own, as old programs do."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self.answer_s = 0.0

    @classmethod
    async def connect(cls, port: int) -> Client:
        """Connected to 127.0.0.1 and greeted."""
        client = cls(*await asyncio.open_connection("127.0.0.1", port))
        await client._expect(b"220")
        await client._say(b"EHLO app.example.com\r\n", b"250")
        return client

    async def send(self, recipient: str, message: bytes, sender: str = SENDER) -> float:
        """One transaction; returns time.monotonic() of its 250. `answer_s` is then what the 250 took from the moment
        the whole message was written."""
        await self._say(b"MAIL FROM:<%s>\r\n" % sender.encode(), b"250")
        await self._say(b"RCPT TO:<%s>\r\n" % recipient.encode(), b"250")
        await self._say(b"DATA\r\n", b"354")
        begun = time.monotonic()
        await self._say(message + b".\r\n", b"250")
        self.answer_s = time.monotonic() - begun
        return begun + self.answer_s

    async def quit(self) -> None:
        """Ends the session."""
        await self._say(b"QUIT\r\n", b"221")
        self.close()

    def close(self) -> None:
        """Ends the connection."""
        self._writer.close()

    async def _say(self, line: bytes, wanted: bytes) -> None:
        self._writer.write(line)
        await self._expect(wanted)

    async def _expect(self, wanted: bytes) -> None:
        while (line := await self._reader.readline())[3:4] == b"-":
            pass
        if not line.startswith(wanted):
            raise Refusal(f"expected {wanted.decode()}, got {line.decode(errors='replace').strip() or 'the end'}")


def message(number: int, size: int, sender: str = SENDER) -> bytes:
    """A message of about that many bytes on the wire, its own number in it."""
    head = (f"From: <{sender}>\r\nTo: <{RECIPIENT}>\r\nSubject: your code is {number:06d}\r\n"
            f"Date: Sat, 28 Feb 2026 12:00:00 +0000\r\nMessage-ID: <{number}@app.example.com>\r\n\r\n")  # fmt: skip
    return head.encode() + (b"x" * 70 + b"\r\n") * max(1, (size - len(head)) // 72)


@dataclass(frozen=True, slots=True)
class Load:
    """So many messages of `size` bytes from `sender` by `sessions` at a time, on kept connections or one each."""

    count: int
    size: int
    sessions: int
    keep: bool
    sender: str = SENDER


async def send_many(port: int, load: Load, answered: Callable[[float], None] = lambda _: None) -> None:
    """Sends a load; `answered` hears of each 250 how many seconds it took. Raises Refusal or OSError."""
    numbers = iter(range(load.count))

    async def session() -> None:
        client: Client | None = None
        try:
            for number in numbers:
                client = client or await Client.connect(port)
                await client.send(f"{number}{RECIPIENT}", message(number, load.size, load.sender), load.sender)
                answered(client.answer_s)
                if not load.keep:
                    await client.quit()
                    client = None
            if client is not None:
                await client.quit()
        finally:
            if client is not None:
                with suppress(OSError):
                    client.close()

    async with asyncio.TaskGroup() as group:
        for _ in range(load.sessions):
            group.create_task(session())
