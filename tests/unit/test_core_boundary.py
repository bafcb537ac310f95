"""At a message boundary: the quick way to an answer gives the one that asking every gate everything gives."""

import random
from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from relay.core.gate import Gate
from relay.core.lanes import LaneRules, Lanes
from relay.core.limits import Rates
from relay.core.places import Places
from relay.core.slots import Step, Turn, _gives_way, _rate, at_boundary
from relay.core.waiting import Waiting

RULES = {
    "transactional": LaneRules(priority=100, reserve=0.5),
    "alerts": LaneRules(weight=3, reserve=0.2),
    "marketing": LaneRules(),
}
STREAMS, SITES = list(RULES), ["a", "b", "c"]


def at_length(slot, outlet, lanes, now, may) -> Turn:
    """The same decision, every rule asked of every gate, nothing kept and nothing left out."""
    if slot.leaving or any(gate.open - gate.leaving > _most(gate) for gate in slot.gates):
        return Turn(Step.QUIT)
    stream = next((name for name in _order(outlet, lanes) if _room(slot, name) and may(name)), None)
    if any(_gives_way(slot, stream, gate, now) for gate in slot.gates if len(gate.line)):
        return Turn(Step.QUIT)
    if stream is None:
        return Turn(Step.IDLE)
    found = [turn for gate in slot.gates if gate.messages.rate > 0 and (turn := _rate(slot, stream, gate, now))]
    return found[0] if found else Turn(Step.TAKE, stream)


def _most(gate) -> int:
    return max(1, int(min(gate.rates.connections, gate.window)))


def _order(outlet, lanes) -> list[str]:
    if outlet is None:
        return []
    here = [name for name, lane in outlet.lanes.items() if len(lane)]
    return sorted(here, key=lambda name: (-lanes.rule(name).priority, outlet.served.get(name, 0.0), name))


def _room(slot, stream) -> bool:
    return all(gate.room(stream, slot.stream) for gate in slot.gates)


class Traffic:
    """Two gates one behind the other, three destinations, three streams; mail comes and goes as it is told."""

    def __init__(self, near: int, far: int, rate: float) -> None:
        self.lanes = Lanes(RULES)
        self.near = {site: Gate(Rates(near, messages_per_second=rate), rules=RULES) for site in SITES}
        self.far = Gate(Rates(far), "machine", rules=RULES)
        self.slots, self.number, self.now = [], 0, 0.0
        self.met: Counter[Step] = Counter()
        self.places = Places(
            self.lanes, serve=self.serve, end=lambda slot: None, remind=lambda gate, seconds: None
        )  # fmt: skip

    def mail(self, site: str, stream: str) -> None:
        self.number += 1
        waiting = Waiting(0.0, f"m{self.number:04}", 0, f"x@{site}", site, stream, 0.0, 0)
        self.lanes.push(waiting, "main", site)
        self.serve(("main", site))

    def serve(self, key) -> None:
        outlet = self.lanes.outlets.get(key)
        if outlet is not None and outlet.ready:
            way = (self.near[outlet.site], self.far)
            first = not any(slot.key == key for slot in self.slots)
            if slot := self.places.find(outlet, way, self.now, first=first):
                self.slots.append(slot)

    def boundary(self, at: int, blocked: str, *, over: bool) -> None:
        if not self.slots:
            return
        slot = self.slots[at % len(self.slots)]
        outlet = self.lanes.outlets.get(slot.key)

        def may(stream: str) -> bool:
            return stream != blocked

        answer = at_boundary(slot, outlet, self.lanes, self.now, may)
        assert answer == at_length(slot, outlet, self.lanes, self.now, may)
        self.met[answer.step] += 1
        turn = self.places.turn(slot, self.now, over=over, may=may)
        assert over or turn == answer
        if turn.step is Step.TAKE:
            self.lanes.take(outlet, turn.stream)
            self.places.taken(outlet, turn.stream)

    def hang_up(self, at: int) -> None:
        if self.slots:
            slot = self.slots.pop(at % len(self.slots))
            slot.release()
            self.places.pass_on(slot, self.now)


def play(near: int, far: int, rate: float, seed: int) -> Traffic:
    """Three hundred things that happen, more mail than the gates bear."""
    traffic, dice = Traffic(near, far, rate), random.Random(seed)
    for _ in range(300):
        site, at = dice.choice(SITES), dice.randrange(12)
        match dice.choices(["boundary", "mail", "wait", "hang up", "trouble", "limit"], [60, 40, 15, 4, 1, 1])[0]:
            case "boundary":
                traffic.boundary(at, dice.choice([*STREAMS, "", "", ""]), over=dice.random() < 0.02)
            case "mail":
                traffic.mail(site, dice.choices(STREAMS, [1, 2, 6])[0])
            case "wait":
                traffic.now += dice.choice([0.01, 0.2, 1.5])
            case "hang up":
                traffic.hang_up(at)
            case "trouble":
                traffic.near[site].deferred(traffic.now)
            case _:
                traffic.near[site].set_rates(Rates(dice.randint(1, 5), messages_per_second=rate))
        assert all(gate.most == _most(gate) for gate in (*traffic.near.values(), traffic.far))
    return traffic


@given(st.integers(1, 5), st.integers(1, 8), st.sampled_from([0.0, 0.0, 2.0]), st.integers(0, 2**32))
@settings(deadline=None)
def test_the_quick_answer_is_the_long_one(near, far, rate, seed):
    play(near, far, rate, seed)


def test_the_traffic_meets_every_answer_often():
    met = Counter()
    for seed in range(20):
        met += play(3, 5, 2.0 * (seed % 2), seed).met
    assert min(met[step] for step in Step) > 50, met
