"""What a destination bears: rates, connections, pauses; all on a clock of numbers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.core.limits import Breaker, Gate, Rates, TokenBucket


def test_a_bucket_lets_its_burst_go_and_then_its_rate():
    bucket = TokenBucket(rate=2, burst=3, level=3, at=0)
    for _ in range(3):
        assert bucket.ready_at(0) == 0
        bucket.take(0)
    assert bucket.ready_at(0) == pytest.approx(0.5)
    assert bucket.ready_at(0.5) == pytest.approx(0.5)


def test_a_bucket_without_a_rate_never_waits():
    bucket = TokenBucket(rate=0, burst=1)
    bucket.take(5)
    assert bucket.ready_at(5) == 5


def test_a_clock_that_goes_back_does_not_freeze_a_bucket():
    bucket = TokenBucket(rate=1, burst=1, level=1, at=1000)
    bucket.take(1000)
    assert bucket.ready_at(10) == pytest.approx(11)


@given(times=st.lists(st.floats(0, 100), min_size=1, max_size=200))
def test_a_bucket_never_gives_more_than_burst_and_rate(times: list[float]):
    bucket = TokenBucket(rate=1.5, burst=4, level=4, at=0)
    taken = []
    for now in sorted(times):
        if bucket.ready_at(now) <= now:
            bucket.take(now)
            taken.append(now)
    for first in taken:
        within = [one for one in taken if first <= one <= first + 10]
        assert len(within) <= 4 + 1.5 * 10 + 1


def test_a_breaker_doubles_its_pause_up_to_a_limit_and_closes_on_success():
    breaker = Breaker(first_s=15, longest_s=100)
    pauses = []
    now = 0.0
    for _ in range(5):
        breaker.fail(now, "connection refused")
        pauses.append(breaker.until - now)
        assert breaker.is_open(now)
        now = breaker.until
        assert not breaker.is_open(now)
    assert pauses == [15, 30, 60, 100, 100]
    breaker.succeed()
    assert (breaker.failures, breaker.reason, breaker.is_open(now)) == (0, "", False)


def test_connections_that_fail_side_by_side_are_one_trouble():
    breaker = Breaker(first_s=15)
    for _ in range(5):
        breaker.fail(100, "connection refused")
    assert (breaker.until, breaker.failures) == (115, 1)


def test_a_clock_set_back_a_day_does_not_keep_a_destination_closed():
    breaker = Breaker()
    breaker.fail(100_000, "timeout")
    assert not breaker.is_open(100_000 - 86_400)


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


def test_trouble_of_long_ago_is_forgotten_and_so_is_one_of_a_clock_that_was_wrong():
    breaker = Breaker(first_s=15, longest_s=100)
    breaker.fail(1000, "timeout")
    assert not breaker.forgotten(1000)
    assert not breaker.forgotten(1100)
    assert breaker.forgotten(1116)
    assert breaker.forgotten(500)


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


def test_deliveries_under_way_are_counted_by_stream():
    gate = Gate(Rates())
    gate.start("marketing", 0)
    gate.start("marketing", 0)
    gate.end("marketing")
    assert gate.busy == {"marketing": 1}
