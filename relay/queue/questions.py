"""What is asked of the queue file: everything that runs on the reading connection and changes nothing."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from functools import partial
from typing import TypeVar

import aiosqlite

from relay.core.waiting import Mark, Part, Waiting
from relay.queue import reading, state
from relay.queue.hop import hop
from relay.queue.spool import Spool
from relay.queue.store import Filter, Row, Stored, Tally
from relay.queue.writing import fault

T = TypeVar("T")


class Questions:
    """The reading half of a store. Every method may raise StoreBusy or StoreBroken."""

    def __init__(self, reader: aiosqlite.Connection, spool: Spool, clock: Callable[[], float]) -> None:
        self.spool = spool
        self._reader, self._clock = reader, clock

    async def due(self, stream: str, after: Mark, before: float, limit: int, only: Part | None = None) -> list[Waiting]:
        """The stream's queued recipients behind `after` and due by `before`, in order."""
        return await self._read(partial(reading.due, stream=stream, after=after, before=before, limit=limit, only=only))

    async def load(self, message: str) -> Stored | None:
        """The message with the recipients that still wait for delivery, or None when it is gone."""
        return await self._read(partial(reading.load, message=message, spool=self.spool))

    async def find(self, which: Filter, limit: int) -> list[Row]:
        """Queued and held recipients, oldest first, at most `limit`."""
        return await self._read(partial(reading.find, which=which, limit=limit, now=self._clock()))

    async def streams(self) -> list[str]:
        """The streams that have mail in the queue."""
        return await self._read(reading.streams)

    async def oldest(self) -> dict[str, float]:
        """When the oldest queued recipient of each stream was accepted (Unix seconds)."""
        return await self._read(reading.oldest)

    async def waiting_since(self, stream: str, since: str) -> dict[str, int]:
        """How many queued recipients of the stream each stretch of ids has (`core.ids`), from `since` on."""
        return await self._read(partial(reading.waiting_since, stream=stream, since=since))

    async def tally(self) -> Tally:
        """The accounting, from one snapshot of the file."""
        return await self._read(reading.tally)

    async def recall(self, kind: str) -> dict[str, object]:
        """What was remembered of a kind, by key."""
        return await self._read(partial(state.recall, kind=kind))

    async def recall_one(self, kind: str, key: str) -> object:
        """One thing that was remembered, or None."""
        return await self._read(partial(state.recall_one, kind=kind, key=key))

    async def _read(self, question: Callable[[sqlite3.Connection], T]) -> T:
        try:
            return await hop(self._reader, question)
        except sqlite3.Error as error:
            raise fault(error) from error
