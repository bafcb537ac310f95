"""How fast a stream uses up what its objective lets it miss: burn rates over 5 minutes, 1 hour, 6 hours, 3 days.

A burn rate of 1 uses exactly the allowance: with 99.9 % promised, one recipient in a thousand is late. 14.4
uses the allowance of 30 days in two. Memory does not grow with mail: a ring of slots for each window, each
slot a pair of numbers. Counting adds to one open slot; the rings are touched once in ten seconds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

WINDOWS_S: dict[str, int] = {"5m": 300, "1h": 3600, "6h": 21600, "3d": 259200}
SLOT_S = 10  # the open slot: a burn rate is at most this much behind
# seconds a slot of each ring: 30, 60, 72 and 72 slots
RING_S: dict[str, int] = {"5m": 10, "1h": 60, "6h": 300, "3d": 3600}


@dataclass(slots=True)
class Ring:
    """Sums over the last `window_s`, in slots of `slot_s` by their number since 1970; the oldest slot leaves as a
    whole, so that the window reaches back between `window_s` minus one slot and `window_s`."""

    window_s: int
    slot_s: int
    slots: dict[int, tuple[int, int]] = field(default_factory=dict)  # number → (good, total)
    good: int = 0
    total: int = 0

    def add(self, at_s: float, good: int, total: int) -> None:
        """Counts into the slot of a time."""
        number = int(at_s // self.slot_s)
        had_good, had_total = self.slots.get(number, (0, 0))
        self.slots[number] = (had_good + good, had_total + total)
        self.good += good
        self.total += total

    def forget(self, now: float) -> None:
        """Lets go what is older than the window, and what a clock that was wrong put into the future."""
        newest = int(now // self.slot_s)
        oldest = newest - self.window_s // self.slot_s + 1
        for number in [one for one in self.slots if not oldest <= one <= newest]:
            good, total = self.slots.pop(number)
            self.good -= good
            self.total -= total


class Burn:
    """The counts of one stream; `good` and `total` since the start, or what `restore` brought."""

    __slots__ = ("_good", "_rings", "_slot", "_total", "good", "total")

    def __init__(self) -> None:
        self.good = self.total = 0
        self._slot = -1  # the number of the open slot, and what is in it
        self._good = self._total = 0
        self._rings = {name: Ring(window, RING_S[name]) for name, window in WINDOWS_S.items()}

    def count(self, at_s: float, good: int, total: int) -> None:
        """Counts `total` recipients of which `good` met the objective, at a Unix time."""
        slot = int(at_s // SLOT_S)
        if slot != self._slot:
            self._flush()
            self._slot = slot
        self._good += good
        self._total += total
        self.good += good
        self.total += total

    def _flush(self) -> None:
        if self._total:
            for ring in self._rings.values():
                ring.add(self._slot * SLOT_S, self._good, self._total)
        self._good = self._total = 0

    def rates(self, now: float, target: float) -> dict[str, float]:
        """The burn rate of each window, 0 where nothing was counted in it. `target` is the promised share,
        below 1."""
        self._flush()
        allowed = 1 - target
        rates = {}
        for name, ring in self._rings.items():
            ring.forget(now)
            rates[name] = (1 - ring.good / ring.total) / allowed if ring.total else 0.0
        return rates

    def keep(self, now: float) -> dict[str, list[list[int]]]:
        """What a restart must not forget, as JSON: for each window its slots [number, good, total]."""
        self._flush()
        kept = {}
        for name, ring in self._rings.items():
            ring.forget(now)
            kept[name] = [[number, *counts] for number, counts in sorted(ring.slots.items())]
        return kept

    def restore(self, kept: Mapping[str, Sequence[Sequence[int]]]) -> None:
        """Takes in what `keep` gave in an earlier life; the counters since the start stay 0."""
        for name, slots in kept.items():
            if ring := self._rings.get(name):
                for number, good, total in slots:
                    ring.add(number * ring.slot_s, good, total)
