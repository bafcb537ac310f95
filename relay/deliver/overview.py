"""What waits for what: the dispatcher's lanes counted by stream and limit, for metrics."""

from __future__ import annotations

from collections import Counter

from relay.core.lanes import Outlet
from relay.deliver.actions import Actions
from relay.deliver.dispatcher import Dispatcher
from relay.deliver.shaping import Shaping
from relay.policy.sources import in_turn


def waiting(dispatcher: Dispatcher) -> dict[tuple[str, str], int]:
    """Due recipients by (stream, reason they wait for)."""
    found: dict[tuple[str, str], int] = {}
    for outlet in dispatcher.lanes:
        for stream, lane in outlet.lanes.items():
            if lane:
                reason = _why(dispatcher, outlet, stream)
                found[(stream, reason)] = found.get((stream, reason), 0) + len(lane)
    for stream, count in dispatcher.parking.counts.items():
        found[(stream, "reply_rule")] = found.get((stream, "reply_rule"), 0) + count
    return found


Pairs = set[tuple[str, str]]


def shaping(shaping: Shaping, actions: Actions) -> tuple[dict[tuple[str, str], int], Pairs, Pairs]:
    """Brakes in force by stream and rule; (source, provider) of what is paused, provider "" is everyone; and the
    same of streams."""
    everywhere = {(source, "") for source in shaping.health.paused}
    brakes = Counter((one.stream, one.rule) for one in shaping.brakes.trips.values())
    return brakes, everywhere | actions.paused_sources(), actions.paused_streams()


def _why(dispatcher: Dispatcher, outlet: Outlet, stream: str) -> str:
    """The first limit of any source, or "turn": a connection will take it at its next boundary."""
    links = dispatcher.connector.links.get((outlet.pool, outlet.site))
    pool = dispatcher.policy().pools.get(outlet.pool)
    if links is None or pool is None:
        return "no_source"
    now, terms = dispatcher.clock(), dispatcher.routing.terms(links.route)
    for source in in_turn(pool, outlet.site):
        if reason := dispatcher.restraint.why_not(stream, source.name, terms.provider, now)[0]:
            return reason
        if why := dispatcher.connector.gates.why_not(source, outlet.site, terms, pool, now=now, stream=stream):
            return why.reason
    return "turn"
