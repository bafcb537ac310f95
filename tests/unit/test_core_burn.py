"""Burn rates: exact sums over their windows, bounded memory, unharmed by restarts and wrong clocks."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relay.core.burn import RING_S, WINDOWS_S, Burn

T0 = 1_700_000_000.0


def test_nothing_counted_burns_nothing():
    assert Burn().rates(T0, 0.999) == {"5m": 0.0, "1h": 0.0, "6h": 0.0, "3d": 0.0}


def test_one_in_a_thousand_late_burns_at_one():
    burn = Burn()
    burn.count(T0, 999, 1000)
    assert burn.rates(T0, 0.999) == pytest.approx(dict.fromkeys(WINDOWS_S, 1.0))


def test_all_late_burns_the_most():
    burn = Burn()
    burn.count(T0, 0, 5)
    assert burn.rates(T0, 0.95)["5m"] == pytest.approx(20)


def test_an_hour_of_trouble_leaves_the_short_windows_first():
    burn = Burn()
    for second in range(3600):
        burn.count(T0 + second, 0, 1)
    for second in range(3600, 3600 + 900):
        burn.count(T0 + second, 1, 1)
    rates = burn.rates(T0 + 4500, 0.5)
    assert rates["5m"] == 0
    assert 1.4 < rates["1h"] < 1.6
    assert rates["3d"] == pytest.approx(2 * 3600 / 4500)


def test_what_is_older_than_the_window_is_forgotten():
    burn = Burn()
    burn.count(T0, 0, 10)
    for name, window in WINDOWS_S.items():
        assert burn.rates(T0 + window - 2 * RING_S[name], 0.9)[name] > 0
        assert burn.rates(T0 + window + RING_S[name], 0.9)[name] == 0


def test_a_restart_forgets_no_window_but_begins_the_counters_anew():
    before, after = Burn(), Burn()
    for hour in range(70):
        before.count(T0 + 3600 * hour, 9, 10)
    now = T0 + 70 * 3600
    after.restore(before.keep(now))
    assert after.rates(now, 0.99) == before.rates(now, 0.99)
    assert (after.good, after.total) == (0, 0)


def test_a_window_of_another_release_is_left_out():
    burn = Burn()
    burn.restore({"30d": [[1, 1, 1]]})
    assert burn.keep(T0) == {name: [] for name in WINDOWS_S}


def test_a_clock_that_was_in_the_future_leaves_nothing_behind():
    burn = Burn()
    burn.count(T0 + 86400 * 365, 0, 100)
    burn.count(T0, 1, 1)
    assert burn.rates(T0, 0.9) == dict.fromkeys(WINDOWS_S, 0.0)


def test_memory_is_bounded_however_long_it_runs():
    burn = Burn()
    for minute in range(60 * 24 * 10):
        burn.count(T0 + 60 * minute, 1, 1)
        burn.rates(T0 + 60 * minute, 0.9)
    kept = burn.keep(T0 + 864000)
    assert all(len(slots) <= WINDOWS_S[name] // RING_S[name] for name, slots in kept.items())


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 600), st.booleans()), max_size=60))
def test_the_sums_are_those_of_the_events_in_the_window(steps):
    burn, now, log = Burn(), T0, []
    for step, good in steps:
        now += step
        burn.count(now, int(good), 1)
        log.append((now, good))
    rates = burn.rates(now, 0.5)
    for name, window in WINDOWS_S.items():
        slot = RING_S[name]
        first = (now // slot - window // slot + 1) * slot
        inside = [good for at, good in log if at // 10 * 10 >= first]
        expected = (1 - sum(inside) / len(inside)) / 0.5 if inside else 0
        assert rates[name] == pytest.approx(expected)
    assert (burn.good, burn.total) == (sum(good for _, good in log), len(log))
