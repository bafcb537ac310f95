"""Mail leaving under a policy, on a virtual clock: who is sent when, by connections, rates, priorities and retries.

What is simulated, for each source of a pool and each destination: `connections`, `messages` a second and
`new_connections` with `messages_per_connection`; between streams priority and reserve, inside a stream the order of
acceptance; the retry schedule without jitter, and expiry. What is not: weights, warm-up, breakers and limits that
receivers teach. Actions of reply rules would act in `_answered`, where every answer passes.

The world answers as it was recorded: a recipient delivered at once is delivered at once, one that was deferred is
deferred until the time at which it was delivered or refused, whenever it is tried.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import NamedTuple

from relay.core.limits import TokenBucket
from relay.policy.model import Policy, Provider, Source, Stream

DELIVERED, FAILED, EXPIRED = "delivered", "bounced", "expired"
HOUR_S = 3600
EVEN = 0.5  # the dice that gives a wait without jitter
# Upper ends of the delays that are told apart, seconds: quantiles are read from them.
DELAYS_S = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600, 4 * 3600, 86400, 3 * 86400, float("inf"))


class Trouble(NamedTuple):
    """A recipient that was not delivered at once: how it ended ("" when nobody knows) and since when that is the
    answer (Unix s)."""

    end: str = ""
    since: float = float("inf")


class Place(NamedTuple):
    """One recipient on its way."""

    accepted_at: float
    stream: str
    host: str
    seconds: float
    trouble: Trouble | None
    attempts: int = 0


@dataclass(slots=True)
class Result:
    """What became of one stream's recipients; `delays` counts deliveries by DELAYS_S."""

    delivered: int = 0
    bounced: int = 0
    expired: int = 0
    in_time: int = 0
    delays: list[int] = field(default_factory=lambda: [0] * len(DELAYS_S))

    def quantile(self, share: float) -> float:
        """The delay (seconds, an upper bound) within which this share of deliveries was made; 0 without any."""
        wanted, seen = share * self.delivered, 0
        for most, count in zip(DELAYS_S, self.delays, strict=True):
            seen += count
            if seen >= wanted and seen:
                return most
        return 0.0


@dataclass(slots=True)
class Door:
    """One source towards one destination."""

    connections: int
    messages: TokenBucket
    connects: TokenBucket
    per_connection: int
    lanes: dict[str, deque[Place]] = field(default_factory=dict)
    busy: dict[str, int] = field(default_factory=dict)
    waiting: int = 0
    sent: int = 0
    again_at: float = float("inf")

    def ready_at(self, now: float) -> float:
        """When the rates let the next one through. Messages share connections evenly, so one connection is
        opened for so many messages."""
        opens = self.per_connection > 0 and self.sent % self.per_connection == 0
        return max(self.messages.ready_at(now), self.connects.ready_at(now) if opens else now)

    def start(self, stream: str, now: float) -> None:
        """Counts one that starts now."""
        if self.per_connection > 0 and self.sent % self.per_connection == 0:
            self.connects.take(now)
        self.messages.take(now)
        self.sent += 1
        self.busy[stream] = self.busy.get(stream, 0) + 1


class Simulation:
    """One policy at work. `sends` counts attempts by (hour in Unix hours, provider); `results` by stream."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self.now = float("-inf")
        self.sends: dict[tuple[int, str], int] = {}
        self.results: dict[str, Result] = {}
        self._doors: dict[tuple[str, str], Door] = {}
        self._heap: list[tuple[float, int, Place | None, tuple[str, str]]] = []
        self._count = 0
        self._providers: dict[str, tuple[Provider, str]] = {}
        self._turns: dict[str, int] = {}
        self._comers: dict[str, list[Stream]] = {}
        for stream in policy.streams.values():
            for source in policy.pools[stream.pool].sources:
                self._comers.setdefault(source.name, []).append(stream)

    def accept(self, at: float, stream: str, host: str, seconds: float, trouble: Trouble | None) -> None:
        """One recipient is accepted; times must not fall. A stream the policy does not have sends nothing."""
        if stream not in self.policy.streams:
            return
        self._run(at)
        self.now = max(self.now, at)
        self._queue(Place(self.now, stream, host, seconds, trouble))

    def finish(self) -> None:
        """Runs until nothing waits."""
        self._run(float("inf"))

    def _run(self, until: float) -> None:
        """Everything that happens before a time: an attempt ends, a retry is due, a rate lets go."""
        heap = self._heap
        while heap and heap[0][0] <= until:
            self.now, _, place, key = heappop(heap)
            if not key[0]:
                assert place is not None
                self._queue(place)
                continue
            door = self._doors[key]
            if place is None:
                door.again_at = float("inf")
            else:
                door.busy[place.stream] -= 1
                self._answered(place)
            self._serve(door, key)

    def _at(self, when: float, place: Place | None, key: tuple[str, str]) -> None:
        self._count += 1
        heappush(self._heap, (when, self._count, place, key))

    def _queue(self, place: Place) -> None:
        stream = self.policy.streams[place.stream]
        provider, counted = self._provider(place.host)
        source = self._source(stream, counted)
        key = (source.name, counted)
        door = self._doors.get(key)
        if door is None:
            door = self._doors[key] = _door(provider)
        door.lanes.setdefault(place.stream, deque()).append(place)
        door.waiting += 1
        self._serve(door, key)

    def _provider(self, host: str) -> tuple[Provider, str]:
        """The provider of an MX and the name its limits are counted under; those of the provider that takes
        everyone for each site, which is told by the host's name without its first label."""
        found = self._providers.get(host)
        if found is None:
            provider = self.policy.provider(host)
            site = host.partition(".")[2] if host.count(".") > 1 else host
            counted = f"site {site}" if provider is self.policy.providers[-1] else provider.name
            found = self._providers[host] = (provider, counted)
        return found

    def _source(self, stream: Stream, counted: str) -> Source:
        """Sources in turn, each as often as its weight says."""
        sources = self.policy.pools[stream.pool].sources
        if len(sources) == 1:
            return sources[0]
        turns = [source for source in sources for _ in range(source.weight)]
        key = f"{stream.pool} {counted}"
        self._turns[key] = turn = self._turns.get(key, -1) + 1
        return turns[turn % len(turns)]

    def _serve(self, door: Door, key: tuple[str, str]) -> None:
        while door.waiting:
            if (ready := door.ready_at(self.now)) > self.now:
                if ready < door.again_at:
                    door.again_at = ready
                    self._at(ready, None, key)
                return
            stream = self._next(door, key[0])
            if not stream:
                return
            self._start(door, key, door.lanes[stream].popleft())

    def _next(self, door: Door, source: str) -> str:
        """The stream that goes first and may have the slot; "" when none may. A reserve is kept at the sources
        where its stream can come."""
        streams = self.policy.streams
        names = [name for name, lane in door.lanes.items() if lane]
        if len(names) > 1:
            names.sort(key=lambda name: (-streams[name].priority, door.lanes[name][0].accepted_at))
        for name in names:
            mine = streams[name].priority
            reserved = sum(one.reserve for one in self._comers[source] if one.priority > mine)
            room = max(1, door.connections - int(door.connections * min(1.0, reserved) + 0.5))
            if sum(count for other, count in door.busy.items() if streams[other].priority <= mine) < room:
                return name
        return ""

    def _start(self, door: Door, key: tuple[str, str], place: Place) -> None:
        door.waiting -= 1
        door.start(place.stream, self.now)
        hour = (int(self.now // HOUR_S), self._provider(place.host)[0].name)
        self.sends[hour] = self.sends.get(hour, 0) + 1
        self._at(self.now + place.seconds, place, key)

    def _answered(self, place: Place) -> None:
        """The destination's answer to one attempt, as it was recorded."""
        stream, trouble = self.policy.streams[place.stream], place.trouble
        result = self.results.setdefault(place.stream, Result())
        if trouble is None or (trouble.end == DELIVERED and self.now >= trouble.since):
            self._delivered(result, stream, self.now - place.accepted_at)
        elif trouble.end == FAILED and self.now >= trouble.since:
            result.bounced += 1
        elif stream.retry.expired(now=self.now, received_at=place.accepted_at):
            result.expired += 1
        else:
            attempts = place.attempts + 1
            due = stream.retry.next_due(
                now=self.now, received_at=place.accepted_at, attempts=attempts, chance=EVEN
            )
            self._at(due, place._replace(attempts=attempts), ("", ""))

    @staticmethod
    def _delivered(result: Result, stream: Stream, delay_s: float) -> None:
        result.delivered += 1
        result.delays[next(number for number, most in enumerate(DELAYS_S) if delay_s <= most)] += 1
        if stream.objective and delay_s <= stream.objective.within_s:
            result.in_time += 1


def _door(provider: Provider) -> Door:
    limits = provider.limits
    connects = limits.connections_per_minute / 60
    return Door(
        limits.connections,
        TokenBucket(limits.messages_per_second, max(1.0, limits.messages_per_second)),
        TokenBucket(connects, max(1.0, float(limits.connections))),
        limits.messages_per_connection or (10**9 if connects else 0),
    )  # fmt: skip
