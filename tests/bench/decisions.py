"""What a decision costs with 1,000 destinations and 1,000,000 waiting recipients, and what they weigh in memory.

    python tests/bench/decisions.py [MESSAGES]
"""

from __future__ import annotations

import gc
import resource
import sys
import time
from itertools import islice
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).parents[2]))

from relay.core.backlog import Backlog, Page
from relay.core.gate import Gate
from relay.core.lanes import LaneRules, Lanes
from relay.core.limits import Rates
from relay.core.places import Places
from relay.core.slots import Slot, Step
from relay.core.waiting import Waiting

DESTINATIONS = 1000
RULES = {"transactional": LaneRules(100, reserve=0.5), "marketing": LaneRules(0, reserve=0.1)}
WINDOW = 20_000


def recipient(number: int) -> Waiting:
    """The one of that number in a queue in which destinations and ten campaigns take turns."""
    domain = DOMAINS[number % DESTINATIONS]
    flow = FLOWS[number // DESTINATIONS % 10]
    address = f"someone{number}@{domain}"
    return Waiting(number / 1e6, f"{number:019}", 0, address, domain, "marketing", 0.0, 0, flow=flow)


DOMAINS = [f"d{number}.example.net" for number in range(DESTINATIONS)]
FLOWS = [f"crm|campaign {number}" for number in range(10)]


def memory() -> int:
    """Bytes this process has in memory now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def page(asked: Page, count: int) -> list[Waiting]:
    """What the store would answer: the queue is made up as it is read, so it weighs nothing here."""
    after = -1 if not asked.after[1] else int(asked.after[1]) + (0 if asked.after[2] >= 0 else -1)
    numbers = range(after + 1, count)
    if asked.only is not None:
        domain, flow = DOMAINS.index(asked.only[0]), FLOWS.index(asked.only[1])
        round_ = DESTINATIONS * 10
        first = domain + flow * DESTINATIONS
        first += max(0, -(-(after + 1 - first) // round_)) * round_
        numbers = range(first, count, round_)
    return [recipient(number) for number in islice(numbers, asked.limit)]


def measure(count: int) -> None:
    """`count` recipients wait: as the relay holds them, and for comparison with all of them in memory."""
    begun, before = time.perf_counter(), memory()
    lanes, held = windowed(count)
    gc.collect()
    grown = memory() - before
    print(f"{count} recipients wait at {DESTINATIONS} destinations, {held} of them in memory: "
          f"{grown / max(1, held):.0f} bytes each, {grown / count:.1f} for each that waits; "
          f"process {memory() / 1e6:.0f} MB; found in {time.perf_counter() - begun:.1f} s")
    decisions(lanes)
    lanes = Lanes(RULES)
    for number in range(count):
        one = recipient(number)
        lanes.push(one, "main", one.domain)
    gc.collect()
    print(f"all {count} in memory ({(memory() - before) / count:.0f} bytes each; the relay never does this)")
    decisions(lanes)


def windowed(count: int) -> tuple[Lanes, int]:
    """The lanes when the whole queue was looked through, and how many recipients are in memory."""
    lanes, backlog, now = Lanes(RULES), Backlog(WINDOW), 1000.0
    while backlog.horizon[0] < now:
        now += 0.3
        while asked := backlog.page_wanted(now):
            backlog.page_arrived(page(asked, count))
        for one in backlog.due(now):
            lanes.push(one, "main", one.domain)
        if now > 1030:
            break  # as full as it gets while nothing moves
    KEPT.append(backlog)
    return lanes, len(backlog)


def decisions(lanes: Lanes) -> None:
    """Opens what may be opened, then takes decisions of both kinds."""
    machine = Gate(Rates(200, 0), "machine", rules=RULES)
    gates = {domain: Gate(Rates(5, 50), rules=RULES) for domain in DOMAINS}
    served: list[tuple[str, str]] = []
    places = Places(lanes, serve=served.append, end=lambda slot: None, remind=lambda gate, seconds: None)
    slots: list[Slot] = []
    for outlet in lanes:
        slot = places.find(outlet, (gates[outlet.site], machine), 0.0, first=True)
        if slot is not None:
            slots.append(slot)
    print(f"  {len(slots)} connections open, {len(machine.line)} outlets in line for the machine's next one")
    boundaries(places, lanes, slots)
    passing_on(places, lanes, gates, machine, slots, served)


KEPT: list[Backlog] = []  # alive while memory is measured


def boundaries(places: Places, lanes: Lanes, slots: list[Slot]) -> None:
    """What is next at a message boundary: streams, reserves, who waits, the flow whose turn it is."""
    costs = []
    for number in range(20_000):
        slot = slots[number % len(slots)]
        begun = time.perf_counter()
        turn = places.turn(slot, 0.5, over=False)
        if turn.step is Step.TAKE:
            outlet = lanes.outlets[slot.key]
            taken = lanes.take(outlet, turn.stream)
            places.taken(outlet, turn.stream)
            costs.append(time.perf_counter() - begun)
            for one in taken:
                lanes.push(one, "main", one.domain)
    report("next message at a boundary", costs)


def passing_on(places, lanes, gates, machine, slots, served) -> None:
    """A connection ends and the first in line of all destinations gets its place."""
    costs = []
    for _ in range(5_000):
        slot = slots.pop(0)
        begun = time.perf_counter()
        slot.release()
        served.clear()
        places.pass_on(slot, 2.0)
        for key in served:
            outlet = lanes.outlets[key]
            found = places.find(outlet, (gates[outlet.site], machine), 2.0, first=True)
            if found is not None:
                slots.append(found)
                break
        costs.append(time.perf_counter() - begun)
    report("a place passed on", costs)


def report(what: str, costs: list[float]) -> None:
    """Median and 99th percentile in microseconds."""
    costs.sort()
    print(f"  {what}: {median(costs) * 1e6:.1f} µs, p99 {costs[int(len(costs) * 0.99)] * 1e6:.1f} µs")


if __name__ == "__main__":
    measure(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000)
