"""Where mail comes in, as the rest of the relay sees it: the listeners of this process, or fronts."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from typing import Protocol

from relay.config.model import Config
from relay.observe.metrics import Metrics
from relay.service.inlet import Inlet, Sockets
from relay.service.rules import Rules
from relay.web.operator import FrontState, ListenerState


class Doors(Protocol):
    """Opened last, closed first."""

    async def open(self, ended: asyncio.Event) -> None:
        """Lets mail in; returns when it is, or when the relay is told to stop before that. Raises OSError."""
        ...

    def closed_reason(self) -> str:
        """Why no mail comes in at the moment, or ""."""
        ...

    def take(self, config: Config, rules: Rules, contexts: Mapping[str, ssl.SSLContext | None]) -> None:
        """Takes what a reload changed, as far as it is known here."""
        ...

    async def spread(self, rules: Rules) -> list[str]:
        """Has other processes take the rules, too; what is to be said of those that did not."""
        ...

    def measure(self) -> None:
        """Brings the metrics up to date."""
        ...

    def listeners(self) -> list[ListenerState]:
        """Every listening socket."""
        ...

    def fronts(self) -> list[FrontState]:
        """Every front."""
        ...

    @property
    def sessions(self) -> int:
        """Clients that are connected."""
        ...

    async def drain(self, within_s: float) -> None:
        """Lets nobody in and waits for messages under way."""
        ...

    async def close(self) -> None:
        """Ends what is left."""
        ...


class OwnDoors:
    """The listeners of this process."""

    def __init__(self, inlet: Inlet, sockets: Sockets, metrics: Metrics) -> None:
        self.inlet, self._sockets, self._metrics = inlet, sockets, metrics
        self.take = inlet.take
        self.close = inlet.close

    async def open(self, ended: asyncio.Event) -> None:
        """Accepts, which takes no time."""
        await self.inlet.listen(self._sockets)

    def closed_reason(self) -> str:
        """They are open until they are drained."""
        return ""

    async def spread(self, rules: Rules) -> list[str]:
        """There is nobody else."""
        return []

    def measure(self) -> None:
        """Connections, from the listeners."""
        self._metrics.connections.labels("in").set(self.sessions)

    def listeners(self) -> list[ListenerState]:
        """Every listening socket."""
        return [
            {"name": one.name, "bind": f"{address[0]}:{address[1]}", "connections": len(one.reception.sessions)}
            for one in self.inlet.listeners for address in one.addresses
        ]  # fmt: skip

    def fronts(self) -> list[FrontState]:
        """There are none."""
        return []

    @property
    def sessions(self) -> int:
        """Clients that are connected."""
        return self.inlet.sessions

    async def drain(self, within_s: float) -> None:
        """All listeners at once."""
        await asyncio.gather(*(one.drain(within_s) for one in self.inlet.listeners))
