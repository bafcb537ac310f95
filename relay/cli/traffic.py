"""A small source and a small sink of mail, in one event loop: times are taken at both ends by one clock."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from tests.internet.behaviour import Provider
from tests.internet.memory import Memory
from tests.internet.session import Session

SENDER, RECIPIENT = "a@example.com", "b@example.net"


class Refusal(Exception):
    """A reply other than the one expected."""


class Sink:
    """Takes everything; calls `arrived(recipient, message, at)` for each, at = time.monotonic() of its last byte."""

    def __init__(self, arrived: Callable[[str, bytes, float], None]) -> None:
        self._log = _Arrivals(arrived)
        self._memory = Memory(Provider("sink", ()))
        self._server: asyncio.Server | None = None
        self._sessions: list[Session] = []

    async def start(self, port: int) -> None:
        """Listens on 127.0.0.1."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._session, "127.0.0.1", port, backlog=1000, reuse_address=True)

    def _session(self) -> Session:
        self._sessions.append(Session("sink", self._memory, self._log))
        return self._sessions[-1]

    async def stop(self) -> None:
        """Closes the port and every connection."""
        if self._server is not None:
            self._server.close()
        for session in self._sessions:
            session.transport.abort()
        await asyncio.sleep(0)  # lets them go


class _Arrivals:
    """The log of a sink: of messages only."""

    def __init__(self, arrived: Callable[[str, bytes, float], None]) -> None:
        self._arrived = arrived

    def opened(self, at: float, host: str, client: str) -> int:
        return 0

    def closed(self, at: float, session: int) -> None:
        pass

    def refused(self, at: float, session: int, phase: str, reply: str) -> None:
        raise AssertionError(f"a sink refuses nothing, yet it said {reply}")

    def received(
        self, at: float, session: int, sender: str, recipients: list[str], answered: float, message: bytes
    ) -> None:  # fmt: skip
        self._arrived(recipients[-1], message, at)


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
