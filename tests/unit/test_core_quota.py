"""Counting what may come in: never more than was said, in no window, wherever it begins."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.core.quota import DAY_S, Allowance, Day, Meter, Pace, Quota, Stock

NOON = 20_000 * DAY_S + DAY_S / 2
times = st.lists(st.tuples(st.floats(0, 300), st.integers(1, 4)), max_size=60).map(sorted)


@given(times, st.integers(4, 20))
def test_a_pace_is_never_exceeded_in_any_window(arrivals, count):
    meter, taken = Meter(Pace(count, 60.0)), []
    for after_s, number in arrivals:
        now = NOON + after_s
        if meter.ready_at(number, now) <= now:
            meter.take(number, now)
            taken.append((now, number))
    for begin, _ in taken:
        assert sum(number for at, number in taken if begin <= at < begin + 60) <= count


@given(times, st.integers(4, 20))
def test_whoever_waits_as_told_is_let_in(arrivals, count):
    meter = Meter(Pace(count, 60.0))
    for after_s, number in arrivals:
        now = NOON + after_s
        ready = meter.ready_at(number, now)
        assert now <= ready <= now + 60 + 3 + 300  # the arrivals before may have been taken in the future
        assert meter.ready_at(number, ready) == ready
        meter.take(number, ready)


def test_a_hundred_a_minute():
    meter = Meter(Pace(100, 60.0, "100/min"))
    for _ in range(100):
        assert meter.ready_at(1, NOON) == NOON
        meter.take(1, NOON)
    assert NOON + 60 <= meter.ready_at(1, NOON) <= NOON + 63
    meter.give(1)
    assert meter.ready_at(1, NOON) == NOON


def test_more_than_the_pace_allows_waits_for_an_empty_window():
    meter = Meter(Pace(10, 60.0))
    assert meter.ready_at(50, NOON) == NOON
    meter.take(50, NOON)
    assert meter.ready_at(1, NOON + 59) > NOON + 59
    meter.take(1, NOON + 30)
    assert meter.ready_at(50, NOON + 30) == pytest.approx(NOON + 93)


def test_a_clock_that_goes_back_does_not_stop_mail():
    meter = Meter(Pace(1, 60.0))
    meter.take(1, NOON)
    assert meter.ready_at(1, NOON - 3600) == NOON - 3600


def test_nothing_to_give_back():
    meter = Meter(Pace(1, 60.0))
    meter.give(1)
    assert meter.ready_at(1, NOON) == NOON


def test_a_day_ends_at_midnight():
    day = Day()
    assert day.ready_at(20, 10, NOON) == NOON, "the first of a day may be more"
    day.take(10, NOON)
    assert day.ready_at(1, 10, NOON) == NOON + DAY_S / 2
    assert day.ready_at(1, 10, NOON + DAY_S / 2) == NOON + DAY_S / 2
    day.take(-5, NOON)
    assert day.ready_at(5, 10, NOON) == NOON
    day.take(1, NOON + DAY_S)
    assert day.used == 1


@pytest.mark.parametrize(
    ("quota", "expected"),
    [
        (Quota(), ""),
        (Quota(messages=10, bytes=1000, disk=0.5), ""),
        (Quota(messages=9), "messages"),
        (Quota(bytes=999), "bytes"),
        (Quota(disk=0.499), "disk"),
    ],
)
def test_a_quota(quota, expected):
    assert quota.over(10, 1000, 2000.0) == expected


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(1, 9), st.integers(0, 10**6))))
def test_what_left_is_what_came(moves):
    stock = Stock()
    for stream, messages, size in moves:
        stock.move({stream: (messages, size)})
    assert stock.size == sum(size for _, _, size in moves)
    for stream, messages, size in moves:
        stock.move({stream: (-messages, -size)})
    assert stock.of("a") == stock.of("b") == (0, 0)


def test_no_allowance_is_no_limit():
    assert Allowance() == Allowance(None, 0)
