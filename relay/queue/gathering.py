"""How long a commit waits for company: what a group costs (a statement each, an fsync, two hops) all of it shares."""

from __future__ import annotations

import asyncio
import time

FEW = 4  # messages; a group of as many does not wait
BUSY_S = 0.003  # since the last commit: one after a longer rest is of a message that is alone
WAIT_S = 0.001


class Gathering:
    """Lets a few more messages come while commits follow each other; one alone waits for nobody."""

    def __init__(self) -> None:
        self._ended_at = float("-inf")

    async def more(self, have: int) -> None:
        """Waits for more than the messages there are, or not."""
        if have < FEW and time.perf_counter() - self._ended_at < BUSY_S:
            await asyncio.sleep(WAIT_S)

    def ended(self) -> float:
        """Remembers that a commit has ended; returns when (time.perf_counter())."""
        self._ended_at = time.perf_counter()
        return self._ended_at
