"""Messages from memory or the store, for deliveries and for mail that is settled without one."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Protocol

from relay.core.outcome import Outcome
from relay.core.waiting import Waiting
from relay.deliver.recent import Recent
from relay.deliver.settle import Attempt, Settler
from relay.queue.store import StoreBusy, Stored

log = logging.getLogger("relay.deliver")

AGAIN_S = 1.0


class Loadable(Protocol):
    """What is needed of the store."""

    async def load(self, message: str) -> Stored | None: ...


class Loader:
    """Finds messages; `recent` first, as most mail is delivered moments after it was accepted."""

    def __init__(self, store: Loadable, recent: Recent, settler: Settler, clock: Callable[[], float]) -> None:
        self.store, self.recent, self.settler, self.clock = store, recent, settler, clock

    async def load(self, message: str) -> Stored | None:
        """The message from the store, or None when it is gone. Waits for a store that is busy."""
        while True:
            try:
                return await self.store.load(message)
            except StoreBusy as error:
                log.warning("message %s could not be read, again in %g s: %s", message, AGAIN_S, error)
                await asyncio.sleep(AGAIN_S)

    async def settle_unloaded(self, places: Sequence[Waiting], outcome: Outcome, provider: str) -> None:
        """Settles places for which no delivery was begun, message by message."""
        now = self.clock()
        attempt = Attempt(now, now, provider=provider)
        by_message: dict[str, list[Waiting]] = {}
        for waiting in places:
            by_message.setdefault(waiting.message, []).append(waiting)
        for message, here in by_message.items():
            stored = self.recent.get(message) or await self.load(message)
            still = [waiting for waiting in here if stored and waiting.nth in stored.recipients]
            if stored and still:
                self.settler.settle(stored, still, [outcome] * len(still), attempt)
            self.settler.done([waiting for waiting in here if waiting not in still], [])
            self.recent.forget(message)
