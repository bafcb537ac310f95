"""A world on a virtual clock: the relay's own decisions (backlog, lanes, places, gates) against destinations
that are quick, slow, dead for a while or full, with its own books of everything that may never be exceeded."""

from __future__ import annotations

from bisect import bisect_right, insort
from collections import Counter, defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from heapq import heappop, heappush
from random import Random
from typing import Any

from relay.core.backlog import Backlog, Page
from relay.core.gate import Gate
from relay.core.lanes import LaneRules, Lanes
from relay.core.limits import Rates
from relay.core.places import Places
from relay.core.slots import Slot, Step, blocked
from relay.core.waiting import Mark, Part, Waiting

Key = tuple[str, str]
PAGE_S = 0.01  # what reading a page takes
TICK_S = 0.05
SWEEP_S = 30.0
LOOK_S = 0.5


@dataclass
class Destination:
    """`service_s` a message; `connect_s` to connect and to say goodbye; `down` (from, until) refuses."""

    site: str
    provider: str
    service_s: float
    connect_s: float = 0.02
    down: tuple[float, float] = (0.0, 0.0)
    defers: float = 0.0


@dataclass(eq=False)
class Connection:
    """One open connection of the world."""

    slot: Slot
    begun: int = 0
    idle: bool = False
    ending: bool = False


@dataclass
class Links:
    """The connections of an outlet."""

    all: set[Connection] = field(default_factory=set)
    opening: int = 0
    paused_until: float = 0.0
    trouble: bool = False  # one connection looks first


def _mark(row: tuple[Mark, Waiting]) -> Mark:
    return row[0]


class Store:
    """One stream's queue in order, and by part."""

    def __init__(self) -> None:
        self.alive: dict[tuple[str, int], Waiting] = {}
        self.rows: list[tuple[Mark, Waiting]] = []
        self.parts: dict[Part, list[tuple[Mark, Waiting]]] = defaultdict(list)

    def put(self, one: Waiting) -> None:
        self.alive[one.key] = one
        insort(self.rows, (one.mark, one), key=_mark)
        insort(self.parts[one.part], (one.mark, one), key=_mark)

    def page(self, page: Page) -> list[Waiting]:
        rows = self.rows if page.only is None else self.parts[page.only]
        found: list[Waiting] = []
        start = bisect_right(rows, page.after, key=_mark)
        for number in range(start, len(rows)):
            mark, one = rows[number]
            if mark[0] > page.before or len(found) >= page.limit:
                break
            if self.alive.get(one.key) is one:
                found.append(one)
        return found


class Books:
    """What really is open and sent, counted beside the relay's own counting."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.open: Counter[str] = Counter()
        self.carrying: Counter[tuple[str, str]] = Counter()
        self.sent: dict[str, deque[float]] = defaultdict(deque)
        self.made: dict[str, deque[float]] = defaultdict(deque)

    def opened(self, names: list[str]) -> None:
        for name in names:
            self.open[name] += 1
            rates = self.world.limits[name]
            assert self.open[name] <= rates.connections, (self.world.now, name, self.open[name], rates)
            self._rate(self.made[name], rates.connections_per_minute / 60, max(1.0, float(rates.connections)))

    def closed(self, names: list[str]) -> None:
        for name in names:
            self.open[name] -= 1

    def started(self, names: list[str], stream: str) -> None:
        for name in names:
            self.carrying[(name, stream)] += 1
            rates, kept = self.world.limits[name], self.world.kept(name, stream)
            others = sum(self.carrying[(name, one)] for one in self.world.rules if one not in kept)
            room = rates.connections - sum(kept.values())
            assert others <= max(1, room), (self.world.now, name, stream, others, kept, rates)
            self._rate(self.sent[name], rates.messages_per_second, max(1.0, rates.messages_per_second))

    def ended(self, names: list[str], stream: str) -> None:
        for name in names:
            self.carrying[(name, stream)] -= 1

    def _rate(self, times: deque[float], rate: float, burst: float) -> None:
        """No window of ten seconds sees more than the burst and ten seconds' worth."""
        if rate:
            times.append(self.world.now)
            while times[0] < self.world.now - 10:
                times.popleft()
            assert len(times) <= burst + rate * 10 + 1, (self.world.now, len(times), rate)


class World:
    """`run` lives until all mail is delivered. `limits` by name: "machine", a provider's, a named limit's."""

    def __init__(
        self, seed: int, *, rules: dict[str, LaneRules], destinations: list[Destination],
        limits: dict[str, Rates], named: dict[str, str], window: int = 2000, retry_s: float = 60.0,
    ) -> None:  # fmt: skip
        self.dice, self.rules, self.limits, self.named = Random(seed), rules, limits, named
        self.destinations = {one.site: one for one in destinations}
        self.retry_s = retry_s
        self.now = 0.0
        self.events: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self.number = 0
        self.lanes = Lanes(rules)
        self.places = Places(self.lanes, serve=self.serve, end=self.end, remind=self.remind)
        self.gates = {name: Gate(rates, name, rules=rules) for name, rates in limits.items()}
        self.by_slot: dict[Slot, Connection] = {}
        self.links: dict[Key, Links] = defaultdict(Links)
        self.stores = {name: Store() for name in rules}
        self.backlogs = {name: Backlog(window) for name in rules}
        self.reading: set[str] = set()
        self.reminders: dict[Gate, float] = {}
        self.books = Books(self)
        self.arrivals = 0
        self.done: list[tuple[Waiting, float]] = []
        self.reasons: Counter[tuple[str, str]] = Counter()
        self.came_back: dict[str, int] = {}  # messages taken since, by gate
        self.in_memory_most = 0
        self.looked_at = 0.0

    def at(self, delay: float, what: Callable[..., None], *args: Any) -> None:
        self.number += 1
        heappush(self.events, (self.now + delay, self.number, what, args))

    def kept(self, name: str, stream: str) -> dict[str, int]:
        """Reserves at a gate of other streams than this."""
        return {one: slots for one, slots in self.gates[name].kept() if one != stream}

    # Mail comes in

    def arrive(self, stream: str, site: str, flow: str) -> None:
        """One message is accepted now."""
        self.arrivals += 1
        one = Waiting(self.now, f"m{self.arrivals:08}", 0, "", site, stream, self.now, 0, flow=flow)
        self.stores[stream].put(one)
        self.backlogs[stream].add(one)
        self.hand_out(stream)

    def hand_out(self, stream: str) -> None:
        for one in self.backlogs[stream].due(self.now):
            outlet = self.lanes.push(one, "main", one.domain)
            self.serve(outlet.key)

    def tick(self) -> None:
        for stream, backlog in self.backlogs.items():
            self.read(stream)
            self.hand_out(stream)
            self.in_memory_most = max(self.in_memory_most, len(backlog))
        if self.now >= self.looked_at + LOOK_S:
            self.looked_at = self.now
            self.look()
        self.at(TICK_S, self.tick)

    def read(self, stream: str) -> None:
        if stream not in self.reading and (page := self.backlogs[stream].page_wanted(self.now)):
            self.reading.add(stream)
            self.at(PAGE_S, self.page_arrived, stream, self.stores[stream].page(page))

    def page_arrived(self, stream: str, found: list[Waiting]) -> None:
        self.reading.discard(stream)
        self.backlogs[stream].page_arrived(found)
        self.hand_out(stream)
        self.read(stream)

    # Connections

    def names(self, site: str) -> list[str]:
        provider = self.destinations[site].provider
        named = [self.named[provider]] if provider in self.named else []
        return [provider, *named, "machine"]

    def way(self, site: str) -> tuple[Gate, ...]:
        return tuple(self.gates[name] for name in self.names(site))

    def serve(self, key: Key) -> None:
        outlet = self.lanes.outlets.get(key)
        if outlet is None or not outlet.ready:
            return
        links = self.links[key]
        for connection in list(links.all):
            if connection.idle and not connection.ending and outlet.ready:
                connection.idle = False
                self.step(connection)
        if any(one.idle and one.slot.waits for one in links.all) or self.now < links.paused_until:
            return
        if links.trouble and links.opening:
            return
        hands = links.opening
        while outlet.messages > hands:
            first = not links.all and not links.opening
            slot = self.places.find(outlet, self.way(outlet.site), self.now, first=first)
            if slot is None:
                return
            hands += 1
            self.connect(links, slot)
            if links.trouble:
                return
        self.places.wants_no_more(key)

    def connect(self, links: Links, slot: Slot) -> None:
        destination = self.destinations[slot.key[1]]
        self.books.opened(self.names(destination.site))
        gate = slot.gates[0]
        taken = self.came_back.get(gate.name)
        assert taken is None or gate.open <= 1 + taken, f"{self.now}: {gate.open} knock after {taken} were taken"
        links.opening += 1
        self.at(destination.connect_s, self.connected, links, slot)

    def connected(self, links: Links, slot: Slot) -> None:
        links.opening -= 1
        destination = self.destinations[slot.key[1]]
        if destination.down[0] <= self.now < destination.down[1]:
            self.refused(links, slot)
            return
        connection = self.by_slot[slot] = Connection(slot)
        links.all.add(connection)
        self.step(connection)
        if links.trouble:
            links.trouble = False
            if slot.gates[0].open == 1:
                slot.gates[0].come_back()
                self.came_back[slot.gates[0].name] = 0
            self.serve(slot.key)

    def refused(self, links: Links, slot: Slot) -> None:
        """The destination is down: what waits there comes again later."""
        self.books.closed(self.names(slot.key[1]))
        slot.release()
        outlet = self.lanes.outlets[slot.key]
        if not links.all:
            links.paused_until, links.trouble = self.now + 15, True
            self.at(15, self.serve, slot.key)
            for one in self.lanes.drain(outlet):
                self.backlogs[one.stream].left()
                self.again(one)
            self.places.wants_no_more(slot.key)
        self.places.pass_on(slot, self.now)

    def step(self, connection: Connection) -> None:
        slot = connection.slot
        rates = self.limits[self.destinations[slot.key[1]].provider]
        most = rates.messages_per_connection
        turn = self.places.turn(slot, self.now, over=0 < most <= connection.begun)
        if turn.step is Step.TAKE:
            outlet = self.lanes.outlets[slot.key]
            taken = self.lanes.take(outlet, turn.stream)
            self.places.taken(outlet, turn.stream)
            self.backlogs[turn.stream].left(len(taken))
            connection.begun += 1
            names = self.names(outlet.site)
            self.books.started(names, turn.stream)
            self.at(self.destinations[outlet.site].service_s, self.finished, connection, taken)
        elif turn.step is Step.QUIT:
            self.quit(connection)
        else:
            connection.idle = True

    def finished(self, connection: Connection, taken: list[Waiting]) -> None:
        stream, destination = taken[0].stream, self.destinations[connection.slot.key[1]]
        self.books.ended(self.names(destination.site), stream)
        delivered = len(self.done)
        for one in taken:
            if destination.defers and self.dice.random() < destination.defers:
                self.again(one)
            else:
                del self.stores[stream].alive[one.key]
                self.backlogs[stream].finished(one)
                self.done.append((one, self.now))
        if len(self.done) > delivered:
            self.worked(connection.slot.gates[0])
        self.step(connection)

    def worked(self, gate: Gate) -> None:
        """A message was taken: after a pause that is what the window opens by."""
        if gate.name in self.came_back:
            self.came_back[gate.name] += 1
        if gate.worked():
            self.remind(gate, 0.0)

    def again(self, one: Waiting) -> None:
        later = one._replace(due_at=self.now + self.retry_s, attempts=one.attempts + 1)
        self.stores[one.stream].put(later)
        self.backlogs[one.stream].finished(one)
        self.backlogs[one.stream].add(later)

    def end(self, slot: Slot) -> None:
        self.quit(self.by_slot[slot])

    def quit(self, connection: Connection) -> None:
        if not connection.ending:
            connection.ending, connection.idle = True, False
            self.at(self.destinations[connection.slot.key[1]].connect_s, self.gone, connection)

    def gone(self, connection: Connection) -> None:
        slot = connection.slot
        del self.by_slot[slot]
        self.links[slot.key].all.discard(connection)
        self.books.closed(self.names(slot.key[1]))
        slot.release()
        self.places.pass_on(slot, self.now)

    def remind(self, gate: Gate, seconds: float) -> None:
        due = self.now + max(0.001, seconds)
        if seconds != float("inf") and self.reminders.get(gate, float("inf")) > due:
            self.reminders[gate] = due
            self.at(max(0.001, seconds), self.reminded, gate, due)

    def reminded(self, gate: Gate, due: float) -> None:
        if self.reminders.get(gate) == due:
            del self.reminders[gate]
            self.places.admit(gate, self.now)

    # What must hold at every moment

    def look(self) -> None:
        """Every outlet that has mail has a hand, or a gate that says why not."""
        for outlet in self.lanes.outlets.values():
            if outlet.ready:
                reason = self.why(outlet.key)
                self.reasons[(next(iter(self.lanes.order(outlet))), reason)] += 1

    def why(self, key: Key) -> str:
        """The reason mail waits in an outlet; fails when there is none."""
        outlet, links = self.lanes.outlets[key], self.links[key]
        if self.now < links.paused_until:
            return "destination_paused"
        if links.opening or any(not one.idle for one in links.all):
            return "turn"  # also that of the one that looks whether a pause is over
        stream = self.lanes.order(outlet)[0]
        way = self.way(outlet.site)
        rate = max(gate.messages.ready_at(self.now) for gate in way) > self.now
        if rate or any(key in gate.tokens for gate in way):
            return "message_rate"
        block = blocked(way, key, stream, self.now)
        in_line = any(key in gate.line for gate in way)
        assert block is not None or in_line, f"{self.now}: nothing keeps {key} from going, and it does not go"
        assert in_line, f"{self.now}: {key} waits at {block and block.gate.name} and stands in no line"
        return block.reason if block else "connection_rate"

    def sweep(self) -> None:
        """As the relay does: outlets whose pause is over are served again."""
        for key in list(self.links):
            self.serve(key)
        self.at(SWEEP_S, self.sweep)

    def run(self, until: float = 1e9) -> None:
        """Lives on until everything that came is delivered."""
        self.at(0.0, self.tick)
        self.at(SWEEP_S, self.sweep)
        while self.events and self.now < until:
            self.now, _, what, args = heappop(self.events)
            what(*args)
            if self.expected == len(self.done):
                return
        waiting = {name: len(store.alive) for name, store in self.stores.items()}
        raise AssertionError(f"at {self.now:.0f} s {waiting} wait still")

    expected = 0

    def delays(self, stream: str, *, but: Callable[[Waiting], bool] = lambda one: False) -> list[float]:
        """Accept to delivered, in order, of a stream's messages that were delivered at the first attempt."""
        return sorted(
            at - one.received_at for one, at in self.done
            if one.stream == stream and not one.attempts and not but(one)
        )  # fmt: skip
