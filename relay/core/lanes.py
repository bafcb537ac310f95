"""Who goes next: recipients that are due, by where they go and the stream they belong to.

An outlet is one pool towards one site. A connection that is free asks its outlet for the next message; there
the stream with the highest priority goes first, streams of equal priority share by weight, and inside a stream
the first due goes first. As every message boundary asks again, a one-time code takes the *next* slot and never
interrupts a delivery. A share reserved for a higher stream is never lent to a lower one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from relay.core.waiting import Waiting

RECIPIENTS_MOST = 100  # RCPTs a transaction: what every server must take (RFC 5321 §4.5.3.1.8)


@dataclass(frozen=True, slots=True)
class LaneRules:
    """A stream's standing: higher `priority` first, `weight` among equals, `reserve` a share 0..1 of the
    connections of each destination that lower streams never get."""

    priority: int = 0
    weight: float = 1.0
    reserve: float = 0.0


@dataclass(slots=True)
class Outlet:
    """What is due from one pool to one site."""

    pool: str
    site: str
    lanes: dict[str, deque[Waiting]] = field(default_factory=dict)
    served: dict[str, float] = field(default_factory=dict)
    ready: int = 0


class Lanes:
    """All outlets; every operation costs O(streams), not O(waiting)."""

    def __init__(self, rules: Mapping[str, LaneRules]) -> None:
        self.rules = dict(rules)
        self.outlets: dict[tuple[str, str], Outlet] = {}

    def push(self, waiting: Waiting, pool: str, site: str) -> Outlet:
        """Puts one that is due at the end of its lane; returns the outlet."""
        key = (pool, site)
        outlet = self.outlets.get(key)
        if outlet is None:
            outlet = self.outlets[key] = Outlet(pool, site)
        lane = outlet.lanes.get(waiting.stream)
        if lane is None:
            lane = outlet.lanes[waiting.stream] = deque()
        if not lane:
            self._join(outlet, waiting.stream)
        lane.append(waiting)
        outlet.ready += 1
        return outlet

    def _join(self, outlet: Outlet, stream: str) -> None:
        """A lane that was empty starts level with the least served: it neither owes nor has saved up."""
        busy = [outlet.served.get(name, 0.0) for name, lane in outlet.lanes.items() if lane]
        outlet.served[stream] = max(outlet.served.get(stream, 0.0), min(busy, default=0.0))

    def order(self, outlet: Outlet) -> list[str]:
        """The streams that have something due here, who goes first first."""
        names = [name for name, lane in outlet.lanes.items() if lane]
        if len(names) > 1:
            names.sort(key=lambda name: (-self._rule(name).priority, outlet.served.get(name, 0.0), name))
        return names

    def priority(self, outlet: Outlet) -> int | None:
        """The highest priority with something due here; None when nothing is."""
        return max((self._rule(name).priority for name, lane in outlet.lanes.items() if lane), default=None)

    def take(self, outlet: Outlet, may: Callable[[str], bool]) -> list[Waiting]:
        """The next message: its recipients in this lane, at most RECIPIENTS_MOST; [] when no stream with
        mail here `may` have the slot."""
        for name in self.order(outlet):
            if may(name):
                taken = self._take_message(outlet.lanes[name])
                outlet.ready -= len(taken)
                outlet.served[name] = outlet.served.get(name, 0.0) + 1 / self._rule(name).weight
                return taken
        return []

    @staticmethod
    def _take_message(lane: deque[Waiting]) -> list[Waiting]:
        taken = [lane.popleft()]
        while lane and lane[0].message == taken[0].message and len(taken) < RECIPIENTS_MOST:
            taken.append(lane.popleft())
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
            for name, lane in outlet.lanes.items():
                if gone := [waiting for waiting in lane if unwanted(waiting)]:
                    taken += gone
                    outlet.lanes[name] = deque(waiting for waiting in lane if not unwanted(waiting))
            outlet.ready = sum(map(len, outlet.lanes.values()))
            if not outlet.ready:
                del self.outlets[key]
        return taken

    def may_take(self, stream: str, busy: Mapping[str, int], connections: int) -> bool:
        """Whether a stream may start one more where `busy` deliveries are under way and `connections` are
        allowed: all streams below a reserve together stay out of it, but one slot is always left to share."""
        mine = self._rule(stream).priority
        reserved = sum(rule.reserve for rule in self.rules.values() if rule.priority > mine)
        room = max(1, connections - int(connections * min(1.0, reserved) + 0.5))
        lower = sum(count for name, count in busy.items() if self._rule(name).priority <= mine)
        return lower < room

    def _rule(self, stream: str) -> LaneRules:
        return self.rules.get(stream, LOWEST)

    def __iter__(self) -> Iterator[Outlet]:
        return iter(list(self.outlets.values()))


LOWEST = LaneRules(priority=-(10**9))  # a stream the policy no longer knows: its mail still goes, last
