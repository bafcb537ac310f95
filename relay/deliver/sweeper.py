"""Housekeeping of delivery, every half minute: what expired without a slot, what is empty, what was missed."""

from __future__ import annotations

import asyncio

from relay.core.outcome import Phase, Trouble, judge
from relay.core.waiting import Waiting
from relay.deliver.dispatcher import Dispatcher
from relay.deliver.settle import LAST_RESORT

SWEEP_S = 30.0
EXPIRY_GRACE_S = 60.0  # a message at its expiry still gets its last attempt
DOUBT_S = 3600.0  # for everything to be tried once after a start that does not know how long it was away


async def sweep_for_ever(dispatcher: Dispatcher, *, doubtful: bool) -> None:
    """Sweeps until it is cancelled. `doubtful`: nothing expires untried in the first hour."""
    sure_at = dispatcher.clock() + DOUBT_S if doubtful else float("-inf")
    while True:
        await asyncio.sleep(SWEEP_S)
        sweep(dispatcher, untried=dispatcher.clock() >= sure_at)


def sweep(dispatcher: Dispatcher, *, untried: bool = True) -> None:
    """One round: ends expired mail that waits for a limit (unless `untried` is to be tried first), serves every
    outlet again so that none depends on one wake-up, and forgets what holds nothing."""
    now, streams = dispatcher.clock(), dispatcher.policy().streams

    def expired(waiting: Waiting) -> bool:
        stream = streams.get(waiting.stream)
        retry = stream.retry if stream else LAST_RESORT
        return retry.expired(now=now - EXPIRY_GRACE_S, received_at=waiting.received_at)

    if untried and (gone := dispatcher.lanes.sweep(expired)):
        dispatcher.unroutable(gone, judge(Trouble.EXPIRED, Phase.CONNECT))
    dispatcher.connector.sweep()
    dispatcher.parking.sweep()
    dispatcher.actions.expire()  # a timer knows nothing of a clock that was set
