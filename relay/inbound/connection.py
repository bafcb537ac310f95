"""The life of one connection: let in or refused, its clock, its end.

Of aiosmtpd's protocol the names are kept and the verbs; it reflects over itself for each connection, writes every
reply at once, resets a timer object for each command, and cancels its handler when the client closes its half. Here:

1. the greeting leaves at once; the handler, a task, is not made before the client says something;
2. one timer a connection looks at a deadline that commands only move;
3. bytes are read and written in relay/inbound/stream.py.
"""

from __future__ import annotations

import asyncio
import logging
from typing import cast

from relay.core.reply import Reply
from relay.inbound.reception import Reception
from relay.inbound.refusals import Refused, printable
from relay.inbound.stream import Stream

CLOSE_S = 5.0  # how long a closed connection may take to swallow its last reply

logging.getLogger("mail.log").setLevel(logging.WARNING)  # aiosmtpd logs each command, addresses and all


class Connection(Stream):
    """One client between accept and close, and when it has been silent for too long."""

    def __init__(self, reception: Reception, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop)
        self.reception = reception
        self.settings = reception.settings
        self.hostname = reception.settings.hostname
        self.peer = ""
        self.peer_port = 0
        self._timeout_handle: asyncio.TimerHandle | None = None
        self._deadline = self._rings_at = 0.0

    # the life of a connection

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Starts the session, or refuses it when the listener is full."""
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is no subclass
        peer = transport.get_extra_info("peername") or ("", 0)
        if isinstance(peer, tuple):
            self.peer, self.peer_port = _plain(str(peer[0])), int(peer[1])
        try:
            listening = transport.get_extra_info("socket")
            self.reception.enter(self, self.peer, listening.fileno() if listening else 0)
        except Refused as refused:
            self._note(refused.reason, refused.reply)
            if self.settings.tls != "implicit":
                self.transport.write(encode(refused.reply))
            self._close(patiently=False)
            return
        self._reset_timeout()
        self._open(self.transport)

    def _open(self, transport: asyncio.Transport) -> None:
        """Greets the client; a session knows how."""
        raise NotImplementedError

    def connection_lost(self, error: Exception | None) -> None:
        """Frees the client's place."""
        if self._timeout_handle is not None:
            self._timeout_handle.cancel()
        super().connection_lost(error)
        self.reception.leave(self, self.peer)

    def _close(self, *, patiently: bool = True) -> None:
        """Closes when the last reply is out; a client that does not read it is cut off after CLOSE_S.

        Patiently: while a client is still sending only our half is closed. The kernel answers bytes that nobody
        will read with RST, and that takes replies away that are on their way, a 250 among them."""
        self._closing = True
        if self.transport is not None and not self.transport.is_closing():
            if patiently and self._input and self.transport.can_write_eof():
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
        self.transport.write(b"".join(self._unsent) + encode(answer))
        self._unsent.clear()
        self._close(patiently=False)

    def _note(self, reason: str, answer: Reply, *, sender: str = "") -> None:
        self.reception.refused(reason, answer, client=self.peer, sender=sender)

    # clocks

    def _reset_timeout(self, duration: float | None = None) -> None:
        """Moves the deadline; the timer finds out when it rings."""
        if self._closing:
            return
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
