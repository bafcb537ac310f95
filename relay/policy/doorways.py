"""The gates of a simulation: core/gate.py decides, and here stand the outlets that wait at each.

A connection is not told apart from the message it carries: messages share connections evenly, so that one is opened
for every `messages_per_connection` messages.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from relay.core.gate import Gate
from relay.core.lanes import LaneRules
from relay.core.limits import Rates
from relay.policy.answers import Answers
from relay.policy.limits import NamedLimit
from relay.policy.model import Policy, Source
from relay.policy.restraints import Restraints, Terms
from relay.policy.sources import in_turn, leaves_from

NO_LIMIT = 1_000_000
FULL = float("inf")
OutletKey = tuple[str, str]


@dataclass(slots=True, eq=False)
class Mail:
    """One message: what the queue and brakes know of it. `left` counts its recipients that are not yet at an end."""

    stream: str
    accepted_at: float
    credential: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    size: int = 0
    left: int = 0


class Recipient(NamedTuple):
    """Where one's mail goes, how long an attempt takes there, and what the world says."""

    host: str
    seconds: float
    answers: Answers


class Place(NamedTuple):
    """One recipient on its way."""

    mail: Mail
    host: str
    seconds: float
    answers: Answers
    attempts: int = 0


@dataclass(slots=True, eq=False)
class Doorway:
    """A gate and the outlets that wait there, by the priority of what they have; `sent` counts messages."""

    gate: Gate
    sent: int = 0
    again_at: float = FULL
    _waiting: dict[int, dict[OutletKey, None]] = field(default_factory=dict)

    def ready_at(self, stream: str, now: float) -> float:
        """When a message of the stream may pass: `now`, later, or infinite until another has ended."""
        gate = self.gate
        if not gate.room(stream):
            return FULL
        opens = gate.connects.rate > 0 and self._opens()
        return max(gate.messages.ready_at(now), gate.connects.ready_at(now) if opens else now)

    def _opens(self) -> bool:
        return self.sent % (self.gate.rates.messages_per_connection or 10**9) == 0

    def start(self, stream: str, now: float) -> None:
        """One passes."""
        gate = self.gate
        if gate.connects.rate > 0 and self._opens():
            gate.connects.take(now)
        self.sent += 1
        gate.open += 1
        gate.held[stream] = gate.held.get(stream, 0) + 1
        gate.messages.take(now)

    def end(self, stream: str) -> None:
        """It has ended."""
        self.gate.open -= 1
        self.gate.held[stream] -= 1

    def wait(self, key: OutletKey, priority: int) -> None:
        """An outlet waits here, behind those that came before."""
        self._waiting.setdefault(priority, {})[key] = None

    def next_up(self, below: float) -> tuple[OutletKey, int] | None:
        """Takes out who waits first in the highest row under a priority; None when nobody does."""
        for priority in sorted(self._waiting, reverse=True):
            row = self._waiting[priority]
            if priority < below and row:
                key = next(iter(row))
                del row[key]
                return key, priority
        return None


@dataclass(slots=True, eq=False)
class Outlet:
    """What waits of one pool towards one site, and the ways there: sources in turn, each with all its gates."""

    key: OutletKey
    terms: Terms
    ways: list[tuple[Source, tuple[Doorway, ...]]]
    lanes: dict[str, deque[Place]] = field(default_factory=dict)
    served: dict[str, float] = field(default_factory=dict)
    waiting: int = 0
    again_at: float = FULL

    def push(self, place: Place) -> None:
        """One more. A lane that was empty starts level with the least served, as in core/lanes.py."""
        stream = place.mail.stream
        lane = self.lanes.get(stream)
        if lane is None:
            lane = self.lanes[stream] = deque()
        if not lane and self.waiting:
            busy = [self.served.get(name, 0.0) for name, other in self.lanes.items() if other]
            self.served[stream] = max(self.served.get(stream, 0.0), min(busy))
        lane.append(place)
        self.waiting += 1

    def pop(self, stream: str, weight: int) -> Place:
        """The stream's first."""
        self.waiting -= 1
        self.served[stream] = self.served.get(stream, 0.0) + 1 / weight
        return self.lanes[stream].popleft()

    def order(self, rules: Mapping[str, LaneRules]) -> list[str]:
        """The streams that have something here, who goes first first; asked only when there is something."""
        if len(self.lanes) == 1:
            return list(self.lanes)
        names = [name for name, lane in self.lanes.items() if lane]
        if len(names) > 1:
            names.sort(key=lambda name: (-rules[name].priority, self.served.get(name, 0.0), name))
        return names


class Doorways:
    """All there are under one policy: terms by host, gates by address and counted name, named limits."""

    def __init__(self, policy: Policy, restraints: Restraints) -> None:
        self.policy, self.restraints = policy, restraints
        self.rules = {
            name: LaneRules(stream.priority, stream.weight, stream.reserve) for name, stream in policy.streams.items()
        }
        self.gates: dict[tuple[str, str], Doorway] = {}
        self._sources: dict[str, set[str]] = {}  # by the address they share
        self._rates: dict[str, Rates] = {}  # as the policy has them, by counted name
        self._comers: dict[str, dict[str, LaneRules]] = {}
        self._terms: dict[str, tuple[Terms, str]] = {}
        for stream in policy.streams.values():
            for source in policy.pools[stream.pool].sources:
                address = leaves_from(source)
                self._comers.setdefault(address, {})[stream.name] = self.rules[stream.name]
                self._sources.setdefault(address, set()).add(source.name)
        self._named = {name: self._of(limit) for name, limit in policy.limits.items()}

    def _of(self, limit: NamedLimit) -> Doorway:
        policy, name = self.policy, limit.name
        pools = {pool.name for pool in policy.pools.values() if name in pool.shared}
        anyone = any(name in provider.shared for provider in policy.providers)
        rules = {one.name: self.rules[one.name] for one in policy.streams.values() if anyone or one.pool in pools}
        connections = limit.connections or NO_LIMIT
        rates = Rates(connections, 0, limit.connections_per_minute, limit.messages_per_second)
        return Doorway(Gate(rates, name, rules=rules))

    def terms(self, host: str) -> tuple[Terms, str]:
        """How an MX is dealt with, and its site, which is told by its name without the first label."""
        found = self._terms.get(host)
        if found is None:
            provider, last = self.policy.provider(host), self.policy.providers[-1]
            site = host.partition(".")[2] if host.count(".") > 1 else host
            limits, catches_all = provider.limits, provider is last
            rates = Rates(
                limits.connections, limits.messages_per_connection,
                limits.connections_per_minute, limits.messages_per_second,
            )  # fmt: skip
            counted = f"site {site}" if catches_all else provider.name
            replies = provider.replies if catches_all else provider.replies + last.replies
            terms = Terms(provider.name, counted, rates, replies, provider.shared, catches_all)
            found = self._terms[host] = (terms, site)
        return found

    def outlet(self, stream: str, host: str) -> Outlet:
        """A new outlet for the stream's pool towards the MX."""
        terms, site = self.terms(host)
        pool = self.policy.pools[self.policy.streams[stream].pool]
        named = tuple(self._named[name] for name in dict.fromkeys((*terms.shared, *pool.shared)))
        ways = [(source, (self._gate(leaves_from(source), terms), *named)) for source in in_turn(pool, site)]
        return Outlet((pool.name, site), terms, ways)

    def _gate(self, address: str, terms: Terms) -> Doorway:
        key = (address, terms.counted)
        if key not in self.gates:
            self._rates[terms.counted] = terms.rates
            self.gates[key] = Doorway(Gate(terms.rates, rules=self._comers[address]))
        return self.gates[key]

    def well_again(self, source: str) -> None:
        """A source may be used again that was left alone everywhere."""
        for (address, _), doorway in self.gates.items():
            if source in self._sources[address]:
                doorway.gate.come_back()

    def limited(self, counted: str, now: float) -> None:
        """Reply rules have changed the rates towards a provider or site."""
        for address, sources in self._sources.items():
            if (doorway := self.gates.get((address, counted))) is not None:
                rates = self._rates[counted]
                for name in sources:
                    rates = self.restraints.rates(name, counted, rates, now)
                doorway.gate.set_rates(rates)
                if any(self.restraints.comebacks.on_trial(name, counted, now) for name in sources):
                    doorway.gate.come_back()
