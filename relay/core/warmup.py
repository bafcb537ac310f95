"""Warm-up: how many messages a new address may send in an hour, growing day by day until it is warm.

Receivers distrust an address they have never seen. An hour here is any hour, not that of the clock: what left
in the last 60 minutes is counted minute by minute, the minute that is half over included, so that no span of
3,600 seconds ever holds more than the allowance of its last message.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

DAY_S, HOUR_MINUTES, MINUTE_S = 86400.0, 60, 60.0
EVERYONE = ""  # the provider of a warm-up that does not tell providers apart


@dataclass(frozen=True, slots=True)
class Warmup:
    """`started` Unix s (UTC midnight); `per_hour` messages an hour on the first day, times `factor` each day
    after it; warm once that reaches `until`. `per_provider`: counted for each provider by itself."""

    started: float
    per_hour: int = 20
    factor: float = 1.4
    until: int = 20_000
    per_provider: bool = True
    where: str = ""

    def day(self, now: float) -> int:
        """Which day of the warm-up it is, from 1."""
        return max(0, int((now - self.started) // DAY_S)) + 1

    def allowance(self, now: float) -> int | None:
        """Messages an hour at `now`; None when the address is warm."""
        days = min(self.day(now) - 1, 10_000)
        try:
            allowed = self.per_hour * self.factor**days
        except OverflowError:
            return None
        return None if allowed >= self.until else int(allowed)


class Hourly:
    """What left in the last hour, minute by minute."""

    __slots__ = ("_minutes", "total")

    def __init__(self) -> None:
        self._minutes: deque[list[int]] = deque()  # [minute, messages]
        self.total = 0

    def count(self, now: float) -> None:
        """One message leaves."""
        self.advance(now)
        minute = int(now // MINUTE_S)
        if not self._minutes or self._minutes[-1][0] < minute:
            self._minutes.append([minute, 0])
        self._minutes[-1][1] += 1
        self.total += 1

    def advance(self, now: float) -> None:
        """Forgets what left more than an hour ago. What stands in the future, because the clock went back,
        counts as of now: it is forgotten an hour later."""
        minute = int(now // MINUTE_S)
        if self._minutes and self._minutes[-1][0] > minute + 1:
            self._minutes = deque([[minute, self.total]])
        while self._minutes and self._minutes[0][0] < minute - HOUR_MINUTES:
            self.total -= self._minutes.popleft()[1]

    def ready_at(self, allowed: int, now: float) -> float:
        """When fewer than `allowed` will have left in an hour (Unix s): `now`, or when enough is forgotten."""
        self.advance(now)
        left = self.total
        if left < allowed:
            return now
        for minute, count in self._minutes:
            left -= count
            if left < allowed:
                return (minute + HOUR_MINUTES + 1) * MINUTE_S
        return now + HOUR_MINUTES * MINUTE_S

    def as_list(self) -> list[list[int]]:
        """What `load` reads back."""
        return [list(pair) for pair in self._minutes]

    @classmethod
    def load(cls, pairs: object) -> Hourly:
        """From what was remembered; an empty one from anything else."""
        found = cls()
        if isinstance(pairs, list):
            found._minutes = deque([int(minute), int(count)] for minute, count in pairs)
            found.total = sum(count for _, count in found._minutes)
        return found


class WarmUps:
    """All sources that are not warm yet, and what left from them. `changed` are the counts not yet kept."""

    def __init__(self) -> None:
        self.plans: dict[str, Warmup] = {}
        self.left: dict[tuple[str, str], Hourly] = {}
        self.changed: set[tuple[str, str]] = set()

    def take_plans(self, plans: Mapping[str, Warmup]) -> None:
        """The plans by source; counts of sources without one are forgotten."""
        self.plans = dict(plans)
        for key in [key for key in self.left if key[0] not in plans]:
            del self.left[key]
            self.changed.add(key)

    def why_not(self, source: str, provider: str, now: float) -> float | None:
        """None when the source may send to the provider, else when to ask again (Unix s)."""
        plan = self.plans.get(source)
        allowed = plan.allowance(now) if plan else None
        if plan is None or allowed is None:
            return None
        left = self.left.get((source, provider if plan.per_provider else EVERYONE))
        if left is None:
            return None if allowed else now + DAY_S
        ready = left.ready_at(allowed, now)
        return ready if ready > now else None

    def started(self, source: str, provider: str, now: float) -> None:
        """A message leaves."""
        plan = self.plans.get(source)
        if plan is None or plan.allowance(now) is None:
            return
        key = (source, provider if plan.per_provider else EVERYONE)
        self.left.setdefault(key, Hourly()).count(now)
        self.changed.add(key)

    def sent(self, source: str, now: float) -> dict[str, int]:
        """Messages of the last hour by provider."""
        found = {}
        for (name, provider), left in self.left.items():
            left.advance(now)
            if name == source and left.total:
                found[provider] = left.total
        return found
