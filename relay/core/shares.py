"""Who took how much of a busy relay: the share of each stream in what came in lately.

A share is asked for only while the relay is busy, that is while as many messages as BUSY are between their final dot
and their reply. A stream past its share then waits; whoever has taken less comes in. As what is under way stays at
BUSY at least, the relay is never idle for it: a stream that comes alone has all there is, and only the crowd at the
door is sent away, not the mail.

What came in fades with time: after FADE_S it counts for 1/e of what it did.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import exp

# Messages under way: one client has 100 connections by default, so that alone it never makes the relay busy. A commit
# takes 200 at most; fewer than half would make commits small.
BUSY = 100
FADE_S = 10.0
STEP_S = FADE_S / 100  # less fades less than 1 %: it waits for the next message


@dataclass(slots=True)
class Shares:
    """What came in lately, by stream; `busy` as BUSY."""

    busy: int = BUSY
    _came: dict[str, float] = field(default_factory=dict)
    _at: float = 0.0

    def take(self, stream: str, now: float) -> None:
        """Counts a message of the stream that comes in now (Unix s)."""
        self._fade(now)
        self._came[stream] = self._came.get(stream, 0.0) + 1.0

    def of(self, stream: str, now: float) -> float:
        """The stream's part of what came in lately, 0 to 1."""
        self._fade(now)
        total = sum(self._came.values())
        return self._came.get(stream, 0.0) / total if total else 0.0

    def over(self, stream: str, most: float, under_way: int, now: float) -> bool:
        """Whether a stream that may take `most` (0 to 1; 0: any part) must wait, with so many messages under way."""
        return shares_count(most, under_way, self.busy) and self.of(stream, now) > most

    def _fade(self, now: float) -> None:
        """A clock that goes back fades nothing; streams nobody hears of any more are forgotten."""
        passed = now - self._at
        if 0 <= passed < STEP_S:
            return
        self._at = now
        if passed > 0:
            left = exp(-passed / FADE_S)
            self._came = {stream: count * left for stream, count in self._came.items() if count * left > 1e-3}


def shares_count(most: float, under_way: int, busy: int = BUSY) -> bool:
    """Whether a stream that may take `most` is asked for its share at all: only while the relay is busy."""
    return bool(most) and under_way >= busy
