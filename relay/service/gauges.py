"""The gauges: what the queue holds, how old it is, what waits for what; brought up to date when they are read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from relay.deliver import overview

if TYPE_CHECKING:
    from relay.service.relay import Relay


async def bring_up_to_date(relay: Relay) -> None:
    """Sets every gauge of one relay."""
    metrics, now = relay.metrics, relay.clock()
    tally, oldest = await relay.store.tally(), await relay.store.oldest()
    metrics.queue_is(tally.queued, tally.held, oldest, now, tally.gap)
    metrics.lost_are(dict.fromkeys(relay.policy().streams, 0) | dict(tally.lost))
    metrics.stock_is({stream: size for stream, (_, size) in relay.store.stock.held.items()})
    metrics.under_way.set(relay.gate.under_way)
    if relay.doors is not None:
        relay.doors.measure()
    metrics.connections.labels("out").set(relay.dispatcher.connector.open)
    metrics.waiting_is(overview.waiting(relay.dispatcher))
    relay.objectives.show(metrics, now)
    metrics.shaping_is(*overview.shaping(relay.shaping, relay.actions))
