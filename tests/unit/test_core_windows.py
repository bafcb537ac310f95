"""Sliding windows: what is counted, what is forgotten, and how much memory it may cost."""

import sys

from hypothesis import given
from hypothesis import strategies as st

from relay.core.windows import BUCKETS, Window, Windows

HOUR = 3600.0


def test_counts_and_forgets():
    window = Window(HOUR, 0.0)
    window.count(0.0, hit=True)
    window.count(10.0, hit=False)
    window.count(1800.0, hit=False)
    assert (window.hits, window.total) == (1, 3)
    window.advance(3599.0)
    assert (window.hits, window.total) == (1, 3)
    window.advance(3600.0)
    assert (window.hits, window.total) == (0, 1)
    window.advance(1e9)
    assert (window.hits, window.total) == (0, 0)


def test_a_clock_that_steps_back_stops_nothing():
    window = Window(HOUR, 1e6)
    window.count(1e6, hit=True)
    window.count(1e6 - 120, hit=True)  # a little: waited out
    window.count(1e6 - 86400, hit=True)  # a day: time goes on from there
    assert (window.hits, window.total) == (3, 3)
    window.advance(1e6 - 86400 + HOUR)
    assert window.total == 0


@given(st.lists(st.tuples(st.floats(0, 300), st.booleans()), max_size=200))
def test_a_window_holds_what_the_naive_count_holds(steps):
    """Invariant: at least what is younger than 59/60 of the length, at most what is younger than the length."""
    window, now, seen = Window(HOUR, 0.0), 0.0, []
    for step, hit in steps:
        now += step
        window.count(now, hit=hit)
        seen.append((now, hit))
        young = [was_hit for at, was_hit in seen if at > now - HOUR * (1 - 1 / BUCKETS)]
        old = [was_hit for at, was_hit in seen if at > now - HOUR]
        assert len(young) <= window.total <= len(old)
        assert sum(young) <= window.hits <= sum(old)


def test_a_million_events_cost_bounded_memory():
    windows = Windows(HOUR, most=1000)
    for number in range(1_000_000):
        key = number if number % 10 == 0 else number % 500  # 100,000 that come once, 450 that come always
        windows.count(key, number / 100, hit=number % 10 == 0)
    assert len(windows) == 1000
    parts = [part for one in windows._kept.values() for part in (one, one._total, one._hits)]
    assert sum(map(sys.getsizeof, parts)) < 2_000_000


def test_the_key_that_was_silent_longest_goes():
    windows = Windows(HOUR, most=2)
    for key in ("a", "b", "a", "c"):
        windows.count(key, 0.0, hit=True)
    assert windows.count("a", 0.0, hit=True).total == 3
    assert windows.count("b", 0.0, hit=True).total == 1
    windows.forget("b")
    windows.forget("never seen")
    assert windows.count("b", 0.0, hit=True).total == 1
