"""What the writing connection does between commits: checkpoints, and room on the disk that is needed no more.

A commit must wait for neither. A checkpoint runs once the log has grown, or when nothing happens; room is given back
a megabyte at a time, when nothing has happened for a moment.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from functools import partial
from typing import TypeVar

import aiosqlite

from relay.core.quota import Stock
from relay.queue.hop import checkpoint, hop
from relay.queue.opening import PAGE_BYTES
from relay.queue.stock import reusable
from relay.queue.store import StoreBroken
from relay.queue.writing import fault

CHECKPOINT_BYTES = 16 << 20
IDLE_S = 1.0
QUIET_S = 0.02  # without work, before room is given back
STEP_PAGES = 64  # a megabyte: whoever comes meanwhile waits some milliseconds
KEPT_BYTES = 64 << 20  # free pages that stay: the next mail uses them, and the file does not grow and shrink for ever
T = TypeVar("T")


class Housework:
    """`unchecked` are the bytes written since the last checkpoint, roughly: the log's file never shrinks by itself."""

    def __init__(self, writer: aiosqlite.Connection) -> None:
        self._writer = writer
        self.unchecked = 0

    def patience_s(self, stock: Stock) -> float:
        """How long nothing has happened before there is time for `tidy`."""
        return QUIET_S if stock.reusable > KEPT_BYTES else IDLE_S

    async def after_commit(self) -> None:
        """A checkpoint, when the log has grown. Raises StoreBroken."""
        if self.unchecked >= CHECKPOINT_BYTES:
            await self.checkpoint("PASSIVE")

    async def tidy(self, stock: Stock, *, copying: bool) -> None:
        """Nothing is to be committed: gives room back, or else clears the log; not the whole of it while a copy is
        made, as that would wait for the copy's reader. Raises StoreBroken."""
        if stock.reusable > KEPT_BYTES:
            stock.reusable = await self._do(give_back) or 0  # where it failed: unknown until the next commit says
            self.unchecked += 2 * STEP_PAGES * PAGE_BYTES
            if stock.reusable <= KEPT_BYTES:
                await self.checkpoint("PASSIVE" if copying else "TRUNCATE")  # done: the log goes too
            else:
                await self.after_commit()
        elif self.unchecked:
            whole = self.unchecked > CHECKPOINT_BYTES // 4 and not copying
            await self.checkpoint("TRUNCATE" if whole else "PASSIVE")

    async def checkpoint(self, mode: str) -> None:
        """Moves what the log holds into the database file, as far as there is room. Raises StoreBroken."""
        self.unchecked = 0
        await self._do(partial(checkpoint, mode=mode))

    async def _do(self, work: Callable[[sqlite3.Connection], T]) -> T | None:
        try:
            return await hop(self._writer, work)
        except sqlite3.Error as error:
            if isinstance(fault(error), StoreBroken):
                raise StoreBroken(str(error)) from error
        return None


def give_back(connection: sqlite3.Connection) -> int:
    """Moves the last pages of the file into free ones and cuts it there; the disk has them after the next checkpoint.
    Returns how many free bytes are left."""
    connection.executescript(f"PRAGMA incremental_vacuum({STEP_PAGES})")  # `execute` stops after its first page
    return reusable(connection)
