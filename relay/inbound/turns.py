"""Who is prepared and signed next: when many final dots come at once, the highest stream first.

Preparing and signing takes most of the time a message costs us, and happens on the event loop. Without turns a
one-time code would wait for every newsletter that came in the same instant. One message goes in each turn of
the loop, so a code waits for one message at most and sockets are read in between.
"""

from __future__ import annotations

import asyncio
from heapq import heappop, heappush


class Turns:
    """`mine` returns when it is one's turn; it does not wait while nobody else does."""

    def __init__(self) -> None:
        self._waiting: list[tuple[int, int, asyncio.Future[None]]] = []
        self._number = 0
        self._busy = False

    async def mine(self, priority: int) -> None:
        """Waits for those of higher priority, and for earlier ones of the same."""
        loop = asyncio.get_running_loop()
        if not self._busy:
            self._busy = True
            loop.call_soon(self._next)
            return
        turn: asyncio.Future[None] = loop.create_future()
        self._number += 1
        heappush(self._waiting, (-priority, self._number, turn))
        await turn

    def _next(self) -> None:
        while self._waiting:
            turn = heappop(self._waiting)[2]
            if not turn.done():  # else its client has gone
                turn.set_result(None)
                asyncio.get_running_loop().call_soon(self._next)
                return
        self._busy = False
