"""From the store to the lanes in time: keeps a backlog for each stream and hands out what is due."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence
from typing import Protocol

from relay.core.backlog import Backlog, Page
from relay.core.waiting import Mark, Part, Waiting
from relay.queue.store import StoreBusy

log = logging.getLogger("relay.queue")

TICK_S = 0.25  # how late a retry may start; fresh mail does not wait for it
BUSY_TICK_S = 0.05  # while mail waits in the store that could go now
PAGES_MOST = 8  # of one stream, then the others have their turn


class Paged(Protocol):
    """What is needed of the store."""

    async def due(
        self, stream: str, after: Mark, before: float, limit: int, only: Part | None = None
    ) -> list[Waiting]: ...

    async def streams(self) -> list[str]: ...


class Pager:
    """`place` gets every recipient that is due, once."""

    def __init__(
        self, store: Paged, *, most: int, clock: Callable[[], float], place: Callable[[Waiting], None]
    ) -> None:
        self.store, self.most, self.clock, self.place = store, most, clock, place
        self.backlogs: dict[str, Backlog] = {}
        self._again = asyncio.Event()

    def backlog(self, stream: str) -> Backlog:
        """The stream's backlog, made when first asked for."""
        found = self.backlogs.get(stream)
        if found is None:
            found = self.backlogs[stream] = Backlog(self.most)
            self._again.set()  # its first mail must not wait for the next tick
        return found

    def stored(self, places: Sequence[Waiting]) -> None:
        """Takes note of what was just stored, and hands out what is due of it."""
        backlog = self.backlog(places[0].stream)
        for waiting in places:
            backlog.add(waiting)
        for waiting in backlog.due(self.clock()):
            self.place(waiting)

    def reread(self, stream: str) -> None:
        """Reads one stream anew: some of its mail was left to the store."""
        self.backlog(stream).restart()

    def restart(self) -> None:
        """Reads everything anew: the store was changed by an operator."""
        for backlog in self.backlogs.values():
            backlog.restart()
        self._again.set()

    async def run(self) -> None:
        """Reads pages and hands out what falls due, for ever."""
        self._again.set()
        while True:
            if self._again.is_set():
                await self._find_streams()
            if any([await self._advance(name) for name in list(self.backlogs)]):
                continue
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._again.wait(), self._tick_s())

    def _tick_s(self) -> float:
        return BUSY_TICK_S if any(backlog.cursors for backlog in self.backlogs.values()) else TICK_S

    async def _find_streams(self) -> None:
        """A backlog for every stream that has mail."""
        self._again.clear()
        try:
            names = await self.store.streams()
        except StoreBusy as error:
            log.warning("the queue could not be read, again in %s s: %s", TICK_S, error)
            await asyncio.sleep(TICK_S)
            self._again.set()
            return
        for name in names:
            self.backlogs.setdefault(name, Backlog(self.most))

    async def _advance(self, name: str) -> bool:
        """Reads some pages of a stream and hands out what is due; True: there is more to read."""
        backlog = self.backlog(name)
        for _ in range(PAGES_MOST):
            page = backlog.page_wanted(self.clock())
            if page is not None and not await self._read(name, backlog, page):
                page = None
            for waiting in backlog.due(self.clock()):
                self.place(waiting)
            if page is None:
                return False
        return True

    async def _read(self, name: str, backlog: Backlog, page: Page) -> bool:
        try:
            found = await self.store.due(name, page.after, page.before, page.limit, page.only)
        except StoreBusy as error:
            log.warning("the queue could not be read, again in %s s: %s", TICK_S, error)
            backlog.page_failed()
            return False
        backlog.page_arrived(found)
        return True
