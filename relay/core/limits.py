"""What a destination bears from one of our addresses: rates, and a pause after trouble (`core.gate` counts)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Rates:
    """Limits of one source towards one provider or site; 0 means none for the rates.
    `connections` at once, `messages_per_connection`, new connections a minute, messages a second."""

    connections: int = 5
    messages_per_connection: int = 50
    connections_per_minute: float = 0.0
    messages_per_second: float = 0.0


@dataclass(slots=True)
class TokenBucket:
    """At most `burst` at once and `rate` a second in the long run; rate 0: no limit."""

    rate: float
    burst: float
    level: float = 0.0
    at: float = float("-inf")

    def ready_at(self, now: float) -> float:
        """When the next one may go: `now`, or later (Unix s)."""
        if self.rate <= 0:
            return now
        self._fill(now)
        return now if self.level >= 1 else now + (1 - self.level) / self.rate

    def full(self, now: float) -> bool:
        """Whether it holds no memory of what went: a new one would be the same."""
        if self.rate > 0:
            self._fill(now)
        return self.rate <= 0 or self.level >= self.burst

    def take(self, now: float) -> None:
        """Counts one that goes now."""
        if self.rate > 0:
            self._fill(now)
            self.level -= 1

    def _fill(self, now: float) -> None:
        # a clock that steps back must not freeze the bucket: it refills from the new time on
        passed = max(0.0, now - self.at)
        self.level = min(self.burst, self.level + passed * self.rate)
        self.at = now


@dataclass(slots=True)
class Breaker:
    """Leaves a destination alone after trouble that would hit every message: `first_s`, then doubled at
    each further failure up to `longest_s`; one success closes it. `trying`: the pause is over, and one connection
    looks whether the trouble is, too."""

    first_s: float = 15.0
    longest_s: float = 600.0
    failures: int = 0
    until: float = float("-inf")
    reason: str = ""
    trying: bool = False

    def fail(self, now: float, reason: str) -> None:
        """One more cycle in which no host could be used; cycles that ran side by side are one trouble."""
        if self.is_open(now):
            return
        self.until = now + min(self.longest_s, self.first_s * 2**min(self.failures, 10))
        self.failures += 1
        self.reason = reason

    def succeed(self) -> None:
        """The destination answered."""
        self.failures, self.until, self.reason = 0, float("-inf"), ""

    def is_open(self, now: float) -> bool:
        """Whether to leave it alone at `now`. A pause longer than any we set means the clock went back."""
        return now < self.until <= now + self.longest_s

    def forgotten(self, now: float) -> bool:
        """Whether the trouble is so long ago that a new one would be treated as the first."""
        return not self.until - self.longest_s <= now <= self.until + self.longest_s


def rate_words(per_second: float) -> str:
    """A rate as people write it: `10/min`."""
    for size, unit in ((1, "s"), (60, "min"), (3600, "h")):
        if per_second * size >= 1:
            return f"{per_second * size:g}/{unit}"
    return f"{per_second * 86400:g}/d"
