"""Who goes next: recipients that are due, by where they go and the stream they belong to.

An outlet is one pool towards one site. A connection that is free asks its outlet for the next message; there
the stream with the highest priority goes first, streams of equal priority share by weight, and inside a stream
apps and campaigns take turns (`core.flows`). As every message boundary asks again, a one-time code takes the
*next* slot and never interrupts a delivery. Which outlet may open a connection is decided in `core.gates`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from relay.core.flows import RECIPIENTS_MOST, Lane
from relay.core.waiting import Waiting

__all__ = ["LOWEST", "RECIPIENTS_MOST", "LaneRules", "Lanes", "Outlet"]


@dataclass(frozen=True, slots=True)
class LaneRules:
    """A stream's standing: higher `priority` first, `weight` among equals, `reserve` a share 0..1 of the
    connections it shares with others, kept for it wherever it can use them."""

    priority: int = 0
    weight: float = 1.0
    reserve: float = 0.0


LOWEST = LaneRules(priority=-(10**9))  # a stream the policy no longer knows: its mail still goes, last


@dataclass(slots=True)
class Outlet:
    """What is due from one pool to one site. `ready` counts recipients."""

    pool: str
    site: str
    lanes: dict[str, Lane] = field(default_factory=dict)
    served: dict[str, float] = field(default_factory=dict)
    ready: int = 0

    @property
    def key(self) -> tuple[str, str]:
        """Which outlet it is."""
        return (self.pool, self.site)

    @property
    def messages(self) -> int:
        """How many transactions it has work for."""
        return sum(lane.messages for lane in self.lanes.values())


class Lanes:
    """All outlets; every operation costs O(streams), not O(waiting)."""

    def __init__(self, rules: Mapping[str, LaneRules]) -> None:
        self.rules = dict(rules)
        self.outlets: dict[tuple[str, str], Outlet] = {}

    def push(self, waiting: Waiting, pool: str, site: str) -> Outlet:
        """Puts one that is due at the end of its flow; returns the outlet."""
        key = (pool, site)
        outlet = self.outlets.get(key)
        if outlet is None:
            outlet = self.outlets[key] = Outlet(pool, site)
        lane = outlet.lanes.get(waiting.stream)
        if lane is None:
            lane = outlet.lanes[waiting.stream] = Lane()
        if not lane.messages and len(outlet.lanes) > 1:
            self._join(outlet, waiting.stream)
        lane.push(waiting)
        outlet.ready += 1
        return outlet

    def _join(self, outlet: Outlet, stream: str) -> None:
        """A lane that was empty starts level with the least served: it neither owes nor has saved up."""
        busy = [outlet.served.get(name, 0.0) for name, lane in outlet.lanes.items() if lane.messages]
        outlet.served[stream] = max(outlet.served.get(stream, 0.0), min(busy, default=0.0))

    def order(self, outlet: Outlet) -> list[str]:
        """The streams that have something due here, who goes first first."""
        names = [name for name, lane in outlet.lanes.items() if lane.messages]
        if len(names) > 1:
            names.sort(key=lambda name: (-self.rule(name).priority, outlet.served.get(name, 0.0), name))
        return names

    def higher_waits(self, outlet: Outlet, stream: str) -> bool:
        """Whether a stream of higher priority has something due in an outlet."""
        mine = self.rule(stream).priority
        return any(lane.messages and self.rule(name).priority > mine for name, lane in outlet.lanes.items())

    def take(self, outlet: Outlet, stream: str) -> list[Waiting]:
        """The stream's next message here: its recipients, at most RECIPIENTS_MOST."""
        taken = outlet.lanes[stream].take()
        outlet.ready -= len(taken)
        outlet.served[stream] = outlet.served.get(stream, 0.0) + 1 / self.rule(stream).weight
        return taken

    def drain(self, outlet: Outlet) -> list[Waiting]:
        """Takes everything out of an outlet, because its destination is to be left alone."""
        taken = [waiting for lane in outlet.lanes.values() for waiting in lane]
        outlet.lanes.clear()
        outlet.ready = 0
        return taken

    def take_lane(self, outlet: Outlet, stream: str) -> list[Waiting]:
        """Takes out what one stream has here, because it is to leave this destination alone."""
        taken = list(outlet.lanes.pop(stream, ()))
        outlet.ready -= len(taken)
        return taken

    def sweep(self, unwanted: Callable[[Waiting], bool]) -> list[Waiting]:
        """Takes out whatever the function names (expired mail that never got a slot); drops empty outlets."""
        taken: list[Waiting] = []
        for key, outlet in list(self.outlets.items()):
            for lane in outlet.lanes.values():
                taken += lane.remove(unwanted)
            outlet.ready = sum(map(len, outlet.lanes.values()))
            if not outlet.ready:
                del self.outlets[key]
        return taken

    def rule(self, stream: str) -> LaneRules:
        """The stream's standing."""
        return self.rules.get(stream, LOWEST)

    def __iter__(self) -> Iterator[Outlet]:
        return iter(list(self.outlets.values()))
