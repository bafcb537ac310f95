"""The end of delivery: nothing new starts, what is under way may finish."""

from __future__ import annotations

import asyncio
import contextlib

from relay.deliver.dispatcher import Dispatcher


async def drain(dispatcher: Dispatcher, within_s: float) -> int:
    """Waits at most `within_s` for deliveries under way; returns how many were cut off."""
    dispatcher.draining = True
    end = dispatcher.clock() + within_s
    for connection in list(dispatcher.gate_of):
        connection.quit()
    while (dispatcher.gate_of or dispatcher.settler.tasks) and (left_s := end - dispatcher.clock()) > 0:
        dispatcher.one_closed.clear()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(dispatcher.one_closed.wait(), min(left_s, 1.0))
    left = len(dispatcher.jobs)
    for connection in list(dispatcher.gate_of):
        connection.abort()
    await dispatcher.tasks.cancel()
    await dispatcher.settler.tasks.finish()
    await dispatcher.actions.close()
    return left
