"""Which source opens the next connection to a site."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from relay.core.limits import Gate
from relay.deliver.outlets import Gates, Terms
from relay.deliver.resolve import Route
from relay.deliver.restraint import Door, Restraint
from relay.deliver.sources import in_turn, reaches
from relay.policy.model import Pool, Source

NO_FAMILY = "no_family"
DESTINATION_PAUSED = "destination_paused"
NO_FAMILY_TEXT = "no source of the pool has an address of the family (IPv4 or IPv6) of the domain's mail servers"


class Choice(NamedTuple):
    """`source` through `gate`, or None with the reason and when to ask again (Unix s; inf: somebody calls)."""

    source: Source | None
    gate: Gate | None
    reason: str = ""
    until: float = float("inf")


def choose(
    pool: Pool | None, route: Route, terms: Terms, *,
    gates: Gates, restraint: Restraint, streams: Sequence[str], now: float,
) -> Choice:  # fmt: skip
    """The first source, in the turn of this site, that may connect and that some of the streams may use. When
    none may: the reason of the first, and the soonest time of all."""
    if pool is None:
        return Choice(None, None, "no_source")
    first = Choice(None, None, NO_FAMILY)
    again = float("inf")
    for source in in_turn(pool, route.site):
        if not reaches(source, route):
            continue
        gate = gates.gate(source, terms)
        reason, until = gate.why_not_connect(now)
        if not reason:
            reason, until = Door(restraint, source.name, terms.provider, now).why_not(streams)
        if not reason:
            return Choice(source, gate)
        again = min(again, until)
        if first.gate is None:
            first = Choice(None, gate, reason)
    return first._replace(until=again)
