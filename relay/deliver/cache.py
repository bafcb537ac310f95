"""Answers kept for a while: bounded, expiring, and asked for once however many want them at the same time."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class SharedCache(Generic[K, V]):
    """The last `size` answers, least recently used out first. `make` returns (value, seconds to keep it).

    Concurrent askers of one key share one call of `make`. It runs in a task of its own: an asker that is
    cancelled takes nothing from the others, and the answer is kept even when nobody waits for it any more.
    """

    def __init__(
        self, make: Callable[[K], Awaitable[tuple[V, float]]], *, size: int, clock: Callable[[], float]
    ) -> None:
        self._make = make
        self._size = size
        self._clock = clock
        self._kept: OrderedDict[K, tuple[V, float]] = OrderedDict()
        self._asking: dict[K, asyncio.Task[V]] = {}

    def peek(self, key: K) -> V | None:
        """The value when it is kept and fresh, else None; never asks."""
        entry = self._kept.get(key)
        if entry is None:
            return None
        if entry[1] <= self._clock():
            del self._kept[key]
            return None
        self._kept.move_to_end(key)
        return entry[0]

    def left_s(self, key: K) -> float:
        """Seconds until the kept value expires; 0 when there is none."""
        entry = self._kept.get(key)
        return max(0.0, entry[1] - self._clock()) if entry else 0.0

    async def get(self, key: K) -> V:
        """The value, kept or new; raises what `make` raised, to every asker, and keeps nothing then."""
        value = self.peek(key)
        if value is not None:
            return value
        task = self._asking.get(key)
        if task is None:
            task = asyncio.create_task(self._ask(key), name=f"ask {key}")
            self._asking[key] = task
            task.add_done_callback(lambda done: self._forget_task(key, done))
        return await asyncio.shield(task)

    def clear(self) -> None:
        """Forgets every answer; questions under way go on."""
        self._kept.clear()

    async def close(self) -> None:
        """Cancels the questions under way and waits for their end."""
        tasks = list(self._asking.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def __len__(self) -> int:
        return len(self._kept)

    async def _ask(self, key: K) -> V:
        value, keep_s = await self._make(key)
        self._kept[key] = (value, self._clock() + keep_s)
        self._kept.move_to_end(key)
        if len(self._kept) > self._size:
            self._kept.popitem(last=False)
        return value

    def _forget_task(self, key: K, task: asyncio.Task[V]) -> None:
        del self._asking[key]
        if not task.cancelled():
            task.exception()  # seen: when every asker has gone, nobody else is told, and nothing is lost
