"""How much is enough: what a stream may have queued, how fast and how much a client may send.

Everything here counts; nothing decides what is said to a client (relay/inbound/gate.py does).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

SLOTS = 20  # parts a window is counted in; what left the window is noticed a twentieth of it too late
DAY_S = 86_400.0

Over = Literal["", "messages", "bytes", "disk"]


@dataclass(frozen=True, slots=True)
class Pace:
    """At most `count` in any `window_s` seconds; `text` is what was written, as `100/min`."""

    count: int
    window_s: float
    text: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class Quota:
    """What a stream may have in the queue: `messages`, `bytes`, `disk` (0 to 1) of the room the queue has.
    0 and None: no limit. `pace` is how fast it may come in, `accepts` (0 to 1) its part of a busy relay
    (core/shares.py)."""

    messages: int = 0
    bytes: int = 0
    disk: float = 0.0
    pace: Pace | None = None
    accepts: float = 0.0

    def over(self, messages: int, size: int, room: float) -> Over:
        """Which limit a stream with so many messages and bytes in a queue with so much room is above, or ""."""
        if self.messages and messages > self.messages:
            return "messages"
        if self.bytes and size > self.bytes:
            return "bytes"
        if self.disk and size > self.disk * room:
            return "disk"
        return ""


class Meter:
    """Counts what came at a pace. More than `count` is never taken in any window, to the second: a part of
    the window (a slot) counts until its last instant has left."""

    __slots__ = ("_slot_s", "_slots", "_total", "pace")

    def __init__(self, pace: Pace) -> None:
        self.pace = pace
        self._slot_s = pace.window_s / SLOTS
        self._slots: deque[tuple[int, int]] = deque()
        self._total = 0

    def ready_at(self, number: int, now: float) -> float:
        """When `number` more may come: `now`, or later (Unix s). More than the pace allows at all may come
        when nothing else did: no message is refused for ever."""
        self._forget(now)
        over = self._total + number - self.pace.count
        if over <= 0 or not self._slots:
            return now
        for slot, count in self._slots:
            over -= count
            if over <= 0:
                return self._leaves(slot)
        return self._leaves(self._slots[-1][0])

    def take(self, number: int, now: float) -> None:
        """Counts what comes now."""
        self._forget(now)
        slot = int(now / self._slot_s)
        if self._slots and self._slots[-1][0] == slot:
            self._slots[-1] = (slot, self._slots[-1][1] + number)
        else:
            self._slots.append((slot, number))
        self._total += number

    def give(self, number: int) -> None:
        """Takes back what was counted last, as it did not come in after all."""
        if self._slots:
            slot, count = self._slots.pop()
            back = min(number, count)
            self._slots.append((slot, count - back))
            self._total -= back

    def _leaves(self, slot: int) -> float:
        """When nothing of a slot is in the window any more."""
        return (slot + 1) * self._slot_s + self.pace.window_s

    def _forget(self, now: float) -> None:
        slots = self._slots
        if slots and slots[-1][0] * self._slot_s > now + self._slot_s:  # the clock went back: begin anew
            slots.clear()
            self._total = 0
        while slots and self._leaves(slots[0][0]) <= now:
            self._total -= slots.popleft()[1]


@dataclass(slots=True)
class Day:
    """What was counted on one day of UTC; `number` is the day since 1970."""

    number: int = 0
    used: int = 0

    def ready_at(self, more: int, most: int, now: float) -> float:
        """When `more` may come if a day has at most `most`: `now`, or the next midnight (UTC). More than a
        day's worth may come as the first of a day."""
        today = int(now // DAY_S)
        used = self.used if self.number == today else 0
        return now if used + more <= most or not used else (today + 1) * DAY_S

    def take(self, more: int, now: float) -> None:
        """Counts what comes now; below 0, what did not come after all."""
        today = int(now // DAY_S)
        if self.number != today:
            self.number, self.used = today, 0
        self.used = max(0, self.used + more)


@dataclass(frozen=True, slots=True)
class Allowance:
    """What one client may send, in recipients: `pace` None and `daily` 0 are no limit."""

    pace: Pace | None = None
    daily: int = 0


@dataclass(slots=True)
class Stock:
    """What lies in the queue, by stream: (messages, bytes); `reusable` bytes of its file hold nothing."""

    held: dict[str, tuple[int, int]] = field(default_factory=dict)
    reusable: int = 0

    def of(self, stream: str) -> tuple[int, int]:
        """Messages and bytes of a stream."""
        return self.held.get(stream, (0, 0))

    def move(self, changes: Mapping[str, tuple[int, int]]) -> None:
        """Adds what came and takes away what left."""
        for stream, (messages, size) in changes.items():
            before = self.of(stream)
            self.held[stream] = (before[0] + messages, before[1] + size)

    @property
    def size(self) -> int:
        """Bytes of all streams."""
        return sum(size for _, size in self.held.values())
