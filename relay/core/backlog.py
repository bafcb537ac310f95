"""One stream's waiting recipients, as many as memory may hold; the rest stays in the store, in order.

Cursors are places in the stream's order. The `horizon` speaks for every recipient of the stream. A part of it,
one flow (app and campaign) to one domain, that has more than its share in memory gets a cursor of its own,
which stays behind while the horizon goes on. Invariant: a recipient is in memory (here or handed out) if and
only if its part's cursor, or else the horizon, has passed it. So a campaign of a million or a destination that
died costs memory for its share only, what comes after it is still found, and nothing is ever forgotten or taken
twice.

The share is a part of what is free just now (dynamic thresholds: Choudhury and Hahne, IEEE/ACM Transactions on
Networking 6(2), 1998): however many parts are greedy, some of the window stays free for
those who are not, even while none of the greedy moves at all: a hundred of them leave 31 of 20,000 places.

A recipient is known from the moment it is in memory until `finished`; one that is known is not taken in again,
as what was just stored may also stand on the page that is being read.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from typing import NamedTuple

from relay.core.waiting import START, Mark, Part, Waiting

LAST = "~"  # sorts behind every message id
PAGE_MOST = 500  # rows read at once: to place them holds the event loop for some milliseconds
PART_LEAST = 16  # rows of a part: more than it may take in would be read for nothing
REST_S = 0.2  # after a page for which there was no room
FREE_SHARE = 16  # a part may have one in so many of the places that are free


class Page(NamedTuple):
    """What to read from the store: at most `limit` in order, behind `after`, due by `before` (Unix s), of a
    part of the stream or of all of it."""

    after: Mark
    before: float
    limit: int
    only: Part | None = None


class Backlog:
    """`most`: how many recipients may be in memory; `ahead_s`: how far before they are due they are read."""

    __slots__ = ("_counts", "_gone", "_hungry", "_known", "_late", "_main_last", "_page", "_rest", "_timed",
                 "ahead_s", "cursors", "horizon", "most", "out")  # fmt: skip

    def __init__(self, most: int, ahead_s: float = 60.0) -> None:
        self.most = most
        self.ahead_s = ahead_s
        self.horizon: Mark = START
        self.cursors: dict[Part, Mark] = {}
        self.out = 0  # handed out by `due` and not yet given back by `left`
        self._timed: list[Waiting] = []
        self._page: Page | None = None
        self._late: list[Waiting] = []
        self._known: set[tuple[str, int]] = set()
        self._counts: dict[Part, int] = {}  # of what is known, by part
        self._hungry: dict[Part, None] = {}  # with a cursor, and short of mail in memory
        self._gone: set[tuple[str, int]] = set()  # finished while a page was read that may still show them
        self._main_last = False
        self._rest = float("-inf")

    def __len__(self) -> int:
        return len(self._timed) + self.out

    def add(self, waiting: Waiting) -> None:
        """Takes note of one that was just stored; one behind a cursor is left to the store."""
        mark, part = waiting.mark, waiting.part
        if mark > self.horizon or (self.cursors and self._parked(waiting)):
            if self._page is not None:
                self._late.append(waiting)  # the page under way may or may not have seen it
            return
        if waiting.key in self._known:
            return
        if self._greedy(part):
            self._park(waiting)
            self._forget([one for one in self._timed if one.part == part and one.mark > mark])
            return
        self._take_in(waiting)
        if len(self) > self.most and mark < self.horizon:
            self._draw_in(mark)

    def _parked(self, waiting: Waiting) -> bool:
        """Whether its part has a cursor that has not yet passed it."""
        cursor = self.cursors.get(waiting.part)
        return cursor is not None and cursor < waiting.mark

    def _greedy(self, part: Part) -> bool:
        """Whether the part has its share in memory already."""
        count = self._counts.get(part, 0)
        return count > 0 and count >= self._share()

    def _share(self) -> int:
        share = (self.most - len(self._timed) - self.out) // FREE_SHARE
        return share if share > 1 else 1

    def _park(self, waiting: Waiting) -> None:
        """Leaves this one and what is behind it of its part to the store, until there is room."""
        self.cursors[waiting.part] = _just_before(waiting.mark)
        self._look_after(waiting.part)

    def _forget(self, gone: list[Waiting]) -> None:
        if gone:
            keys = {one.key for one in gone}
            self._timed = [one for one in self._timed if one.key not in keys]
            heapify(self._timed)
            for one in gone:
                self._unknow(one)

    def _take_in(self, waiting: Waiting) -> None:
        part = waiting.part
        self._known.add(waiting.key)
        self._counts[part] = self._counts.get(part, 0) + 1
        heappush(self._timed, waiting)

    def _unknow(self, waiting: Waiting) -> None:
        key = waiting.key
        if key not in self._known:
            return
        self._known.discard(key)
        part = waiting.part
        if left := self._counts[part] - 1:
            self._counts[part] = left
        else:
            del self._counts[part]
        if part in self.cursors:
            self._look_after(part)

    def _look_after(self, part: Part) -> None:
        """A part with a cursor that has less than half its share in memory wants a page."""
        if self._counts.get(part, 0) <= self._share() // 2:
            self._hungry[part] = None

    def _draw_in(self, horizon: Mark) -> None:
        """Forgets what is behind a nearer horizon: the store has it."""
        self.horizon = horizon
        self._forget([one for one in self._timed if one.mark > horizon])
        for part in [part for part, cursor in self.cursors.items() if cursor >= horizon]:
            del self.cursors[part]

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
        self._unknow(waiting)
        if self._page is not None:
            self._gone.add(waiting.key)

    def next_due(self) -> float | None:
        """When the first of those in memory is due (Unix s), or None."""
        return self._timed[0].due_at if self._timed else None

    def page_wanted(self, now: float) -> Page | None:
        """The page to read now, or None. The caller reads it and brings it to `page_arrived`."""
        if self._page is not None or len(self) >= self.most:
            return None
        limit = min(PAGE_MOST, self.most)
        near = self.horizon[0] < now + self.ahead_s / 2 and now >= self._rest
        part = None if near and not self._main_last else self._hungriest()  # what is new and what is hungry take turns
        self._main_last = part is None
        if part is not None:
            limit = min(limit, max(PART_LEAST, self._share()))
            self._page = Page(self.cursors[part], self.horizon[0], limit, part)
        elif near:
            self._page = Page(self.horizon, now + self.ahead_s, limit)
        return self._page

    def _hungriest(self) -> Part | None:
        while self._hungry:
            part = next(iter(self._hungry))
            del self._hungry[part]
            if part in self.cursors:
                return part
        return None

    def page_arrived(self, found: list[Waiting]) -> None:
        """Moves a cursor over the page, and takes in what was stored while it was read."""
        page, self._page = self._page, None
        if page is None:
            return  # the backlog was restarted meanwhile: this page is of the past
        if page.only is None:
            self._arrived_at_horizon(page, found)
        elif self.cursors.get(page.only) == page.after:
            self._arrived_at_cursor(page.only, page, found)
        self._gone.clear()
        late, self._late = self._late, []
        for waiting in late:
            self.add(waiting)

    def _arrived_at_horizon(self, page: Page, found: list[Waiting]) -> None:
        if self.horizon != page.after:
            return  # drawn in meanwhile
        for waiting in found:
            if not self._admit(waiting):
                self.horizon = _just_before(waiting.mark)
                self._rest = page.before - self.ahead_s + REST_S
                return
        self.horizon = found[-1].mark if len(found) >= page.limit else (page.before, LAST, 0)

    def _admit(self, waiting: Waiting) -> bool:
        """Takes in one that only the horizon stood before, or leaves it to its part's cursor; False: no room."""
        if self._settled(waiting) or self._parked(waiting):
            return True
        if len(self) >= self.most:
            return False
        if self._greedy(waiting.part):
            self._park(waiting)
        else:
            self._take_in(waiting)
        return True

    def _settled(self, waiting: Waiting) -> bool:
        return waiting.key in self._known or waiting.key in self._gone

    def _arrived_at_cursor(self, part: Part, page: Page, found: list[Waiting]) -> None:
        """The part's cursor goes on until the part has its share, or has caught up with the horizon."""
        for waiting in found:
            if waiting.mark > self.horizon:
                break
            if not self._settled(waiting):
                if len(self) >= self.most or self._greedy(part):
                    return self._look_after(part)
                self._take_in(waiting)
            self.cursors[part] = waiting.mark
        else:
            if len(found) >= page.limit:
                return self._look_after(part)
        del self.cursors[part]
        return None

    def page_failed(self) -> None:
        """The store could not answer: the same page may be wanted again."""
        if self._page is not None and self._page.only is not None:
            self._hungry[self._page.only] = None
        self._page, self._late = None, []
        self._gone.clear()

    def restart(self) -> None:
        """Forgets everything that was not handed out: an operator changed the store under it."""
        self._forget(list(self._timed))
        self.horizon, self._late, self._page = START, [], None
        self.cursors.clear()
        self._hungry.clear()
        self._gone.clear()


def _just_before(mark: Mark) -> Mark:
    return (mark[0], mark[1], mark[2] - 1)
