"""What became of a stream's mail in a simulation."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field

# Upper ends of the delays that are told apart, seconds: quantiles are read from them.
DELAYS_S = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600, 4 * 3600, 86400, 3 * 86400, float("inf"))


@dataclass(slots=True)
class Result:
    """Recipients by their end; `delays` counts deliveries by DELAYS_S, `in_time` those within the objective,
    `last_at` is when the last one left (Unix s), `kept` are those that a hold or pause without an end still keeps."""

    delivered: int = 0
    bounced: int = 0
    expired: int = 0
    kept: int = 0
    in_time: int = 0
    last_at: float = 0.0
    delays: list[int] = field(default_factory=lambda: [0] * len(DELAYS_S))

    def deliver(self, delay_s: float, now: float, within_s: float | None) -> None:
        """Counts a delivery; `within_s` is the objective's."""
        self.delivered += 1
        self.last_at = now
        self.delays[bisect_left(DELAYS_S, delay_s)] += 1
        if within_s is not None and delay_s <= within_s:
            self.in_time += 1

    def quantile(self, share: float) -> float:
        """The delay (seconds, an upper bound) within which this share of deliveries was made; 0 without any."""
        wanted, seen = share * self.delivered, 0
        for most, count in zip(DELAYS_S, self.delays, strict=True):
            seen += count
            if seen >= wanted and seen:
                return most
        return 0.0
