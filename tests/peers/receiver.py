"""A receiving server that does what a script tells it, however wrong, and records what it saw.

`answers` maps a phase (banner ehlo helo starttls mail rcpt data dot rset noop quit) to what it answers, in
order; when they are used up it answers as a good server does. An answer is a reply in bytes, HANG, DROP,
`later(seconds, reply)` or `endless(reply)`; `always(answer)` never ends. For rcpt the key may also be "rcpt ADDRESS".
"""

from __future__ import annotations

import asyncio
import itertools
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TypeVar

from tests.peers.place import wait_for

T = TypeVar("T")
FEATURES = ("PIPELINING", "SIZE 104857600", "8BITMIME", "SMTPUTF8", "DSN", "ENHANCEDSTATUSCODES")
GOOD = {"banner": b"220 receiver ESMTP\r\n", "helo": b"250 receiver\r\n", "mail": b"250 2.1.0 Ok\r\n",
        "rcpt": b"250 2.1.5 Ok\r\n", "data": b"354 go ahead\r\n", "dot": b"250 2.0.0 Ok\r\n",
        "rset": b"250 2.0.0 Ok\r\n", "noop": b"250 2.0.0 Ok\r\n", "quit": b"221 2.0.0 Bye\r\n",
        "starttls": b"220 2.0.0 go ahead\r\n"}  # fmt: skip


@dataclass(frozen=True)
class Later:
    """A reply that is made to wait; with `by` bytes at a time, each after `seconds`."""

    seconds: float
    reply: bytes
    by: int = 0


@dataclass(frozen=True)
class Endless:
    """The same bytes again and again until the client has had enough."""

    reply: bytes


HANG, DROP = object(), object()
Answer = bytes | Later | Endless | object


def later(seconds: float, reply: bytes) -> Later:
    """The reply after a wait."""
    return Later(seconds, reply)


def drip(seconds: float, reply: bytes) -> Later:
    """The reply byte by byte, each after a wait."""
    return Later(seconds, reply, by=1)


def endless(reply: bytes) -> Endless:
    """Those bytes without an end."""
    return Endless(reply)


def always(answer: Answer) -> Iterator[Answer]:
    """That answer for ever."""
    return itertools.repeat(answer)


@dataclass
class Message:
    """A message that reached its final dot; `answered` is what the receiver said to it."""

    sender: str
    recipients: list[str]
    data: bytes
    at: float
    connection: int
    tls: str
    mail: str
    rcpts: list[str]
    answered: bytes | None = None

    @property
    def accepted(self) -> bool:
        return (self.answered or b"").startswith(b"2")


@dataclass
class Record:
    """What one receiver saw: times are time.monotonic(). `open_most`: connections at once."""

    connections: list[float] = field(default_factory=list)
    peers: list[str] = field(default_factory=list)
    commands: list[tuple[int, str]] = field(default_factory=list)
    messages: list[Message] = field(default_factory=list)
    open: int = 0
    open_most: int = 0


class Receiver:
    """Listens on address:port in a thread of its own until `stop`."""

    def __init__(
        self,
        address: str,
        port: int,
        answers: dict[str, Iterable[Answer]] | None = None,
        *,
        features: tuple[str, ...] = FEATURES,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.address, self.port = address, port
        self.features, self.tls = features, tls
        self.seen = Record()
        self.answers = {phase: iter(answers) for phase, answers in (answers or {}).items()}
        self._loop = asyncio.new_event_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        started = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(started,), daemon=True)
        self._thread.start()
        assert started.wait(10)
        assert self._server is not None, f"cannot listen on {address}:{port}"

    @property
    def accepted(self) -> list[Message]:
        """Messages it said 2xx to."""
        return [message for message in self.seen.messages if message.accepted]

    def wait(self, question: Callable[[Receiver], T], what: str, timeout_s: float = 30) -> T:
        """The first true answer about this receiver."""
        try:
            return wait_for(lambda: question(self), f"{what} at {self.address}", timeout_s)
        except AssertionError as trouble:
            raise AssertionError(f"{trouble}; it saw {self.seen.commands[-20:]}") from None

    def wait_accepted(self, count: int = 1, timeout_s: float = 30) -> list[Message]:
        """The accepted messages, once there are so many."""
        return self.wait(lambda me: len(me.accepted) >= count and me.accepted, f"{count} messages", timeout_s)

    def stop(self) -> None:
        """Closes every connection and the port."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(10)

    def answer(self, *phases: str) -> Answer:
        """The next scripted answer for the first of these phases that has one, else the good one."""
        for phase in phases:
            found = next(self.answers.get(phase, iter(())), None)
            if found is not None:
                return found
        if phases[-1] == "ehlo":
            features = [*self.features, *(["STARTTLS"] if self.tls else [])]
            lines = ["receiver", *features]
            return b"".join(b"250%s%s\r\n" % (b" " if at == len(lines) - 1 else b"-", line.encode())
                            for at, line in enumerate(lines))
        return GOOD.get(phases[-1], b"502 5.5.1 unknown\r\n")

    def _run(self, started: threading.Event) -> None:
        asyncio.set_event_loop(self._loop)
        with suppress(OSError):
            self._server = self._loop.run_until_complete(
                asyncio.start_server(self._connected, self.address, self.port, limit=2**22, backlog=500)
            )
        started.set()
        if self._server is None:
            self._loop.close()
            return
        self._loop.run_forever()
        self._server.close()
        self._loop.run_until_complete(asyncio.sleep(0.01))  # who was let in just now has a task, too
        for task in self._tasks:
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*self._tasks, return_exceptions=True))
        self._loop.run_until_complete(asyncio.sleep(0))  # lets closed transports go
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        self._loop.close()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        number = len(self.seen.connections)
        self.seen.connections.append(time.monotonic())
        self.seen.peers.append(writer.get_extra_info("peername")[0])
        self.seen.open += 1
        self.seen.open_most = max(self.seen.open_most, self.seen.open)
        try:
            await _Conversation(self, number, reader, writer).run()
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ssl.SSLError):
            pass
        except asyncio.CancelledError:
            pass  # `stop`; asyncio's streams would log a handler that ends cancelled
        finally:
            self._tasks.discard(task)
            self.seen.open -= 1
            writer.transport.abort()


class _Ended(ConnectionError):
    """The script says so."""


class _Conversation:
    """One connection."""

    def __init__(
        self, server: Receiver, number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._server, self._number = server, number
        self._reader, self._writer = reader, writer
        self._tls = ""
        self._begin("", "")

    def _begin(self, sender: str, line: str) -> None:
        self._sender, self._mail = sender, line
        self._recipients: list[str] = []
        self._rcpts: list[str] = []

    async def run(self) -> None:
        if not (await self._say("banner") or b"").startswith(b"2"):
            with suppress(ConnectionError):
                await self._reader.read()  # what is left of it: a client may say QUIT after 554
            return
        while line := await self._reader.readline():
            text = line.decode("utf-8", "replace").rstrip("\r\n")
            self._server.seen.commands.append((self._number, text))
            said = await self._take(text)
            if said.startswith((b"221", b"421")):
                return

    async def _take(self, line: str) -> bytes:
        verb = line[:8].upper().split(" ")[0].split(":")[0]
        match verb:
            case "MAIL":
                self._begin(_address(line), line)
                return await self._say("mail")
            case "RCPT":
                address = _address(line)
                said = await self._say(f"rcpt {address}", "rcpt")
                if said.startswith(b"2"):
                    self._recipients.append(address)
                    self._rcpts.append(line)
                return said
            case "DATA":
                return await self._data()
            case "STARTTLS":
                return await self._starttls()
            case "RSET" | "EHLO" | "HELO":
                self._begin("", "")
        return await self._say(verb.lower())

    async def _data(self) -> bytes:
        if not self._recipients:
            await self._send(b"554 5.5.1 no valid recipients\r\n")
            return b"554"
        said = await self._say("data")
        if not said.startswith(b"3"):
            return said
        raw = await self._body()
        sender, recipients, mail, rcpts = self._sender, self._recipients, self._mail, self._rcpts
        message = Message(sender, recipients, raw, time.monotonic(), self._number, self._tls, mail, rcpts)
        self._server.seen.messages.append(message)
        self._begin("", "")
        return await self._say("dot", message=message)

    async def _body(self) -> bytes:
        lines = [b"\r\n"]
        while (line := await self._reader.readline()) != b".\r\n" or not lines[-1].endswith(b"\r\n"):
            if not line:
                raise _Ended("closed inside DATA")
            # A dot is stuffed after CRLF only; readline ends at a bare LF too.
            lines.append(line.removeprefix(b".") if lines[-1].endswith(b"\r\n") else line)
        return b"".join(lines[1:])

    async def _starttls(self) -> bytes:
        said = await self._say("starttls")
        if said.startswith(b"220") and self._server.tls is not None:
            # What was sent ahead in clear text must not count after the handshake (RFC 3207 §6).
            self._reader._buffer.clear()
            await self._writer.start_tls(self._server.tls)
            self._tls = self._writer.get_extra_info("ssl_object").version()
        return said

    async def _say(self, *phases: str, message: Message | None = None) -> bytes:
        answer = self._server.answer(*phases)
        if answer is HANG:
            await asyncio.sleep(3600)
        if answer is DROP:
            raise _Ended("as scripted")
        if message is not None:
            message.answered = answer.reply if isinstance(answer, Later) else answer
        while isinstance(answer, Endless):
            await self._send(answer.reply)
            await asyncio.sleep(0.005)
        if isinstance(answer, Later):
            step = answer.by or len(answer.reply)
            for at in range(0, len(answer.reply), step):
                await asyncio.sleep(answer.seconds)
                await self._send(answer.reply[at : at + step])
            return answer.reply
        assert isinstance(answer, bytes)
        await self._send(answer)
        return answer

    async def _send(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()


def _address(line: str) -> str:
    return line.partition("<")[2].partition(">")[0]
