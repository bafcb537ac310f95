"""Limits that replies led to: begun, extended, cancelled, over; on a clock of numbers."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.core import ledger as ledgers
from relay.core.ledger import Act, Action, Ledger
from relay.core.limits import Rates

DAY = 86400.0


def action(act=Act.PAUSE_SOURCE, **more):
    base = Action(id="a1", act=act, provider="gmail", counted="gmail", rule="unusual rate", where="p.yaml:9",
                  since=0, until=0, for_s=1800, source="m1", reply="421 4.7.28 unusual rate")  # fmt: skip
    return replace(base, **more)


def test_a_pause_ends_by_itself():
    ledger = Ledger()
    begun, is_new = ledger.note(action(), 1000)
    assert (begun.since, begun.until, is_new) == (1000, 2800, True)
    assert ledger.pause(("m1", "", "gmail"), 2799) == begun
    assert ledger.pause(("m1", "", "gmail"), 2800) is None
    assert ledger.pause(("m2", "", "gmail"), 1000) is None
    assert ledger.expire(2799) == []
    assert ledger.expire(2800) == [begun]
    assert (ledger.limits, ledger.actions, ledger.next_end()) == (False, {}, None)


def test_each_further_reply_extends_it():
    ledger = Ledger()
    ledger.note(action(), 1000)
    longer, is_new = ledger.note(action(id="a2", reply="again", where="p.yaml:12"), 2000)
    assert not is_new
    assert (longer.id, longer.since, longer.until, longer.times) == ("a1", 1000, 3800, 2)
    assert (longer.reply, longer.where) == ("again", "p.yaml:12")
    assert list(ledger.actions) == ["a1"]


def test_ids_are_never_shared():
    ledger = Ledger()
    names = [ledger.note(action(rule=rule), 5)[0].id for rule in ("one", "two", "three")]
    assert names == ["a1", "a1-2", "a1-3"]


def test_an_operator_cancels():
    ledger = Ledger()
    ledger.note(action(), 1000)
    assert ledger.cancel("a9") is None
    cancelled = ledger.cancel("a1")
    assert cancelled is not None
    assert cancelled.rule == "unusual rate"
    assert ledger.pause(("m1", "", "gmail"), 1001) is None
    assert ledger.note(action(), 1002)[1], "the next such reply begins anew"


def test_rates_are_never_raised():
    ledger = Ledger()
    rates = Rates(connections=5, messages_per_second=2)
    assert ledger.rates("m1", "gmail", rates, 0) == rates
    ledger.note(action(Act.SLOW, value=1 / 6), 0)
    ledger.note(action(Act.SLOW, value=10.0, rule="b"), 0)
    ledger.note(action(Act.CONNECTIONS, value=1.0), 0)
    ledger.note(action(Act.CONNECTIONS, value=9.0, rule="b"), 0)
    ledger.note(action(rule="paused, too"), 0)
    slowed = ledger.rates("m1", "gmail", rates, 1)
    assert (slowed.messages_per_second, slowed.connections) == (pytest.approx(1 / 6), 1)
    assert ledger.rates("m1", "gmail", Rates(), 1).messages_per_second == pytest.approx(1 / 6)
    assert ledger.rates("m2", "gmail", rates, 1) == rates
    assert ledger.rates("m1", "yahoo", rates, 1) == rates


def test_a_paused_stream_is_another_place_than_a_source_of_that_name():
    ledger = Ledger()
    ledger.note(action(Act.PAUSE_STREAM, source="", stream="m1"), 0)
    assert ledger.pause(("m1", "", "gmail"), 1) is None
    assert ledger.pause(("", "m1", "gmail"), 1) is not None


def test_a_dry_run_limits_nothing():
    ledger = Ledger()
    ledger.note(action(observed=True), 0)
    assert not ledger.limits
    assert ledger.pause(("m1", "", "gmail"), 1) is None
    assert list(ledger.actions) == ["a1"]
    assert ledger.note(action(), 0)[1], "the real one is another"


def test_the_pause_that_ends_last_is_the_one_told():
    ledger = Ledger()
    ledger.note(action(for_s=60.0), 0)
    ledger.note(action(rule="longer", for_s=7200.0), 0)
    assert ledger.pause(("m1", "", "gmail"), 1).rule == "longer"


def test_a_clock_that_goes_back_a_day_does_not_freeze_a_pause():
    ledger = Ledger()
    ledger.note(action(), 2 * DAY)
    ledger.expire(DAY)
    assert ledger.pause(("m1", "", "gmail"), DAY + 1799) is not None
    assert ledger.pause(("m1", "", "gmail"), DAY + 1800) is None


def test_a_restart_changes_nothing():
    ledger, other = Ledger(), Ledger()
    ledger.note(action(), 1000)
    ledger.note(action(Act.SLOW, value=0.5, rule="b", for_s=10.0), 1000)
    rows = [one.as_dict() for one in ledger.actions.values()]
    assert other.restore(rows, 1005) == []
    assert other == ledger
    assert [one.id for one in Ledger().restore(rows, 1010)] == ["a1-2"]


@pytest.mark.parametrize("row", [
    None, 7, {}, {"id": "a"}, {**action().as_dict(), "act": "explode"}, {**action().as_dict(), "until": "soon"},
    {**action().as_dict(), "source": None}, {**action().as_dict(), "more": 1},
])  # fmt: skip
def test_what_is_no_action_is_left_out_of_a_restart(row):
    ledger = Ledger()
    ledger.restore([row], 0)
    assert ledger.actions == {}


def test_there_is_room_for_a_bounded_number(monkeypatch):
    monkeypatch.setattr(ledgers, "ACTIONS_MOST", 2)
    ledger = Ledger()
    for number, rule in enumerate(("a", "b", "c")):
        ledger.note(action(id=rule, rule=rule), 1000 + number)
    assert list(ledger.actions) == ["b", "c"]


@given(st.lists(st.tuples(
    st.sampled_from(("note", "cancel", "expire")), st.integers(0, 3), st.floats(-2 * DAY, 2 * DAY), st.booleans(),
), max_size=40))  # fmt: skip
def test_whatever_happens_no_limit_outlives_its_time(steps):
    """However clocks jump, after a look at the ledger nothing ends later than its rule's time from then, and what
    limits a place is exactly what is in force there."""
    ledger, now = Ledger(), 10 * DAY
    for what, which, jump, observed in steps:
        now += jump
        if what == "note":
            ledger.note(action(id=f"n{which}", source=f"m{which}", rule=f"r{which % 2}", observed=observed), now)
        elif what == "cancel":
            ledger.cancel(f"n{which}")
        ledger.expire(now)
        for one in ledger.actions.values():
            assert now < one.until <= now + one.for_s
        for source in range(4):
            held = [one for one in ledger.actions.values() if one.source == f"m{source}" and not one.observed]
            assert sorted(one.id for one in ledger.limited((f"m{source}", "", "gmail"), now)) == sorted(
                one.id for one in held)
        assert ledger.limits is any(not one.observed for one in ledger.actions.values())
