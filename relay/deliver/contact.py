"""Making contact: host after host and address after address, until one can carry mail (RFC 5321 §5.1)."""

from __future__ import annotations

import asyncio
import errno
import ssl
from collections.abc import Callable
from dataclasses import dataclass

from relay.core.outcome import Outcome, Phase, Trouble, judge
from relay.deliver.connection import Connection
from relay.deliver.feed import Feed, Peer
from relay.deliver.resolve import Route
from relay.deliver.settings import DeliverySettings
from relay.deliver.sources import bind_address, can_reach
from relay.deliver.targets import TargetGuard
from relay.policy.model import Source
from relay.smtp.client import Conversation, StartTls

ADDRESSES_MOST = 8  # tried in one cycle: RFC 5321 §5.1 asks for at least two
CANNOT_BIND = {errno.EADDRNOTAVAIL, errno.EACCES, errno.EINVAL}
OURS = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}


@dataclass(frozen=True, slots=True)
class Contact:
    """How to reach a site from one source: all a cycle needs. `tried` hears of each host that failed."""

    source: Source
    route: Route
    provider: str
    starttls: StartTls
    settings: DeliverySettings
    guard: TargetGuard
    context: ssl.SSLContext
    feed: Feed
    tried: Callable[[Peer, Outcome], None]

    async def make(self) -> Connection | Outcome:
        """A connection that can carry mail, or the most telling failure of all addresses tried."""
        worst = judge(Trouble.NO_ADDRESS, Phase.RESOLVE)
        if any(host.addresses for host in self.route.hosts):  # ours to repair: no reason to bounce
            text = f"source {self.source.name} has no address of the family (IPv4 or IPv6) of the mail servers"
            worst = judge(Trouble.CONNECT_FAILED, Phase.CONNECT, text)
        for host, address in self._targets():
            found = await self._host(host, address)
            if isinstance(found, Connection):
                return found
            worst = found
            if found.trouble in {Trouble.SOURCE_UNUSABLE, Trouble.OURS}:
                break
        return worst

    def _targets(self) -> list[tuple[str, str]]:
        pairs = [
            (host.name, address)
            for host in self.route.hosts
            for address in host.addresses
            if can_reach(self.source, address)
        ]
        return pairs[:ADDRESSES_MOST]

    async def _host(self, host: str, address: str) -> Connection | Outcome:
        peer = Peer(self.source.name, host, address, self.route.site, self.provider)
        if self.route.guarded and (refusal := self.guard.refusal(address)):
            outcome = judge(Trouble.TARGET_FORBIDDEN, Phase.CONNECT, f"{host} [{address}]: {refusal}")
            self.tried(peer, outcome)
            return outcome
        found = await self._open(peer, self.starttls)
        if isinstance(found, Outcome) and found.trouble is Trouble.TLS_HANDSHAKE:
            self.tried(peer, found)
            if self.starttls is StartTls.OPPORTUNISTIC:  # RFC 7435 §3: no worse than a host without TLS
                found = await self._open(peer, StartTls.NEVER)
        if isinstance(found, Outcome):
            self.tried(peer, found)
        return found

    async def _open(self, peer: Peer, starttls: StartTls) -> Connection | Outcome:
        settings = self.settings
        conversation = Conversation(
            helo=self.source.helo or settings.hostname, starttls=starttls,
            login=settings.login if settings.fixed else None, timeouts=settings.timeouts,
        )  # fmt: skip
        connection = Connection(conversation, self.feed, peer=peer, tls=self.context)
        try:
            await self._connect(connection, peer)
            outcome = await connection.opened
        except asyncio.CancelledError:
            connection.abort()
            raise
        if outcome is None and connection.over:  # it opened and ended before we could look
            return judge(Trouble.LOST, Phase.IDLE)
        return connection if outcome is None else outcome

    async def _connect(self, connection: Connection, peer: Peer) -> None:
        """Opens the socket; what fails here ends `connection.opened` with its outcome."""
        try:
            async with asyncio.timeout(self.settings.timeouts.connect_s):
                await asyncio.get_running_loop().create_connection(
                    lambda: connection, peer.address, self.route.port,
                    local_addr=bind_address(self.source, peer.address),
                )  # fmt: skip
        except OSError as error:
            if not connection.opened.done():
                connection.opened.set_result(self._connect_trouble(error, peer))

    def _connect_trouble(self, error: OSError, peer: Peer) -> Outcome:
        if isinstance(error, TimeoutError):
            return judge(Trouble.CONNECT_TIMEOUT, Phase.CONNECT)
        if error.errno in CANNOT_BIND and bind_address(self.source, peer.address):
            return judge(Trouble.SOURCE_UNUSABLE, Phase.CONNECT, f"source {self.source.name}: {error}")
        if error.errno in OURS:
            return judge(Trouble.OURS, Phase.CONNECT, str(error))
        if error.errno == errno.ECONNREFUSED:
            return judge(Trouble.CONNECT_REFUSED, Phase.CONNECT)
        return judge(Trouble.CONNECT_FAILED, Phase.CONNECT, str(error))
