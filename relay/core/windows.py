"""How often something happened lately: sliding windows of bounded memory, one for each key.

A window is a ring of buckets, so it slides in steps of a 60th of its length: what it counts is between 59/60
and the whole of it old at most. Keys are kept as many as allowed, the one that was silent longest goes first.
"""

from __future__ import annotations

from array import array
from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

BUCKETS = 60
KEYS_MOST = 1000  # of one rule; about 1.3 KB each
SLACK = BUCKETS // 10  # buckets: a smaller step back is waited out

Key = TypeVar("Key", bound=Hashable)


class Window:
    """Two counts over the last `length_s` seconds: everything, and the hits among it. A clock that steps
    back goes on from where it was; one that steps forward lets time pass."""

    __slots__ = ("_at", "_hits", "_lag", "_total", "_width", "hits", "total")

    def __init__(self, length_s: float, now: float) -> None:
        self._width = length_s / BUCKETS
        self._total, self._hits = array("Q", bytes(8 * BUCKETS)), array("Q", bytes(8 * BUCKETS))
        self._lag = 0  # buckets by which the clock has stepped back since
        self._at = int(now // self._width)
        self.total = self.hits = 0

    def count(self, now: float, *, hit: bool, known: bool = False) -> None:
        """One more, at `now`; `known`: it was counted before, and only now turns out to be a hit."""
        self.advance(now)
        spot = self._at % BUCKETS
        if not known:
            self._total[spot] += 1
            self.total += 1
        if hit:
            self._hits[spot] += 1
            self.hits += 1

    def advance(self, now: float) -> None:
        """Forgets what is too old at `now`."""
        to = int(now // self._width) + self._lag
        if to <= self._at:
            if to < self._at - SLACK:
                self._lag += self._at - to
            return
        for old in range(self._at + 1, min(to, self._at + BUCKETS) + 1):
            spot = old % BUCKETS
            self.total -= self._total[spot]
            self.hits -= self._hits[spot]
            self._total[spot] = self._hits[spot] = 0
        self._at = to


class Windows(Generic[Key]):
    """A window for each key, at most `most` of them."""

    def __init__(self, length_s: float, most: int = KEYS_MOST) -> None:
        self.length_s, self.most = length_s, most
        self._kept: OrderedDict[Key, Window] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def count(self, key: Key, now: float, *, hit: bool, known: bool = False) -> Window:
        """Counts one of a key and returns its window; `known` as in Window.count."""
        window = self._kept.get(key)
        if window is None:
            window = self._kept[key] = Window(self.length_s, now)
            if len(self._kept) > self.most:
                self._kept.popitem(last=False)
        else:
            self._kept.move_to_end(key)
        window.count(now, hit=hit, known=known)
        return window

    def forget(self, key: Key) -> None:
        """The key starts anew."""
        self._kept.pop(key, None)
