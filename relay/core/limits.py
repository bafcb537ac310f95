"""What a destination bears from one of our addresses: rates, connections, and a pause after trouble."""

from __future__ import annotations

from dataclasses import dataclass, field


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
    each further failure up to `longest_s`; one success closes it."""

    first_s: float = 15.0
    longest_s: float = 600.0
    failures: int = 0
    until: float = float("-inf")
    reason: str = ""

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


@dataclass(slots=True)
class Gate:
    """One source address towards one provider (or site): who may pass now.

    `open` counts connections under way or being made; `window` is what the other side was found to bear;
    `busy` counts deliveries under way by stream."""

    rates: Rates
    open: int = 0
    window: float = float("inf")
    busy: dict[str, int] = field(default_factory=dict)
    connects: TokenBucket = field(default_factory=lambda: TokenBucket(0, 1))
    messages: TokenBucket = field(default_factory=lambda: TokenBucket(0, 1))

    def __post_init__(self) -> None:
        self._make_buckets(self.rates)

    def set_rates(self, rates: Rates) -> None:
        """Takes new limits from a reload; connections above a lower limit end with their next message."""
        if rates != self.rates:
            self.rates = rates
            self._make_buckets(rates)

    def _make_buckets(self, rates: Rates) -> None:
        self.connects = TokenBucket(rates.connections_per_minute / 60, max(1.0, float(rates.connections)))
        self.messages = TokenBucket(rates.messages_per_second, max(1.0, rates.messages_per_second))
        self.connects.level, self.messages.level = self.connects.burst, self.messages.burst

    @property
    def most(self) -> int:
        """Connections allowed now: the limit, or less where the other side refused more."""
        return max(1, int(min(self.rates.connections, self.window)))

    def why_not_connect(self, now: float) -> tuple[str, float]:
        """("", now) when a connection may be opened, or (reason, when to ask again)."""
        if self.open >= self.most:
            return "connections", float("inf")
        ready = self.connects.ready_at(now)
        return ("", now) if ready <= now else ("connection_rate", ready)

    def at_rest(self, now: float) -> bool:
        """Whether nothing passes and nothing is remembered of what did."""
        return not self.open and self.connects.full(now) and self.messages.full(now)

    def refused_more(self) -> None:
        """A further connection failed while others work: that many are enough for now."""
        self.window = max(1.0, float(self.open))

    def worked(self) -> None:
        """A delivery went well: the window grows again, by one for each `window` deliveries."""
        if self.window < self.rates.connections:
            self.window += 1 / self.window

    def start(self, stream: str, now: float) -> None:
        """A delivery of that stream starts."""
        self.busy[stream] = self.busy.get(stream, 0) + 1
        self.messages.take(now)

    def end(self, stream: str) -> None:
        """It ended, however."""
        self.busy[stream] -= 1
