"""The embedded queue: SQLite with group commit.

1. `put` and `settle` leave their work in `_next` and wait; the committer task takes all that waits and
   has it written in one transaction, one hop to the database's thread, one fsync (`writing.write_group`).
2. Only then do the puts return, and `stored` hears of every message that is now durable, also of one whose
   sender has gone away meanwhile.
3. Settlements are never lost to a full disk: they stay in `_next` and are tried again.
4. Checkpoints run in the same thread between commits, and room is given back there (`housework`).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sqlite3
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Self, TypeVar

import aiosqlite

from relay.core.message import Prepared
from relay.core.quota import Stock
from relay.core.waiting import Waiting
from relay.queue import operating, reading, state, stock
from relay.queue.ballast import Ballast
from relay.queue.checking import Findings, check
from relay.queue.ending import begin, finish
from relay.queue.gathering import Gathering
from relay.queue.hop import checkpoint, hop, in_transaction
from relay.queue.housework import Housework
from relay.queue.opening import PAGE_BYTES, abandon, open_reader, open_writer
from relay.queue.order import next_group
from relay.queue.questions import Questions
from relay.queue.spool import Spool
from relay.queue.store import End, Filter, Receipt, Refused, Row, Settlement, StoreBroken, StoreBusy, StoreFull
from relay.queue.writing import Group, write_group

log = logging.getLogger("relay.queue")

GROUP_MOST = 200  # puts a transaction: bounds how long the first one waits for the last
PAGES_EACH = 2  # pages a message or settlement dirties beside its bytes, in a group
FULL_RETRY_S = 1.0
T = TypeVar("T")
OnStored = Callable[[Prepared, list[Waiting]], None]
OnCommit = Callable[[float, int], None]
Onto = Callable[[Prepared], Prepared]


class SqliteStore(Questions):
    """The store over one SQLite file and a spool folder; see `queue.store` for the contract."""

    def __init__(
        self, path: Path, writer: aiosqlite.Connection, reader: aiosqlite.Connection, spool: Path | Spool,
        *, stored: OnStored, committed: OnCommit, clock: Callable[[], float], onto: Onto,
    ) -> None:  # fmt: skip
        super().__init__(reader, spool if isinstance(spool, Spool) else Spool(spool), clock)
        self._onto, self._ballast = onto, Ballast(self.spool.folder.parent / "ballast")
        self.swept: tuple[int, set[str]] = (0, set())
        self.stock = Stock()
        self.unclean = False  # the last process did not close the queue
        self._path, self._writer = path, writer
        self._housework, self._gathering = Housework(writer), Gathering()
        self._stored, self._committed = stored, committed
        self._next: list[tuple[Prepared, asyncio.Future[Receipt]]] = []
        self._settlements: list[Settlement] = []
        self._settled: asyncio.Future[Refused] | None = None
        self._closing = self._dropped = False
        self._reason, self._wake = "", asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @classmethod
    async def open(
        cls, path: Path, spool: Path | Spool, *, stored: OnStored, committed: OnCommit,
        clock: Callable[[], float] = time.time, onto: Onto = lambda message: message,
    ) -> Self:  # fmt: skip
        """Opens or makes the queue, whose own time is `clock`; `onto` puts a message's times on it. Raises StoreBroken,
        OSError. Unfinished spool files are swept."""
        writer = aiosqlite.Connection(partial(open_writer, path), 64)
        reader = aiosqlite.Connection(partial(open_reader, path), 64)
        try:
            await writer
            await reader
            store = cls(path, writer, reader, spool, stored=stored, committed=committed, clock=clock, onto=onto)
            store.stock = await hop(writer, stock.load)
            store.unclean = await store._begin()
            await hop(writer, store._ballast.take)
            store.swept = store.spool.sweep(await store._read(reading.spooled))
        except BaseException:
            await abandon(writer, reader)
            raise
        store._task = asyncio.create_task(store._commit(), name="queue committer")
        return store

    @property
    def committer(self) -> asyncio.Task[None]:
        """The task whose death means that nothing is stored any more."""
        assert self._task is not None
        return self._task

    async def put(self, message: Prepared) -> Receipt:
        """Stores one message, unless its idempotency key is known; durable on return. Raises StoreFull, StoreBusy or
        StoreBroken."""
        return await self.put_soon(message)

    def put_soon(self, message: Prepared) -> asyncio.Future[Receipt]:
        """The same without waiting: the future ends as `put` does."""
        if self._reason:
            raise StoreBroken(self._reason)
        if self._closing:
            raise StoreBusy("the queue is closing")
        if self._ballast.gone:
            raise StoreFull("the room that is left is for recording deliveries")
        done: asyncio.Future[Receipt] = asyncio.get_running_loop().create_future()
        self._next.append((self._onto(message), done))
        self._wake.set()
        return done

    async def settle(self, settlements: Sequence[Settlement]) -> Refused:
        """Records attempts; returns when they are durable, with those that changed nothing and others that were
        committed with them. Never lost while the process lives."""
        return await self.settle_soon(settlements)

    def settle_soon(self, settlements: Sequence[Settlement]) -> asyncio.Future[Refused]:
        """The same without waiting: the future ends when they are durable."""
        if self._settled is None:
            self._settled = asyncio.get_running_loop().create_future()
        self._settlements.extend(settlements)
        self._wake.set()
        return self._settled

    async def remember(self, kind: str, changes: Mapping[str, object]) -> None:
        """Keeps JSON values beside the mail, durable on return; None takes a key away."""
        await self._change(partial(state.remember, kind=kind, changes=changes))

    async def hold(self, which: Filter, note: str = "") -> int:
        """Takes queued recipients out of the schedule; returns how many. The note says why."""
        return await self._change(partial(operating.hold, which=which, now=self._clock(), note=note))

    async def release(self, which: Filter, now: float) -> int:
        """Puts held recipients back, due `now`; returns how many."""
        return await self._change(partial(operating.release, which=which, now=now))

    async def retry(self, which: Filter, now: float) -> int:
        """Makes queued recipients due `now`; returns how many."""
        return await self._change(partial(operating.reschedule, which=which, now=now))

    async def shift(self, seconds: float) -> None:
        """Moves all times in the queue: they were on another line than this process counts on."""
        await self._change(partial(operating.shift, seconds=seconds))

    async def cancel(self, which: Filter) -> list[Row]:
        """Ends recipients for good, as cancelled; returns who they were."""
        return await self._end(which, End.CANCELLED)

    async def confirm(self, which: Filter) -> list[Row]:
        """Ends those of the recipients that were lost after the dot as delivered; returns who they were."""
        return await self._end(which, End.DELIVERED)

    async def _end(self, which: Filter, end: End) -> list[Row]:
        work = partial(operating.remove_recipients, which=which, now=self._clock(), end=end)
        rows, unspooled, moved = await self._change(work)
        self.stock.move(moved)
        self.spool.remove(unspooled)
        return rows

    async def check(self, *, full: bool) -> Findings:
        """Proves the queue in a thread and over a connection of its own, while mail goes on. Raises StoreBroken."""
        return await asyncio.to_thread(check, self._path, self.spool.folder, full=full, live=True)

    def unhealthy_reason(self) -> str:
        """Why nothing can be stored, or ""; costs nothing."""
        return self._reason

    async def close(self) -> None:
        """Writes what waits, checkpoints and closes; nothing that was accepted is in memory only."""
        self._closing = True
        self._wake.set()
        await asyncio.gather(self.committer, return_exceptions=True)
        try:
            if not self._reason:
                await self._finish()
                await hop(self._writer, partial(checkpoint, mode="TRUNCATE"))
        except sqlite3.Error as error:  # the next start reads the log
            log.error("the log of the queue stays as it is: %s", error)
        finally:
            await self._reader.close()
            await self._writer.close()

    async def _begin(self) -> bool:
        """Whether the last process did not come to its `_finish`; a disk that takes no mark is no reason not to
        start."""
        try:
            return await self._change(begin)
        except (StoreFull, StoreBusy):
            return True

    async def _finish(self) -> None:
        """Marks the queue as closed in order, unless something could not be recorded."""
        if not self._dropped:
            with contextlib.suppress(StoreFull, StoreBusy):
                await self._change(finish)

    async def _commit(self) -> None:
        """The committer. However it ends, nobody is left waiting for an answer."""
        try:
            await self._commit_groups()
        except Exception as error:
            self._reason = self._reason or f"{type(error).__name__}: {error}"
            raise
        finally:
            for _, done in self._next:
                if not done.done():
                    done.set_exception(StoreBroken(self._reason or "the queue is closed"))
            self._next.clear()

    async def _commit_groups(self) -> None:
        while not self._closing or self._next or (self._settlements and not self._reason):
            if self._ballast.due():
                await hop(self._writer, self._ballast.take)
            if not self._wake.is_set() and not await self._woken():
                await self._housework.tidy(self.stock, copying=self.spool.leases.any)
                continue
            await self._gathering.more(len(self._next))
            self._wake.clear()
            await self._commit_group()
            await self._housework.after_commit()

    async def _woken(self) -> bool:
        """Waits for work, until there is time for other things."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._wake.wait(), self._housework.patience_s(self.stock))
        return self._wake.is_set()

    async def _commit_group(self) -> None:
        taken, self._next = next_group(self._next, GROUP_MOST, lambda one: one[0].priority)
        settlements, self._settlements = self._settlements, []
        settled, self._settled = self._settled, None
        if self._next:
            self._wake.set()
        group, begun = Group([message for message, _ in taken], settlements), time.perf_counter()
        try:
            waiting = await hop(self._writer, partial(write_group, spool=self.spool, group=group))
        except (StoreFull, StoreBusy, StoreBroken) as error:
            self._take_back(settlements, settled)
            await self._refuse(taken, error)
            return
        self._committed(self._gathering.ended() - begun, len(group.stored))
        self.stock.move(group.moved)
        self.stock.reusable = group.reusable
        self._housework.unchecked += PAGES_EACH * PAGE_BYTES * (len(taken) + len(settlements))
        self._housework.unchecked += sum(message.content.size for message, _ in taken)
        try:
            for message, places in zip(group.stored, waiting, strict=True):
                self._stored(message, places)
        finally:  # durable is durable, whatever those who are told make of it
            for (_, done), receipt in zip(taken, group.receipts, strict=True):
                _done(done, receipt)
            _done(settled, group.refused)

    def _take_back(self, settlements: list[Settlement], settled: asyncio.Future[Refused] | None) -> None:
        """Settlements go back to the front of the line; those who wait for later ones wait for both."""
        self._settlements[:0] = settlements
        if settled is not None and self._settled is not None:
            self._settled.add_done_callback(lambda later: _done(settled, later.result()))
        self._settled = self._settled or settled

    async def _refuse(
        self, taken: list[tuple[Prepared, asyncio.Future[Receipt]]], error: StoreFull | StoreBusy | StoreBroken
    ) -> None:
        if isinstance(error, StoreBroken):
            self._reason = str(error)
        for _, done in taken:
            if not done.done():
                done.set_exception(error)
        if isinstance(error, StoreBroken):
            raise error
        await self._housework.checkpoint("PASSIVE")  # a log that starts over needs no new room
        if self._settlements and self._closing and not taken:
            # a stop does not wait for room: what was delivered and not recorded is sent once more (RFC 1047)
            log.error("%d attempts could not be recorded before the stop: %s", len(self._settlements), error)
            self._dropped = True
            self._settlements.clear()
        elif self._settlements:  # once more without the new mail, then without the ballast, then slowly
            if not taken and self._ballast.gone:
                await asyncio.sleep(FULL_RETRY_S)
            elif not taken:
                await hop(self._writer, self._ballast.throw_off)
            self._wake.set()

    async def _change(self, work: Callable[[sqlite3.Connection], T]) -> T:
        return await hop(self._writer, partial(in_transaction, work=work))


def _done(future: asyncio.Future[T] | None, result: T) -> None:
    if future is not None and not future.done():
        future.set_result(result)
