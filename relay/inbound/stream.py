"""The bytes of one client: what came and was not read, what is to be said, and the waiting for either.

asyncio's StreamReader and StreamWriter, which aiosmtpd reads and writes through, make seven objects for each
connection and go through three coroutines for each line. Here the protocol keeps the bytes itself:

1. replies are collected and leave in one write when the session would wait for input: a pipelined group is
   answered in one packet (RFC 2920 §3.2);
2. the transport pauses at PAUSE_BYTES of unread input, and `flush` waits while the client does not read;
3. nothing cancels the handler: a lost client shows as the end of input.
"""

from __future__ import annotations

import asyncio
import ssl

from aiosmtpd.smtp import SMTP

from relay.inbound.command import MAX_LINE
from relay.inbound.refusals import Refused

READ_BYTES = 65_536  # one read
PAUSE_BYTES = 2 * READ_BYTES
MAX_ENDLESS = 1_048_576  # octets read in the hope of a line end
MAX_UNSENT = 16_384  # octets of replies collected before they leave anyway


class EndOfInput(Exception):
    """The client is gone, or was sent away."""


class Stream(SMTP):
    """Reading and writing for one task, the handler; asyncio calls the methods named without underscore."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        # The constructors of aiosmtpd and asyncio's streams are left out: 150 to 400 µs. None of their methods runs.
        self.loop = loop
        self.transport: asyncio.Transport | None = None
        self.waiting = False  # for the client's next line: the moment at which it may be sent away
        self._handler: asyncio.Task[None] | None = None
        self._input = bytearray()
        self._paused = False  # the transport reads no more
        self._choked = False  # the client reads no more
        self._ended = False  # nothing more will come
        self._error: Exception | None = None
        self._change: asyncio.Future[None] | None = None
        self._encrypted = False
        self._unsent: list[bytes] = []
        self._unsent_bytes = 0
        self._closing = False

    # what the event loop tells

    def data_received(self, data: bytes) -> None:
        """Takes bytes in; the first are the sign to begin."""
        self._input += data
        if self._handler is None and not self._closing:
            self._begin()
        if len(self._input) > PAUSE_BYTES and not self._paused and self.transport is not None:
            self._paused = True
            self.transport.pause_reading()
        self._wake()

    def eof_received(self) -> bool:
        """A client may close its half and still read our replies; what it sent is worked off."""
        self._ended = True
        if self._handler is None and not self._closing:
            self._begin()
        self._wake()
        return not self._encrypted and not self._closing

    def _begin(self) -> None:
        """Starts the handler."""
        self._handler = self.loop.create_task(self._handle_client())

    async def _handle_client(self) -> None:
        """The handler."""
        raise NotImplementedError

    def connection_lost(self, error: Exception | None) -> None:
        """Tells the handler by the end of its input; it is never cancelled (a commit may be under way)."""
        self.transport = None
        self._closing = self._ended = True
        self._error = error
        self._wake()

    def pause_writing(self) -> None:
        """The client does not take our replies."""
        self._choked = True

    def resume_writing(self) -> None:
        """It does again."""
        self._choked = False
        self._wake()

    def _wake(self) -> None:
        if self._change is not None and not self._change.done():
            self._change.set_result(None)

    async def _changed(self) -> None:
        """Returns after the event loop has told something; raises what the connection was lost by."""
        self._change = self.loop.create_future()
        try:
            await self._change
        finally:
            self._change = None
        if self._error is not None:
            raise self._error

    # words out

    def say(self, data: bytes) -> None:
        """Collects complete reply lines; they leave when the session waits for input."""
        self._unsent.append(data)
        self._unsent_bytes += len(data)

    async def flush(self) -> None:
        """Sends what was collected, waiting while the client does not read."""
        if not self._unsent:
            return
        data = self._unsent[0] if len(self._unsent) == 1 else b"".join(self._unsent)
        self._unsent.clear()
        self._unsent_bytes = 0
        if self._closing or self.transport is None:
            raise EndOfInput
        self.transport.write(data)
        while self._choked:
            await self._changed()
            if self.transport is None:
                raise EndOfInput

    # words in

    async def read_line(self) -> bytes:
        """The next line with its end, at most READ_BYTES long; raises Refused or EndOfInput."""
        if self._unsent_bytes > MAX_UNSENT:  # more than a thousand commands at once: let others have a turn
            await self.flush()
            await asyncio.sleep(0)
        end = self._input.find(b"\n")
        if end < 0:
            await self.flush()
            end = await self._line_end()
        if self._closing:
            raise EndOfInput
        line = self._take(end + 1)
        if end > READ_BYTES:
            raise Refused("line-too-long", limit=MAX_LINE)
        return line

    async def _line_end(self) -> int:
        """Waits until a whole line is there; where it ends. One that is too long is not kept."""
        self.waiting = True
        try:
            return await self._search()
        finally:
            self.waiting = False

    async def _search(self) -> int:
        seen = len(self._input)
        while seen <= READ_BYTES:
            await self._more()
            if (end := self._input.find(b"\n", seen)) >= 0:
                return end
            seen = len(self._input)
        while seen < MAX_ENDLESS:
            self._input.clear()
            await self._more()
            if (end := self._input.find(b"\n")) >= 0:
                self._take(end + 1)
                raise Refused("line-too-long", limit=MAX_LINE)
            seen += len(self._input)
        raise Refused("endless-line")

    async def _more(self) -> None:
        """Waits until more has come; raises EndOfInput when nothing more will."""
        before = len(self._input)
        while len(self._input) == before:
            if self._ended or self._closing:
                raise EndOfInput
            self._let_in()
            await self._changed()

    def _take(self, number: int) -> bytes:
        """The first bytes of the input, taken out of it."""
        taken = bytes(memoryview(self._input)[:number])
        del self._input[:number]
        if self._paused and len(self._input) <= READ_BYTES:
            self._let_in()
        return taken

    def _let_in(self) -> None:
        if self._paused and self.transport is not None:
            self._paused = False
            self.transport.resume_reading()

    async def read_chunk(self) -> bytes:
        """Some bytes of a message, as many as are there; raises EndOfInput."""
        if self._unsent:
            await self.flush()
        if not self._input:
            await self._more()
        if self._closing:
            raise EndOfInput
        return self._take(READ_BYTES)

    def unread(self, rest: bytes) -> None:
        """Puts back what was read too far."""
        if rest:
            self._input[:0] = rest

    # TLS

    async def encrypt(self, context: ssl.SSLContext, within_s: float) -> None:
        """Goes on over TLS; what came in clear is thrown away (RFC 3207 §4.2). Raises OSError when the handshake
        fails or takes longer than `within_s`."""
        if self.transport is None:
            raise EndOfInput
        self._input.clear()
        self._let_in()
        transport = await self.loop.start_tls(
            self.transport, self, context, server_side=True, ssl_handshake_timeout=within_s
        )
        self.transport, self._encrypted = transport, True
