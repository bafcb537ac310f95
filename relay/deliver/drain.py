"""The end of delivery: nothing new starts, what is under way may finish, the rest stays in the queue."""

from __future__ import annotations

import asyncio
import contextlib
import logging

from relay.deliver.dispatcher import Dispatcher

log = logging.getLogger("relay.deliver")

LOOK_S = 1.0
SAID_MOST = 10
GONE_S = 1.0  # for connections to be told that they are dropped


async def drain(dispatcher: Dispatcher, within_s: float) -> int:
    """Starts nothing new, lets what is under way finish; returns how many deliveries were cut off. Ends in
    time also where a report waits for a queue that takes nothing: its recipient is still in the store."""
    dispatcher.connector.draining = True
    loop = asyncio.get_running_loop()
    end = loop.time() + within_s  # not the wall clock: it may be set while we wait
    for connection in list(dispatcher.connector.hands):
        connection.quit()
    while (dispatcher.connector.hands or dispatcher.settler.tasks) and (left_s := end - loop.time()) > 0:
        await _some_closed(dispatcher, min(left_s, LOOK_S))
    cut = len(dispatcher.jobs)
    if cut:
        log.warning("cut off after %g s: %s", within_s, ", ".join(under_way(dispatcher)[:SAID_MOST]))
    for connection in list(dispatcher.connector.hands):
        connection.abort()
    gone = loop.time() + GONE_S
    while dispatcher.connector.hands and loop.time() < gone:
        await _some_closed(dispatcher, GONE_S)
    await dispatcher.routing.close()
    await dispatcher.connector.tasks.cancel()
    await dispatcher.tasks.cancel()
    await dispatcher.settler.tasks.cancel()
    await dispatcher.actions.close()
    return cut


def under_way(dispatcher: Dispatcher) -> list[str]:
    """What a drain waits for, and why: each connection that is not idle, the longest delivery first."""
    now = dispatcher.clock()
    jobs = sorted(dispatcher.jobs, key=lambda job: job.begun_at)
    said = [f"{one.waiting[0].message} to {one.waiting[0].domain} for {now - one.begun_at:.0f} s" for one in jobs]
    waits = [
        f"{connection.peer.mx} has not answered in phase {connection.conversation.phase.value}"
        for connection in dispatcher.connector.hands if not connection.idle
    ]  # fmt: skip
    reports = [f"{len(dispatcher.settler.tasks)} reports to senders"] if dispatcher.settler.tasks else []
    return said + waits + reports


async def _some_closed(dispatcher: Dispatcher, within_s: float) -> None:
    dispatcher.connector.one_closed.clear()
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(dispatcher.connector.one_closed.wait(), within_s)
