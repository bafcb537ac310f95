"""Places at the gates, step by step: who waits, who gives way, who is next."""

from relay.core.gate import Gate
from relay.core.lanes import LaneRules, Lanes
from relay.core.limits import Rates
from relay.core.places import Places
from relay.core.slots import TURN_S, Slot, Step
from relay.core.waiting import Waiting

RULES = {
    "transactional": LaneRules(priority=100, reserve=0.5),
    "alerts": LaneRules(weight=3),
    "marketing": LaneRules(),
}


class Hall:
    """One gate, outlets that are served by hand, and what the places ask for."""

    def __init__(self, connections: int = 2, rules=RULES, **rates) -> None:
        self.lanes = Lanes(rules)
        self.gate = Gate(Rates(connections=connections, **rates), rules=rules)
        self.served: list[str] = []
        self.ended: list[Slot] = []
        self.reminded: list[float] = []
        self.places = Places(
            self.lanes, serve=lambda key: self.served.append(key[1]), end=self.ended.append,
            remind=lambda gate, seconds: self.reminded.append(seconds),
        )  # fmt: skip
        self.number = 0

    def mail(self, site: str, stream: str = "marketing", count: int = 1):
        for _ in range(count):
            self.number += 1
            waiting = Waiting(0.0, f"m{self.number:04}", 0, f"a@{site}", site, stream, 0.0, 0)
            outlet = self.lanes.push(waiting, "main", site)
        return outlet

    def find(self, outlet, now: float = 0.0, *, first: bool = True) -> Slot | None:
        return self.places.find(outlet, (self.gate,), now, first=first)

    def turn(self, slot: Slot, now: float = 0.0, *, over: bool = False) -> Step:
        turn = self.places.turn(slot, now, over=over)
        if turn.step is Step.TAKE:
            outlet = self.lanes.outlets[slot.key]
            self.lanes.take(outlet, turn.stream)
            self.places.taken(outlet, turn.stream)
        return turn.step

    def gone(self, slot: Slot, now: float = 0.0) -> None:
        slot.release()
        self.places.pass_on(slot, now)


PLAIN = {"marketing": LaneRules(), "transactional": LaneRules(priority=100)}


def test_a_place_is_taken_used_and_given_back():
    hall = Hall()
    slot = hall.find(hall.mail("a"))
    assert slot is not None
    assert (hall.gate.open, hall.gate.held, hall.gate.at) == (1, {"marketing": 1}, {("main", "a"): 1})
    assert hall.turn(slot) is Step.TAKE
    assert hall.gate.busy == {"marketing": 1}
    assert hall.turn(slot) is Step.IDLE
    hall.gone(slot)
    assert (hall.gate.open, hall.gate.held, hall.gate.at) == (0, {"marketing": 0}, {})
    assert (hall.gate.busy, hall.gate.idle) == ({"marketing": 0}, {})


def test_who_finds_no_place_stands_in_line_and_an_idle_connection_ends_for_it():
    hall = Hall(1, PLAIN)
    slot = hall.find(hall.mail("a"))
    hall.turn(slot), hall.turn(slot)
    assert hall.find(hall.mail("b")) is None
    assert hall.ended == [slot]
    hall.gone(slot)
    assert hall.served[0] == "b"


def test_a_busy_connection_gives_way_to_a_higher_stream_at_the_boundary():
    hall = Hall(1, PLAIN)
    slot = hall.find(hall.mail("a", count=5))
    assert hall.turn(slot) is Step.TAKE
    assert hall.find(hall.mail("b", "transactional")) is None
    assert hall.ended == []
    assert hall.turn(slot) is Step.QUIT
    hall.gone(slot)
    assert hall.served[0] == "b"


def test_only_as_many_give_way_as_wait():
    hall = Hall(3, PLAIN)
    slots = [hall.find(hall.mail("a", count=5)) for _ in range(3)]
    for slot in slots:
        hall.turn(slot)
    hall.find(hall.mail("b", "transactional"))
    assert [hall.turn(slot) for slot in slots] == [Step.QUIT, Step.TAKE, Step.TAKE]


def test_an_equal_waits_for_the_end_of_a_turn():
    hall = Hall(2, PLAIN)
    slots = [hall.find(hall.mail("a", count=9)) for _ in range(2)]
    hall.find(hall.mail("b"))
    assert hall.turn(slots[0], TURN_S / 2) is Step.TAKE
    assert hall.turn(slots[0], TURN_S) is Step.QUIT


def test_one_that_has_as_many_does_not_take_from_an_equal():
    hall = Hall(2, PLAIN)
    mine, other = hall.find(hall.mail("a", count=9)), hall.find(hall.mail("b", count=9))
    assert hall.find(hall.mail("b"), first=False) is None
    assert hall.turn(mine, TURN_S) is Step.TAKE
    assert hall.turn(other, TURN_S) is Step.TAKE


def test_equal_streams_give_way_by_weight():
    hall = Hall(4, {"alerts": LaneRules(weight=3), "marketing": LaneRules()})
    mine = [hall.find(hall.mail("a", count=9)) for _ in range(3)]
    other = hall.find(hall.mail("b", "alerts", count=9))
    hall.find(hall.mail("c", "alerts"))
    assert hall.turn(mine[0], TURN_S) is Step.QUIT
    assert hall.turn(other, TURN_S) is Step.TAKE


def test_a_code_for_the_same_outlet_takes_the_next_slot_of_it():
    hall = Hall(1, PLAIN)
    slot = hall.find(hall.mail("a", count=5))
    hall.turn(slot)
    outlet = hall.mail("a", "transactional")
    assert hall.find(outlet, first=False) is None
    turn = hall.places.turn(slot, 0.0, over=False)
    assert (turn.step, turn.stream) == (Step.TAKE, "transactional")
    assert hall.gate.held == {"marketing": 0, "transactional": 1}


def test_a_message_rate_makes_wait_and_the_higher_stream_goes_first():
    hall = Hall(3, PLAIN, messages_per_second=1)
    low, high = hall.find(hall.mail("a", count=5)), hall.find(hall.mail("b", "transactional", count=5))
    assert hall.turn(low) is Step.TAKE
    assert hall.turn(low, 0.1) is Step.RATE
    assert hall.turn(high, 0.1) is Step.RATE
    hall.served.clear()
    hall.places.admit(hall.gate, 1.0)
    assert hall.served == ["b", "a"]
    hall.gate.tokens.join("transactional", ("main", "b"), 0)
    assert hall.turn(low, 1.0) is Step.RATE
    assert hall.turn(high, 1.0) is Step.TAKE
    hall.places.admit(hall.gate, 1.1)
    assert hall.reminded[-1] > 0.5


def test_under_a_message_rate_only_a_first_connection_is_worth_making():
    hall = Hall(3, PLAIN, messages_per_second=1)
    outlet = hall.mail("a", count=5)
    slot = hall.find(outlet)
    hall.turn(slot)
    assert hall.find(outlet, first=False) is None
    assert hall.find(hall.mail("b"), first=True) is not None


def test_new_connections_wait_for_their_rate():
    hall = Hall(1, PLAIN, connections_per_minute=60)
    slot = hall.find(hall.mail("a"))
    hall.gone(slot)
    assert hall.find(hall.mail("b")) is None
    assert 0.9 < hall.reminded[-1] <= 1
    hall.served.clear()
    hall.places.admit(hall.gate, 0.5)
    assert hall.served == []
    hall.places.admit(hall.gate, 1.0)
    assert hall.served == ["b"]


def test_a_limit_that_was_lowered_ends_no_more_than_are_too_many():
    hall = Hall(3, PLAIN)
    slots = [hall.find(hall.mail("a", count=5)) for _ in range(3)]
    hall.gate.set_rates(Rates(connections=2))
    assert [hall.turn(slot) for slot in slots] == [Step.QUIT, Step.TAKE, Step.TAKE]
    assert hall.turn(slots[0]) is Step.QUIT
    slots[0].leave()
    assert hall.gate.leaving == 1


def test_what_reserves_keep_still_is_looked_at_again_when_a_place_comes_free():
    hall = Hall(4)
    slots = [hall.find(hall.mail("a", "transactional")), *(hall.find(hall.mail("a", count=5)) for _ in range(2))]
    for slot in slots:
        hall.turn(slot)
    assert hall.turn(slots[0]) is Step.IDLE  # marketing has all it may have; this place is a transactional one
    hall.served.clear()
    hall.gone(slots[1])
    assert hall.served[0] == "a"


def test_places_that_change_streams_are_news_for_who_waits():
    hall = Hall(4)
    slots = [hall.find(hall.mail("a", count=5)) for _ in range(2)]
    assert hall.find(hall.mail("b")) is None
    hall.mail("a", "transactional")
    hall.reminded.clear()
    assert hall.turn(slots[0]) is Step.TAKE
    assert hall.reminded == [0.0]


def test_an_outlet_that_is_empty_no_longer_waits():
    hall = Hall(1, PLAIN)
    slot = hall.find(hall.mail("a", count=2))
    outlet = hall.mail("a", "transactional")
    hall.find(outlet, first=False)
    hall.turn(slot)
    assert hall.gate.line.streams() == ["marketing"]
    hall.turn(slot), hall.turn(slot)
    assert len(hall.gate.line) == 0
    hall.find(hall.mail("a"), first=False)
    hall.places.wants_no_more(("main", "a"))
    assert len(hall.gate.line) == 0


def test_an_outlet_that_wants_more_does_not_take_from_itself():
    hall = Hall(1, PLAIN)
    slot = hall.find(hall.mail("a", count=5))
    assert hall.find(hall.mail("a"), first=False) is None
    assert hall.turn(slot, TURN_S) is Step.TAKE


def test_no_more_tokens_than_who_waits_for_them():
    hall = Hall(1, PLAIN, messages_per_second=5)
    hall.gate.tokens.join("marketing", ("main", "a"), 0)
    hall.places.admit(hall.gate, 0.0)
    assert hall.served == ["a"]
    assert len(hall.gate.tokens) == 0


def test_a_connection_that_must_end_ends():
    hall = Hall()
    slot = hall.find(hall.mail("a", count=2))
    assert hall.turn(slot, over=True) is Step.QUIT
    assert hall.turn(slot) is Step.QUIT


def test_idle_connections_that_may_not_be_had_stay():
    hall = Hall(2)
    slot = hall.find(hall.mail("a", "transactional"))
    hall.turn(slot), hall.turn(slot)
    other = hall.find(hall.mail("b"))
    hall.turn(other)
    assert hall.find(hall.mail("c")) is None
    assert hall.ended == []  # the idle place is reserved for codes


def test_nobody_overtakes_one_in_line_who_could_pass():
    hall = Hall(2, PLAIN)
    first = hall.find(hall.mail("a", count=2))
    hall.find(hall.mail("a", count=2))
    assert hall.find(hall.mail("b")) is None
    first.release()  # nobody was told yet
    assert hall.find(hall.mail("c")) is None
    assert hall.find(hall.mail("d", "transactional")) is not None


def test_what_a_line_is_served_for_in_vain_leaves_it():
    hall = Hall(1, PLAIN)
    slot = hall.find(hall.mail("a"))
    hall.find(hall.mail("b")), hall.find(hall.mail("c"))
    hall.served.clear()
    hall.gone(slot)  # `serve` does nothing here: as for outlets that another gate stops
    assert hall.served[:2] == ["b", "c"]
    assert len(hall.gate.line) == 0


def test_one_that_was_served_and_got_its_place_is_not_asked_again():
    hall = Hall(1, PLAIN)
    slot = hall.find(hall.mail("a"))
    outlet = hall.mail("b")
    hall.find(outlet)
    hall.places.serve = lambda key: hall.find(outlet) if key[1] == "b" else None
    slot.release()
    hall.places.admit(hall.gate, 0.0)
    assert hall.gate.at == {("main", "b"): 1}


def test_streams_that_may_not_leave_this_way_are_passed_over():
    hall = Hall(2, PLAIN)
    outlet = hall.mail("a", "transactional")
    hall.mail("a", "marketing")
    slot = hall.find(outlet)
    turn = hall.places.turn(slot, 0.0, over=False, may=lambda stream: stream == "marketing")
    assert (turn.step, turn.stream) == (Step.TAKE, "marketing")
    hall.lanes.take(outlet, "marketing")
    assert hall.places.find(outlet, (hall.gate,), 0.0, first=False, streams=[]) is None
    assert hall.places.turn(slot, 0.0, over=False, may=lambda stream: False).step is Step.IDLE
    assert len(hall.gate.tokens) == 0


def test_a_connection_that_has_nothing_to_do_ends_at_once_for_one_who_waits():
    hall = Hall(1, PLAIN)
    slot = hall.find(hall.mail("a"))
    hall.turn(slot)
    hall.find(hall.mail("b"))
    assert hall.turn(slot) is Step.QUIT


def test_who_stands_in_line_without_room_stays_there():
    hall = Hall(1, PLAIN)
    hall.find(hall.mail("a"))
    hall.find(hall.mail("b"))
    hall.served.clear()
    hall.places.admit(hall.gate, 0.0)
    assert hall.served == []
    assert len(hall.gate.line) == 1
