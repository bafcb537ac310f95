"""Quotas in a simulation: what each stream has waiting, and how fast it comes in."""

from __future__ import annotations

from relay.core.quota import Meter, Stock
from relay.policy.model import Policy, Stream

UNKNOWN_ROOM = float("inf")  # how much room the disk had is not recorded: a share of it is never used up


class Stocks:
    """One policy's. `turned_back` counts messages that had to come again, by (stream, quota)."""

    def __init__(self, policy: Policy) -> None:
        self.stock = Stock()
        self.turned_back: dict[tuple[str, str], int] = {}
        self._meters = {
            name: Meter(stream.quota.pace)
            for name, stream in policy.streams.items() if stream.quota and stream.quota.pace
        }  # fmt: skip

    def over(self, stream: Stream, size: int, now: float) -> str:
        """Which quota of the stream one more message would be above, "" for none."""
        if stream.quota is None:
            return ""
        messages, queued = self.stock.of(stream.name)
        if over := stream.quota.over(messages + 1, queued + size, UNKNOWN_ROOM):
            return over
        meter = self._meters.get(stream.name)
        return "rate" if meter is not None and meter.ready_at(1, now) > now else ""

    def turn_back(self, stream: str, over: str) -> None:
        """Counts a message whose client must come again."""
        self.turned_back[(stream, over)] = self.turned_back.get((stream, over), 0) + 1

    def come(self, stream: Stream, size: int, now: float) -> None:
        """A message is taken in."""
        if stream.quota is not None:
            self.stock.move({stream.name: (1, size)})
            if meter := self._meters.get(stream.name):
                meter.take(1, now)

    def gone(self, stream: Stream, size: int) -> None:
        """The last of its recipients has come to an end."""
        if stream.quota is not None:
            self.stock.move({stream.name: (-1, -size)})
