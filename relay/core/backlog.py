"""One stream's waiting recipients, as many as memory may hold; the rest stays in the store, in order.

Invariant: everything of the stream that waits and stands at or before `horizon` is in memory (here or handed
out), nothing behind it is. So a campaign of a million costs memory for `most` of them, nothing is ever
forgotten or taken twice, and another stream's backlog is never in the way.

A recipient is known from the moment it is in memory until `finished`; one that is known is not taken in again,
as what was just stored may also stand on the page that is being read.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from typing import NamedTuple

from relay.core.waiting import START, Mark, Waiting

LAST = "~"  # sorts behind every message id


class Page(NamedTuple):
    """What to read from the store: at most `limit` in order, behind `after`, due by `before` (Unix s)."""

    after: Mark
    before: float
    limit: int


class Backlog:
    """`most`: how many recipients may be in memory; `ahead_s`: how far before they are due they are read."""

    __slots__ = ("_gone", "_known", "_late", "_page", "_timed", "ahead_s", "horizon", "most", "out")

    def __init__(self, most: int, ahead_s: float = 60.0) -> None:
        self.most = most
        self.ahead_s = ahead_s
        self.horizon: Mark = START
        self.out = 0  # handed out by `due` and not yet given back by `left`
        self._timed: list[Waiting] = []
        self._page: Page | None = None
        self._late: list[Waiting] = []
        self._known: set[tuple[str, int]] = set()
        self._gone: set[tuple[str, int]] = set()  # finished while a page was read that may still show them

    def __len__(self) -> int:
        return len(self._timed) + self.out

    def add(self, waiting: Waiting) -> None:
        """Takes note of one that was just stored; one behind the horizon is left to the store."""
        if waiting.mark > self.horizon:
            if self._page is not None:
                self._late.append(waiting)  # the page under way may or may not have seen it
            return
        self._take_in(waiting)
        if len(self) > self.most and waiting.mark < self.horizon:
            self._draw_in(waiting.mark)

    def _take_in(self, waiting: Waiting) -> None:
        if waiting.key not in self._known:
            self._known.add(waiting.key)
            heappush(self._timed, waiting)

    def _draw_in(self, horizon: Mark) -> None:
        """Forgets what is behind a nearer horizon: the store has it."""
        self.horizon = horizon
        self._known -= {waiting.key for waiting in self._timed if waiting.mark > horizon}
        self._timed = [waiting for waiting in self._timed if waiting.mark <= horizon]
        heapify(self._timed)

    def due(self, now: float) -> list[Waiting]:
        """Hands out everything due by `now`, in order."""
        ready = []
        while self._timed and self._timed[0].due_at <= now:
            ready.append(heappop(self._timed))
        self.out += len(ready)
        return ready

    def left(self, count: int = 1) -> None:
        """`count` of those handed out are under way: they no longer take room here."""
        self.out -= count

    def finished(self, waiting: Waiting) -> None:
        """What came of it is in the store: it may come again, with a later due time."""
        self._known.discard(waiting.key)
        if self._page is not None:
            self._gone.add(waiting.key)

    def next_due(self) -> float | None:
        """When the first of those in memory is due (Unix s), or None."""
        return self._timed[0].due_at if self._timed else None

    def page_wanted(self, now: float) -> Page | None:
        """The page to read now, or None. The caller reads it and brings it to `page_arrived`."""
        near = self.horizon[0] < now + self.ahead_s / 2
        if self._page is not None or not near or len(self) > self.most // 2:
            return None
        self._page = Page(self.horizon, now + self.ahead_s, self.most - len(self))
        return self._page

    def page_arrived(self, found: list[Waiting]) -> None:
        """Moves the horizon over the page, and takes in what was stored while it was read."""
        page, self._page = self._page, None
        if page is None:
            return  # the backlog was restarted meanwhile: this page is of the past
        late, self._late = self._late, []
        gone, self._gone = self._gone, set()
        if self.horizon != page.after:
            return  # drawn in meanwhile: the page begins behind what was forgotten, and would hide it
        full = len(found) >= page.limit
        self.horizon = found[-1].mark if full else (page.before, LAST, 0)
        for waiting in found:
            if waiting.key not in gone:
                self._take_in(waiting)
        for waiting in late:
            self.add(waiting)

    def page_failed(self) -> None:
        """The store could not answer: the same page may be wanted again."""
        self._page = None
        self._late = []
        self._gone.clear()

    def restart(self) -> None:
        """Forgets everything that was not handed out: an operator changed the store under it."""
        self._known -= {waiting.key for waiting in self._timed}
        self.horizon, self._timed, self._late = START, [], []
        self._page = None
        self._gone.clear()
