"""Who is prepared and signed next: when many final dots come at once, the highest stream first.

Preparing and signing takes most of the time a message costs us, and happens on the event loop. Without turns a
one-time code would wait for every newsletter that came in the same instant. One message goes in each turn of
the loop, so a code waits for one message at most and sockets are read in between.

A turn of the loop accepts one connection (libuv since 1.46). Under a flood of programs that connect for each message
a code would stand outside as long as all of them: then the loop also turns for a fifth of the time a message takes.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from heapq import heappop, heappush

CROWD = 64  # messages waiting from which on it is a flood; pools of programs keep fewer connections
DOOR_SHARE = 0.2  # of the time, then, for those outside


class Turns:
    """`mine` returns when it is one's turn; it does not wait while nobody else does."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._waiting: list[tuple[int, int, asyncio.Future[None]]] = []
        self._number = 0
        self._busy = False
        self._given_at = 0.0  # when the last turn was given, until it is known how long it took
        self._open_until = 0.0

    async def mine(self, priority: int) -> None:
        """Waits for those of higher priority, and for earlier ones of the same."""
        loop = asyncio.get_running_loop()
        if not self._busy:
            self._busy = True
            loop.call_soon(self._next, loop)
            return
        turn: asyncio.Future[None] = loop.create_future()
        self._number += 1
        heappush(self._waiting, (-priority, self._number, turn))
        await turn

    def _next(self, loop: asyncio.AbstractEventLoop) -> None:
        now = self._clock()
        if self._given_at:
            self._open_until = now + (now - self._given_at) * DOOR_SHARE
            self._given_at = 0.0
        if len(self._waiting) >= CROWD and now < self._open_until:
            loop.call_soon(self._next, loop)
            return
        while self._waiting:
            turn = heappop(self._waiting)[2]
            if not turn.done():  # else its client has gone
                turn.set_result(None)
                self._given_at = now
                loop.call_soon(self._next, loop)
                return
        self._busy = False
