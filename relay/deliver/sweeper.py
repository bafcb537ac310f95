"""Housekeeping of delivery, every half minute: what expired without a slot, what is empty, what was missed."""

from __future__ import annotations

import asyncio

from relay.core.outcome import Phase, Trouble, judge
from relay.core.waiting import Waiting
from relay.deliver.dispatcher import Dispatcher

SWEEP_S = 30.0
EXPIRY_GRACE_S = 60.0  # a message at its expiry still gets its last attempt


async def sweep_for_ever(dispatcher: Dispatcher) -> None:
    """Sweeps until it is cancelled."""
    while True:
        await asyncio.sleep(SWEEP_S)
        sweep(dispatcher)


def sweep(dispatcher: Dispatcher) -> None:
    """One round: ends expired mail that waits for a limit, serves every outlet again so that none depends on
    one wake-up, and forgets what holds nothing."""
    now, streams = dispatcher.clock(), dispatcher.policy().streams

    def expired(waiting: Waiting) -> bool:
        stream = streams.get(waiting.stream)
        return stream is not None and stream.retry.expired(now=now - EXPIRY_GRACE_S, received_at=waiting.received_at)

    for waiting in dispatcher.lanes.sweep(expired):
        dispatcher.unroutable([waiting], judge(Trouble.EXPIRED, Phase.CONNECT))
    for key, links in list(dispatcher.links.items()):
        outlet = dispatcher.lanes.outlets.get(key)
        if outlet is not None:
            dispatcher.serve(outlet, links)
        elif not links.all and not links.opening:
            del dispatcher.links[key]
    dispatcher.gates.sweep(now)
    dispatcher.parking.sweep()
    dispatcher.actions.expire()  # a timer knows nothing of a clock that was set
