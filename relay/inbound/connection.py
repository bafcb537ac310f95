"""aiosmtpd's protocol with our own reading, writing and clocks.

Stock aiosmtpd reflects over itself for each connection, writes every reply at once, resets a timer object
for each command, and cancels its handler when the client closes its half. Here:

1. construction sets plain attributes (tests/unit/test_pins.py compares them with aiosmtpd's own);
2. replies are collected and leave in one write when the session would wait for input: a pipelined group is
   answered in one packet (RFC 2920 §3.2);
3. one timer a connection looks at a deadline that commands only move;
4. nothing cancels the handler: a lost client shows as the end of input.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any, cast

from aiosmtpd.smtp import SMTP
from aiosmtpd.smtp import Session as Facts

from relay.core.reply import Reply
from relay.inbound.command import MAX_LINE
from relay.inbound.reception import Reception
from relay.inbound.refusals import Refused, printable

READ_BYTES = 65_536  # one read; the transport pauses at twice that much unread input
MAX_ENDLESS = 1_048_576  # octets read in the hope of a line end
MAX_UNSENT = 16_384  # octets of replies collected before they leave anyway
CLOSE_S = 5.0  # how long a closed connection may take to swallow its last reply

logging.getLogger("mail.log").setLevel(logging.WARNING)  # aiosmtpd logs each command, addresses and all


class EndOfInput(Exception):
    """The client is gone, or was sent away."""


class Connection(SMTP):
    """Bytes in and out of one client, and when it has been silent for too long."""

    def __init__(self, reception: Reception, loop: asyncio.AbstractEventLoop) -> None:
        # aiosmtpd.SMTP.__init__ is left out: it costs 150 to 400 µs. What follows is what it would set.
        super(SMTP, self).__init__(
            asyncio.StreamReader(limit=READ_BYTES, loop=loop),
            client_connected_cb=self._cb_client_connected,
            loop=loop,
        )
        self.loop = loop
        self.reception = reception
        self.settings = reception.settings
        self.hostname = reception.settings.hostname
        self.session: Facts | None = None
        self.envelope: Any = None
        self.transport: asyncio.Transport | None = None
        self.peer = ""
        self.peer_port = 0
        self._original_transport = None
        self._handler_coroutine: asyncio.Task[None] | None = None
        self._timeout_handle: asyncio.TimerHandle | None = None
        self._deadline = self._rings_at = 0.0
        self._unsent = bytearray()
        self._closing = False
        self.waiting = False  # for the client's next line: the moment at which it may be sent away

    # the life of a connection

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Starts the session, or refuses it when the listener is full."""
        peer = transport.get_extra_info("peername") or ("", 0)
        if isinstance(peer, tuple):
            self.peer, self.peer_port = _plain(str(peer[0])), int(peer[1])
        try:
            listening = transport.get_extra_info("socket")
            self.reception.enter(self, self.peer, listening.fileno() if listening else 0)
        except Refused as refused:
            self.transport = cast(asyncio.Transport, transport)
            self._note(refused.reason, refused.reply)
            if self.settings.tls != "implicit":
                self.transport.write(encode(refused.reply))
            self._close(patiently=False)
            return
        super().connection_made(transport)

    def connection_lost(self, error: Exception | None) -> None:
        """Tells the handler by the end of its input; it is never cancelled (a commit may be under way)."""
        if self._timeout_handle is not None:
            self._timeout_handle.cancel()
        self._closing = True
        self.transport = None
        self.reception.leave(self, self.peer)
        super(SMTP, self).connection_lost(error)

    def eof_received(self) -> bool | None:
        """A client may close its half and still read our replies; what it sent is worked off."""
        going_on = super(SMTP, self).eof_received()
        return going_on and not self._closing

    def _close(self, *, patiently: bool = True) -> None:
        """Closes when the last reply is out; a client that does not read it is cut off after CLOSE_S.

        Patiently: while a client is still sending only our half is closed. The kernel answers bytes that nobody
        will read with RST, and that takes replies away that are on their way, a 250 among them."""
        self._closing = True
        if self.transport is not None and not self.transport.is_closing():
            if patiently and self._input() and self.transport.can_write_eof():
                self.transport.write_eof()
            else:
                self.transport.close()
            self._deadline = self.loop.time() + CLOSE_S
            if self._timeout_handle is not None:
                self._timeout_handle.cancel()
            self._timeout_handle = self.loop.call_later(CLOSE_S, self.abort)

    def drain(self) -> None:
        """Ends now if the client is silent; a session knows more about that."""
        raise NotImplementedError

    def dismiss(self) -> None:
        """Ends now with a word; a session knows when one may be said."""
        raise NotImplementedError

    def abort(self) -> None:
        """Cuts the connection without another word."""
        self._closing = True
        if self.transport is not None:
            self.transport.abort()

    def _dismiss(self, reason: str, **facts: object) -> None:
        """Says 421 from outside the handler, and closes."""
        if self._closing or self.transport is None:
            return
        answer = Refused(reason, **facts).reply
        self._note(reason, answer)
        self.transport.write(bytes(self._unsent) + encode(answer))
        self._unsent.clear()
        self._close(patiently=False)

    def _note(self, reason: str, answer: Reply, *, sender: str = "") -> None:
        self.reception.refused(reason, answer, client=self.peer, sender=sender)

    # clocks

    def _reset_timeout(self, duration: float | None = None) -> None:
        """Moves the deadline; the timer finds out when it rings."""
        wait_s = self.settings.idle_timeout_s if duration is None else duration
        self._deadline = self.loop.time() + wait_s
        if self._timeout_handle is None or self._rings_at > self._deadline:
            self._set_timer()

    def _set_timer(self) -> None:
        if self._timeout_handle is not None:
            self._timeout_handle.cancel()
        self._rings_at = self._deadline
        self._timeout_handle = self.loop.call_at(self._rings_at, self._timeout_cb)

    def _timeout_cb(self) -> None:
        if self.loop.time() < self._deadline:
            self._set_timer()
            return
        self._timed_out()

    def _timed_out(self) -> None:
        """The client was silent for too long: RFC 5321 §3.8 wants a 421 before closing."""
        raise NotImplementedError

    # words out

    async def push(self, status: str | bytes) -> None:
        """Collects a reply line; aiosmtpd's own name and signature."""
        self.say((status.encode("ascii", "replace") if isinstance(status, str) else status) + b"\r\n")

    def say(self, data: bytes) -> None:
        """Collects complete reply lines; they leave when the session waits for input."""
        self._unsent += data

    async def flush(self) -> None:
        """Sends what was collected, waiting while the client does not read."""
        if self._unsent:
            data = bytes(self._unsent)
            self._unsent.clear()
            if self._closing or self.transport is None:
                raise EndOfInput
            self._writer.write(data)
            if self._paused or self.transport.is_closing():  # type: ignore[attr-defined]  # else nothing to wait for
                await self._writer.drain()

    # words in

    async def read_line(self) -> bytes:
        """The next line with its end, at most READ_BYTES long; raises Refused or EndOfInput."""
        if len(self._unsent) > MAX_UNSENT:  # more than a thousand commands at once: let others have a turn
            await self.flush()
            await asyncio.sleep(0)
        elif self._unsent and b"\n" not in self._reader._buffer:  # type: ignore[attr-defined]
            await self.flush()
        if self._closing:
            raise EndOfInput
        self.waiting = True
        try:
            return await self._reader.readuntil(b"\n")
        except asyncio.LimitOverrunError as error:
            await self._skip_line(error.consumed)
            raise Refused("line-too-long", limit=MAX_LINE) from None
        except asyncio.IncompleteReadError:
            raise EndOfInput from None
        finally:
            self.waiting = False

    async def _skip_line(self, consumed: int) -> None:
        """Reads on to the end of a line that is too long, without keeping it."""
        skipped = 0
        while skipped < MAX_ENDLESS:
            await self._reader.readexactly(consumed)
            skipped += consumed
            try:
                await self._reader.readuntil(b"\n")
                return
            except asyncio.LimitOverrunError as error:
                consumed = error.consumed
        raise Refused("endless-line")

    def _input(self) -> bytearray:
        """What has come and was not read; the StreamReader's own buffer, as aiosmtpd uses it too."""
        buffer: bytearray = self._reader._buffer  # type: ignore[attr-defined]
        return buffer

    def _wrap(self, transport: asyncio.WriteTransport) -> None:
        """Goes on over another transport: the one with TLS around the first."""
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is no subclass
        self._reader._transport = transport  # type: ignore[attr-defined]

    async def read_chunk(self) -> bytes:
        """Some bytes of a message, as many as are there; raises EndOfInput."""
        if self._unsent:
            await self.flush()
        chunk = await self._reader.read(READ_BYTES)
        if not chunk or self._closing:
            raise EndOfInput
        return chunk

    def unread(self, rest: bytes) -> None:
        """Puts back what was read too far."""
        if rest:
            self._input()[:0] = rest


def encode(answer: Reply) -> bytes:
    """The reply on the wire: each line with its code and enhanced code (RFC 5321 §4.2.1, RFC 2034 §4)."""
    code, enhanced = answer.code, f"{answer.enhanced} " if answer.enhanced else ""
    *first, last = answer.lines
    text = f"{code} {enhanced}{printable(last)}\r\n"
    for line in reversed(first):
        text = f"{code}-{enhanced}{printable(line)}\r\n{text}"
    return text.encode()


def _plain(address: str) -> str:
    """An IPv4 client on an IPv6 socket has its IPv4 address."""
    return address.removeprefix("::ffff:") if address.startswith("::ffff:") and "." in address else address
