"""A listening socket, or several, and the sessions that came through it.

Life: `start` binds (or takes inherited sockets) and accepts; `pause` stops accepting but serves on; `drain`
says 421 to whoever is idle and waits for the messages under way; `close` ends the rest. Binding is separate
from starting, so that every port is taken before the first client is answered.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable, Sequence

from relay.inbound.accepting import Accepting
from relay.inbound.reception import Reception
from relay.inbound.session import Session
from relay.inbound.settings import ListenerSettings

BACKLOG = 4096  # as in systemd/relay.socket, whose sockets must not get a shorter one; the kernel caps it
GOODBYE_S = 1.0  # for clients to take their last reply
Factory = Callable[[Reception, asyncio.AbstractEventLoop], Session]


def bind(addresses: Sequence[str]) -> list[socket.socket]:
    """Sockets bound to "0.0.0.0:2525", "[::]:25" or "name:25", not yet listening. Raises OSError when a port
    is taken or not allowed, ValueError for a text that is no address; then none stays bound."""
    bound: list[socket.socket] = []
    try:
        for text in addresses:
            host, port = split_address(text)
            for family, kind, protocol, _, address in socket.getaddrinfo(
                host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            ):
                bound.append(_bind_one(socket.socket(family, kind, protocol), address))
    except BaseException:
        for one in bound:
            one.close()
        raise
    return bound


def _bind_one(listening: socket.socket, address: tuple[object, ...]) -> socket.socket:
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if listening.family == socket.AF_INET6:
            listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listening.setblocking(False)
        listening.bind(address)
    except BaseException:
        listening.close()
        raise
    return listening


def split_address(text: str) -> tuple[str, int]:
    """Host and port of "host:port" or "[v6]:port"; the host may be empty, meaning every address."""
    host, colon, port = text.rpartition(":")
    if not colon or not (port.isascii() and port.isdigit()) or int(port) > 65_535:
        raise ValueError(f"{text!r} is not host:port, as 0.0.0.0:2525 or [::]:2525")
    if host.startswith("[") and host.endswith("]"):
        return host[1:-1], int(port)
    if ":" in host:
        raise ValueError(f"{text!r}: an IPv6 address needs brackets, as [::1]:2525")
    return host, int(port)


def inherited(descriptor: int) -> socket.socket:
    """The socket that systemd holds for us, by its file descriptor (sd_listen_fds(3))."""
    listening = socket.socket(fileno=descriptor)
    listening.setblocking(False)
    return listening


class Listener:
    """The sockets of one listener. The sockets given to it are closed with it. Where other processes accept from
    them, `ahead` says whether this one has more clients than another."""

    def __init__(
        self, reception: Reception, sockets: Sequence[socket.socket], ahead: Callable[[], bool] | None = None
    ) -> None:
        self.reception = reception
        self.sockets = list(sockets)
        self._ahead = ahead
        self._servers: list[asyncio.Server | Accepting] = []

    @property
    def name(self) -> str:
        """The listener's name in the configuration."""
        return self.reception.settings.name

    @property
    def addresses(self) -> list[tuple[str, int]]:
        """Address and port of each socket."""
        return [listening.getsockname()[:2] for listening in self.sockets]

    def reload(self, settings: ListenerSettings, tls: ssl.SSLContext | None) -> None:
        """New sessions get these; sessions that live keep what they began with."""
        self.reception.settings, self.reception.tls = settings, tls

    async def start(self, factory: Factory = Session) -> None:
        """Listens and accepts."""
        loop = asyncio.get_running_loop()
        self.reception.draining = False
        for listening in self.sockets:
            again = listening.dup()  # the server closes what it is given; ours is for the next start
            if self._ahead is None:
                server = await loop.create_server(lambda: factory(self.reception, loop), sock=again, backlog=BACKLOG)
                self._servers.append(server)
            else:
                again.listen(BACKLOG)
                self._servers.append(Accepting(again, lambda: factory(self.reception, loop), self._ahead))

    def pause(self) -> None:
        """Stops accepting; the kernel queues new connections, sessions go on. `start` accepts again."""
        for server in self._servers:
            server.close()
        self._servers.clear()

    async def drain(self, within_s: float) -> int:
        """Stops accepting, sends idle clients away, waits for messages under way. Returns how many sessions
        were still there when the time was up."""
        self.pause()
        for listening in self.sockets:
            listening.close()
        self.sockets.clear()
        reception = self.reception
        reception.draining = True
        for session in list(reception.sessions):
            session.drain()
        loop = asyncio.get_running_loop()
        until = loop.time() + within_s
        while (reception.sessions or reception.commits) and (left := until - loop.time()) > 0:
            await reception.changed(min(left, 1.0))
        return len(reception.sessions)

    async def close(self) -> None:
        """Ends what is left: messages being stored are answered first, as they may be promises; whoever is still
        sending one, or idle, is told 421 (RFC 5321 §3.8)."""
        await self.drain(0)
        reception = self.reception
        while reception.commits:
            await asyncio.wait(list(reception.commits))
        for session in list(reception.sessions):
            session.dismiss()
        loop = asyncio.get_running_loop()
        until = loop.time() + GOODBYE_S
        while reception.sessions and (left := until - loop.time()) > 0:
            await reception.changed(left)
        for session in list(reception.sessions):
            session.abort()
        while reception.sessions or reception.commits:
            await reception.changed(1.0)
