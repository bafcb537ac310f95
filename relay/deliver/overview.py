"""What waits for what: the dispatcher's lanes counted by stream and limit, for metrics."""

from __future__ import annotations

from relay.core.lanes import Outlet
from relay.deliver.dispatcher import Dispatcher
from relay.deliver.sources import in_turn


def waiting(dispatcher: Dispatcher) -> dict[tuple[str, str], int]:
    """Due recipients by (stream, reason they wait for)."""
    found: dict[tuple[str, str], int] = {}
    for outlet in dispatcher.lanes:
        reason = _why(dispatcher, outlet)
        for stream, lane in outlet.lanes.items():
            if lane:
                found[(stream, reason)] = found.get((stream, reason), 0) + len(lane)
    for stream, count in dispatcher.parking.counts.items():
        found[(stream, "reply_rule")] = found.get((stream, "reply_rule"), 0) + count
    return found


def _why(dispatcher: Dispatcher, outlet: Outlet) -> str:
    """The first limit of any source, or "turn": a connection will take it at its next boundary."""
    links = dispatcher.connector.links.get((outlet.pool, outlet.site))
    pool = dispatcher.policy().pools.get(outlet.pool)
    if links is None or pool is None:
        return "no_source"
    now, terms = dispatcher.clock(), dispatcher.routing.terms(links.route)
    for source in in_turn(pool, outlet.site):
        if reason := dispatcher.connector.gates.why_not(source, outlet.site, terms, now)[0]:
            return reason
    return "turn"
