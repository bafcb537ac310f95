"""A small SMTP server that takes everything: the receiving half of the sandbox.

It listens on the loopback interface only, announces what keeps mail whole (8BITMIME, SMTPUTF8, DSN, SIZE,
PIPELINING), writes bodies to disk as they arrive and holds no more than a chunk of one in memory.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from relay.deliver.dots import DotStream

CHUNK_BYTES = 65536
MAX_LINE_BYTES = 65536  # commands with long DSN parameters are below 5 KiB (RFC 3461 §4)
MAX_HEADER_BYTES = 262144  # what is kept of the message for its subject and Received
MAX_MESSAGE_BYTES = 200 * 1024 * 1024  # four times the largest message the relay takes by default
MAX_RECIPIENTS = 100_000
MAX_CONNECTIONS = 500
IDLE_S = 300.0  # RFC 5321 §4.5.3.2.7
HELLO = (b"250-sandbox\r\n250-PIPELINING\r\n250-SIZE %d\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250-DSN\r\n"
         b"250 ENHANCEDSTATUSCODES\r\n" % MAX_MESSAGE_BYTES)  # fmt: skip
PATH = re.compile(r"(?:FROM|TO):\s*<(.*?)>(?: |$)", re.IGNORECASE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Arrival:
    """One message as it came: the file that holds it whole, and its first bytes."""

    sender: str
    recipients: tuple[str, ...]
    file: Path
    size: int
    start: bytes


class Sink:
    """Receives on 127.0.0.1 and calls `keep` for each message; what `keep` raises as OSError (disk full)
    is answered 452. `spool` gives the path for the next body."""

    def __init__(self, spool: Callable[[], Path], keep: Callable[[Arrival], None]) -> None:
        self._spool = spool
        self._keep = keep
        self._server: asyncio.Server | None = None
        self._sessions: set[asyncio.Task[None]] = set()

    async def start(self) -> int:
        """Listens on a free port and returns it."""
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0, limit=CHUNK_BYTES)
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def close(self) -> None:
        """Stops listening and ends the sessions; a message under way was not answered, and is retried."""
        if self._server is not None:
            self._server.close()
        for task in self._sessions:
            task.cancel()
        await asyncio.gather(*self._sessions, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._sessions.add(task)
        try:
            if len(self._sessions) > MAX_CONNECTIONS:
                writer.write(b"421 4.3.2 too many connections\r\n")
            else:
                await Session(reader, writer, self._spool, self._keep).run()
        except (ConnectionError, TimeoutError):
            pass  # the client has gone; what it had not finished it will send again
        except asyncio.CancelledError:
            pass  # `close` ends us; asyncio's streams (3.11) would log a handler that ends cancelled
        finally:
            self._sessions.discard(task)
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()


class Session:
    """One connection to the sink."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        spool: Callable[[], Path],
        keep: Callable[[Arrival], None],
    ) -> None:
        self._reader, self._writer = reader, writer
        self._spool, self._keep = spool, keep
        self._ahead = b""
        self._sender: str | None = None
        self._recipients: list[str] = []

    async def run(self) -> None:
        """Speaks until QUIT or the end of the connection."""
        self._writer.write(b"220 sandbox ESMTP\r\n")
        while (line := await self._line()) is not None:
            verb, _, rest = line.decode("utf-8", "replace").rstrip("\r\n").partition(" ")
            if not await self._answer(verb.upper(), rest):
                return

    async def _answer(self, verb: str, rest: str) -> bool:
        """Answers one command; False ends the session."""
        match verb:
            case "EHLO" | "HELO" | "RSET":
                self._sender, self._recipients = None, []
                self._writer.write(HELLO if verb == "EHLO" else b"250 2.0.0 sandbox\r\n")
            case "MAIL":
                self._sender, self._recipients = _path(rest), []
                self._writer.write(b"250 2.1.0 Ok\r\n")
            case "RCPT":
                self._writer.write(self._recipient(_path(rest)))
            case "DATA":
                await self._data()
            case "QUIT":
                self._writer.write(b"221 2.0.0 Bye\r\n")
                await self._writer.drain()
                return False
            case "NOOP":
                self._writer.write(b"250 2.0.0 Ok\r\n")
            case _:
                self._writer.write(b"502 5.5.1 not known here\r\n")
        return True

    def _recipient(self, address: str) -> bytes:
        if self._sender is None:
            return b"503 5.5.1 MAIL first\r\n"
        if len(self._recipients) >= MAX_RECIPIENTS:
            return b"452 4.5.3 too many recipients\r\n"
        self._recipients.append(address)
        return b"250 2.1.5 Ok\r\n"

    async def _data(self) -> None:
        if self._sender is None or not self._recipients:
            self._writer.write(b"503 5.5.1 RCPT first\r\n")
            return
        self._writer.write(b"354 go ahead\r\n")
        await self._writer.drain()
        file = self._spool()
        body = _SpoolFile(file)
        try:
            await self._receive(body)
            self._writer.write(self._finish(body))
        finally:
            body.close()
            file.unlink(missing_ok=True)  # `keep` has renamed it when all went well
        self._sender, self._recipients = None, []
        await self._writer.drain()

    async def _receive(self, body: _SpoolFile) -> None:
        dots, chunk = DotStream(), self._ahead
        while True:
            body.write(dots.feed(chunk))
            if dots.ended:
                self._ahead = dots.rest
                return
            chunk = await self._read()
            if not chunk:
                raise ConnectionResetError("closed inside DATA")

    def _finish(self, body: _SpoolFile) -> bytes:
        body.close()
        if body.size > MAX_MESSAGE_BYTES:
            return b"552 5.3.4 larger than the sandbox takes\r\n"
        try:
            if body.trouble:
                raise body.trouble
            assert self._sender is not None
            arrival = Arrival(self._sender, tuple(self._recipients), body.file, body.size, bytes(body.start))
            self._keep(arrival)
        except OSError as trouble:
            return f"452 4.3.1 the sandbox could not keep it: {trouble.strerror}\r\n".encode()
        return b"250 2.0.0 kept\r\n"

    async def _line(self) -> bytes | None:
        """The next command line, or None at the end of the connection; an endless one ends it too."""
        while (end := self._ahead.find(b"\n")) < 0:
            if len(self._ahead) > MAX_LINE_BYTES:
                return None
            await self._writer.drain()
            chunk = await self._read()
            if not chunk:
                return None
            self._ahead += chunk
        line, self._ahead = self._ahead[: end + 1], self._ahead[end + 1 :]
        return line

    async def _read(self) -> bytes:
        async with asyncio.timeout(IDLE_S):
            return await self._reader.read(CHUNK_BYTES)


class _SpoolFile:
    """A body on its way to disk. A failing disk is remembered, and the rest read all the same."""

    def __init__(self, file: Path) -> None:
        self.file, self.size, self.start = file, 0, bytearray()
        self.trouble: OSError | None = None
        self._open: BinaryIO | None = None
        try:
            self._open = file.open("wb")
        except OSError as trouble:
            self.trouble = trouble

    def write(self, data: bytes) -> None:
        self.size += len(data)
        if len(self.start) < MAX_HEADER_BYTES:
            self.start += data[: MAX_HEADER_BYTES - len(self.start)]
        if self._open is None or self.trouble or self.size > MAX_MESSAGE_BYTES:
            return
        try:
            self._open.write(data)
        except OSError as trouble:
            self.trouble = trouble

    def close(self) -> None:
        if self._open is None:
            return
        try:
            self._open.close()
        except OSError as trouble:
            self.trouble = self.trouble or trouble
        self._open = None


def _path(rest: str) -> str:
    match = PATH.match(rest)
    return match[1] if match else ""
