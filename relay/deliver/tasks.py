"""Tasks that belong to someone: named, kept from being collected, ended with their owner."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Hashable
from typing import Generic, TypeVar

log = logging.getLogger("relay.deliver")

Key = TypeVar("Key", bound=Hashable)


class Tasks:
    """The tasks of one owner. One that fails is logged with its name: a fault of ours, never of the mail."""

    def __init__(self) -> None:
        self._running: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        return len(self._running)

    def spawn(self, work: Coroutine[object, object, None], name: str) -> None:
        """Starts a task."""
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._running.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("task %r failed", task.get_name(), exc_info=error)

    async def finish(self) -> None:
        """Waits until none is left, those included that start meanwhile."""
        while self._running:
            await asyncio.gather(*self._running, return_exceptions=True)

    async def cancel(self) -> None:
        """Cancels all and waits for them."""
        for task in self._running:
            task.cancel()
        await self.finish()


class Reminders(Generic[Key]):
    """At most one timer for each key: the earliest that was asked for strikes."""

    def __init__(self, strike: Callable[[Key], None]) -> None:
        self._strike = strike
        self._timers: dict[Key, asyncio.TimerHandle] = {}

    def set(self, key: Key, delay_s: float) -> None:
        """Strikes after `delay_s` or sooner; never for an infinite one."""
        if delay_s == float("inf"):
            return
        loop = asyncio.get_running_loop()
        at, before = loop.time() + max(0.001, delay_s), self._timers.get(key)
        if before is not None:
            if before.when() <= at:
                return
            before.cancel()
        self._timers[key] = loop.call_at(at, self._now, key)

    def _now(self, key: Key) -> None:
        del self._timers[key]
        self._strike(key)
