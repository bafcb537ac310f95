"""Cycles of dead objects are looked for when we choose, not in the middle of a flood.

A full collection looks at every object there is: 36 ms of the event loop just after a start, 110 ms with 20,000
recipients in memory, and CPython would do one for each quarter that the heap grows. What lives since the start is
left out for good; young objects are collected as ever, in a millisecond or two; the rest, mostly connections that have
ended, every COLLECT_S: a pause as rare as that is beyond the 99th percentile of five codes a second.
"""

from __future__ import annotations

import asyncio
import gc

COLLECT_S = 60.0
NEVER = 1 << 30


def settle() -> None:
    """What is there now will live as long as the process: no collection looks at it again."""
    gc.collect()
    gc.freeze()
    first, second, _ = gc.get_threshold()
    gc.set_threshold(first, second, NEVER)


async def collect_for_ever() -> None:
    """The side task that does what is left."""
    while True:
        await asyncio.sleep(COLLECT_S)
        gc.collect()
