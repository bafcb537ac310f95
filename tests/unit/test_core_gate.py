"""A gate: how many may pass at once, for whom some of it is kept, who is next in line."""

import pytest

from relay.core.classify import Kind
from relay.core.gate import SHRINK_S, Gate, kept_slots, too_much
from relay.core.lanes import LaneRules
from relay.core.limits import Rates
from relay.core.line import Line
from relay.core.outcome import Phase, Trouble, judge, judge_reply
from relay.core.reply import reply

RULES = {"transactional": LaneRules(priority=100, reserve=0.5), "marketing": LaneRules()}
A, B, C = ("main", "a.net"), ("main", "b.net"), ("main", "c.net")


def gate_of(connections: int, held: dict[str, int], rules=RULES) -> Gate:
    return Gate(Rates(connections=connections), rules=rules, open=sum(held.values()), held=dict(held))


def test_a_gate_says_why_it_lets_nobody_in():
    gate = Gate(Rates(connections=2))
    gate.set_rates(Rates(connections=2, connections_per_minute=60))
    assert gate.why_not_connect(0) == ("", 0)
    gate.open = 2
    assert gate.why_not_connect(0) == ("connections", float("inf"))
    gate.open = 0
    gate.connects.take(0), gate.connects.take(0)
    reason, until = gate.why_not_connect(0)
    assert (reason, until) == ("connection_rate", pytest.approx(1.0))


def test_a_new_gate_keeps_the_rates_it_was_made_with():
    gate = Gate(Rates(messages_per_second=2))
    gate.messages.take(0), gate.messages.take(0)
    assert gate.messages.ready_at(0) == pytest.approx(0.5)


def test_a_gate_is_at_rest_when_a_new_one_would_be_the_same():
    gate = Gate(Rates(connections=2, connections_per_minute=60))
    assert gate.at_rest(0)
    gate.open = 1
    gate.connects.take(0)
    assert not gate.at_rest(10)
    gate.open = 0
    assert not gate.at_rest(0.5)
    assert gate.at_rest(10)
    assert Gate(Rates()).at_rest(0)


def test_a_reload_changes_the_limits_of_a_gate_at_once_and_the_same_limits_change_nothing():
    gate = Gate(Rates(connections=5))
    gate.set_rates(Rates(connections=5, messages_per_second=10))
    gate.messages.take(0)
    level = gate.messages.level
    gate.set_rates(Rates(connections=5, messages_per_second=10))
    assert gate.messages.level == level
    gate.set_rates(Rates(connections=1))
    assert gate.most == 1
    assert gate.messages.ready_at(0) == 0


def test_the_window_shrinks_when_more_is_refused_and_grows_with_success():
    gate = Gate(Rates(connections=4), open=2)
    gate.refused_more()
    assert gate.most == 2
    for _ in range(20):
        gate.worked()
    assert gate.most == 4
    gate.open = 0
    gate.refused_more()
    assert gate.most == 1


def test_after_a_pause_one_connection_tries_and_the_window_opens_as_messages_are_taken():
    gate = Gate(Rates(connections=4))
    assert not gate.worked(), "it is open as wide as it may be"
    gate.come_back()
    assert gate.most == 1
    opened = []
    while gate.most < 4:
        opened.append((gate.worked(), gate.most))
    assert opened == [(True, 2), (False, 2), (False, 2), (True, 3), (False, 3), (False, 3), (True, 4)]


def test_one_that_meets_a_refusal_on_its_way_up_asks_for_no_more_by_itself():
    for refuse in (Gate.refused_more, lambda gate: gate.deferred(100)):
        gate = Gate(Rates(connections=9))
        gate.come_back()
        assert gate.worked()
        gate.open = 2
        refuse(gate)
        assert not any(gate.worked() for _ in range(100))
        assert gate.most == 9


def test_deliveries_under_way_are_counted_by_stream():
    gate = Gate(Rates())
    gate.start("marketing", 0)
    gate.start("marketing", 0)
    gate.end("marketing")
    assert gate.busy == {"marketing": 1}


def test_a_reserve_is_never_lent():
    assert gate_of(4, {"marketing": 1}).room("marketing")
    assert not gate_of(4, {"marketing": 2}).room("marketing")
    assert gate_of(4, {"marketing": 2}).room("transactional")
    assert gate_of(4, {"transactional": 3}).room("marketing")
    assert not gate_of(4, {"marketing": 4}).room("transactional")


def test_the_reserve_of_a_low_stream_holds_against_a_higher_one():
    rules = {"transactional": LaneRules(priority=100), "marketing": LaneRules(reserve=0.25)}
    assert gate_of(4, {"transactional": 2}, rules).room("transactional")
    assert not gate_of(4, {"transactional": 3}, rules).room("transactional")
    assert gate_of(4, {"transactional": 3}, rules).room("marketing")


def test_a_place_may_change_its_stream_within_the_reserves():
    full = gate_of(4, {"marketing": 2, "transactional": 2})
    assert full.room("transactional", instead_of="marketing")
    assert full.room("marketing", instead_of="marketing")
    assert not full.room("marketing", instead_of="transactional")


@pytest.mark.parametrize(("most", "kept"), [(1, {}), (2, {"transactional": 1}), (5, {"transactional": 3})])
def test_one_connection_is_left_to_share(most, kept):
    assert dict(kept_slots(RULES, most)) == kept


def test_where_every_stream_has_a_reserve_all_may_be_kept():
    rules = {"transactional": LaneRules(100, reserve=0.5), "marketing": LaneRules(reserve=0.5)}
    assert dict(kept_slots(rules, 2)) == {"transactional": 1, "marketing": 1}
    assert dict(kept_slots(rules, 1)) == {}


def test_reserves_follow_a_window_that_shrinks():
    gate = gate_of(10, {})
    assert dict(gate.kept()) == {"transactional": 5}
    gate.open = 8
    gate.deferred(0.0)
    assert gate.most == 4
    assert dict(gate.kept()) == {"transactional": 2}


def test_the_higher_stream_is_first_in_line_then_the_outlet_with_least():
    gate = gate_of(10, {})
    gate.line.join("marketing", A, 0)
    gate.line.join("marketing", B, 3)
    gate.line.join("marketing", C, 1)
    gate.line.join("transactional", B, 3)
    order = []
    while up := gate.next_up():
        order.append(up)
        gate.line.leave(up[1], up[0])
    assert order == [("transactional", B), ("marketing", A), ("marketing", C), ("marketing", B)]


def test_who_may_not_pass_is_passed_over_in_line():
    gate = gate_of(4, {"marketing": 2, "transactional": 1})
    gate.line.join("marketing", A, 0)
    assert gate.next_up() is None
    assert gate.next_up(instead_of="marketing") == ("marketing", A)


def test_equal_streams_stand_in_line_by_what_they_hold_for_their_weight():
    rules = {"alerts": LaneRules(10, weight=3), "marketing": LaneRules(10)}
    gate = gate_of(10, {"alerts": 2, "marketing": 1}, rules)
    gate.line.join("marketing", A, 0)
    gate.line.join("alerts", B, 0)
    assert gate.next_up() == ("alerts", B)


def test_messages_under_a_rate_go_by_priority_and_then_in_turn():
    gate = gate_of(10, {})
    assert gate.next_token() is None
    gate.tokens.join("marketing", A, 0)
    gate.tokens.join("marketing", B, 0)
    assert gate.next_token() == ("marketing", A)
    gate.tokens.join("transactional", C, 0)
    assert gate.next_token() == ("transactional", C)


def test_a_line_forgets_who_left_and_keeps_places():
    line = Line()
    for number in range(100):
        line.join("marketing", ("main", f"{number}.net"), 0)
        line.join("marketing", ("main", f"{number}.net"), 0)
        if number:
            line.leave(("main", f"{number}.net"))
    assert len(line) == 1
    assert ("main", "0.net") in line
    assert ("main", "1.net") not in line
    line.leave(("main", "0.net"), "transactional")
    assert line.first("marketing")[1] == ("main", "0.net")
    for number in range(3):
        line.join("marketing", ("main", f"x{number}"), number)
    line.leave(("main", "0.net"))
    assert line.first("marketing")[1] == ("main", "x0")
    assert line.streams() == ["marketing"]


def test_a_reserved_place_is_named_as_the_reason():
    assert gate_of(4, {"marketing": 2}).why_not_connect(0, "marketing") == ("reserved", float("inf"))
    assert gate_of(4, {"marketing": 4}).why_not_connect(0, "transactional") == ("connections", float("inf"))


def test_what_is_too_much_for_the_other_side_halves_the_window_once_for_a_burst():
    gate = gate_of(8, {"marketing": 8})
    gate.deferred(0)
    gate.deferred(0.1)
    assert gate.most == 4
    gate.deferred(SHRINK_S)
    assert gate.most == 2
    for _ in range(60):
        gate.worked()
    assert gate.most == 8
    gate.deferred(-100)  # the clock was set back
    assert gate.most == 4


@pytest.mark.parametrize(
    ("outcome", "answer"),
    [
        (judge_reply(Phase.MAIL, reply(421, "4.3.2", "too many connections")), True),
        (judge_reply(Phase.RCPT, reply(450, "4.7.28", "unusual rate of mail, rate limited")), True),
        (judge(Trouble.TIMEOUT, Phase.DOT), True),
        (judge_reply(Phase.RCPT, reply(450, "4.2.1", "greylisted")), False),
        (judge_reply(Phase.DOT, reply(250, "2.0.0", "ok")), False),
        (judge_reply(Phase.RCPT, reply(550, "5.1.1", "no such user")), False),
    ],
)
def test_what_counts_as_too_much(outcome, answer):
    assert too_much(outcome) is answer
    assert outcome.kind != Kind.RATE_LIMITED or answer
