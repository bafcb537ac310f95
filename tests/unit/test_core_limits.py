"""What a destination bears: rates, connections, pauses; all on a clock of numbers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.core.limits import Breaker, TokenBucket, rate_words


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


def test_trouble_of_long_ago_is_forgotten_and_so_is_one_of_a_clock_that_was_wrong():
    breaker = Breaker(first_s=15, longest_s=100)
    breaker.fail(1000, "timeout")
    assert not breaker.forgotten(1000)
    assert not breaker.forgotten(1100)
    assert breaker.forgotten(1116)
    assert breaker.forgotten(500)


def test_rates_are_told_in_the_unit_that_has_a_whole_one():
    assert [rate_words(one) for one in (2.0, 0.5, 1 / 60, 0.01, 1 / 86400)] == ["2/s", "30/min", "1/min", "36/h", "1/d"]
