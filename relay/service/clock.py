"""The queue's own time: seconds that really passed, whatever is done to the machine's clock meanwhile.

Everything that waits, expires or is limited is on this line (core.clock); what people and other machines read is
wall time. The two differ only after the wall clock was set, until the next start.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Protocol

from relay.core.clock import STEP_S, Taken, taken_up
from relay.core.events import Event
from relay.core.message import Prepared
from relay.observe.bus import Bus, Listener
from relay.queue.store import StoreBroken, StoreBusy, StoreFull

log = logging.getLogger("relay")

KIND = "clock"
LOOK_S = 1.0
KEEP_S = 60.0
EXACT_S = 0.001  # closer than this nobody can tell the two apart
TIMES = ("due_at", "until", "since")  # details of events that are times


# Seconds that passed, those in which the machine slept included (clock_gettime(2)).
since_boot = partial(time.clock_gettime, time.CLOCK_BOOTTIME)


class Clock:
    """Calling it gives the time on the line (Unix seconds as of the start)."""

    __slots__ = ("_base", "_steady", "_wall", "noticed_s")

    def __init__(self, wall: Callable[[], float] = time.time, steady: Callable[[], float] = since_boot) -> None:
        self._wall, self._steady = wall, steady
        self._base = wall() - steady()
        self.noticed_s = 0.0

    def __call__(self) -> float:
        return self._base + self._steady()

    def offset_s(self) -> float:
        """By how much the wall clock is ahead of the line; 0 unless it was set."""
        ahead = self._wall() - self._base - self._steady()
        return ahead if abs(ahead) >= EXACT_S else 0.0

    def wall(self, at: float) -> float:
        """A time on the line as people read it."""
        return at + self.offset_s()

    def queued(self, message: Prepared) -> Prepared:
        """A message stamped with wall time, on the line."""
        ahead = self.offset_s()
        if not ahead:
            return message
        return replace(message, received_at=message.received_at - ahead, due_at=message.due_at - ahead)

    def told(self, event: Event) -> Event:
        """An event of the queue with the times that people read."""
        ahead = self.offset_s()
        if not ahead:
            return event
        detail = dict(event.detail)
        for name in TIMES:
            if isinstance(at := detail.get(name), float):
                detail[name] = at + ahead
        return replace(event, time=event.time + ahead, detail=detail)

    def reading(self) -> dict[str, object]:
        """Both, for the next start."""
        now = self()
        return {"wall": now + self.offset_s(), "line": now}

    def step_s(self) -> float:
        """How much it was set by since this was last asked; 0 for less than matters."""
        step = self.offset_s() - self.noticed_s
        if abs(step) < STEP_S:
            return 0.0
        self.noticed_s += step
        return step


class OnWallTime(Bus):
    """The bus as the queue's parts see it: what they publish on the line is told in wall time."""

    def __init__(self, bus: Bus, clock: Clock) -> None:
        super().__init__()
        self._bus, self._clock = bus, clock

    def subscribe(self, listener: Listener) -> None:
        """As the bus itself."""
        self._bus.subscribe(listener)

    def publish(self, event: Event) -> None:
        """As the bus itself."""
        self._bus.publish(self._clock.told(event))


class Remembering(Protocol):
    """What is needed of the store."""

    async def recall(self, kind: str) -> dict[str, object]: ...

    async def remember(self, kind: str, changes: Mapping[str, object]) -> None: ...

    async def shift(self, seconds: float) -> None: ...


async def take_up(clock: Clock, store: Remembering) -> Taken:
    """Moves the times of a queue that another process left onto this one's line; before anything is read."""
    kept = await store.recall(KIND)
    wall, line = kept.get("wall"), kept.get("line")
    if not isinstance(wall, float) or not isinstance(line, float):
        return Taken()
    taken = taken_up(wall=wall, line=line, now=clock())
    if taken.shift_s:
        log.warning("the clock was set: what waits in the queue is moved by %.0f s", taken.shift_s)
        await store.shift(taken.shift_s)
    if taken.doubtful:
        log.warning("%.1f h have passed, or the clock was set: nothing expires before it was tried once more",
                    (clock() - wall) / 3600)  # fmt: skip
    return taken


async def keep_reading(clock: Clock, store: Remembering) -> None:
    """Keeps both readings; a queue that cannot be written now gets them later."""
    try:
        await store.remember(KIND, clock.reading())
    except (StoreFull, StoreBusy, StoreBroken) as error:
        log.warning("the reading of the clock is not kept: %s", error)


async def watch_for_ever(clock: Clock, store: Remembering) -> None:
    """Notices at once when the clock is set, and keeps a reading now and then."""
    kept_at = float("-inf")
    while True:
        if step := clock.step_s():
            log.warning("the clock was set by %+.0f s; mail that waits goes by the time that passes", step)
        if step or clock() - kept_at >= KEEP_S:
            await keep_reading(clock, store)
            kept_at = clock()
        await asyncio.sleep(LOOK_S)
