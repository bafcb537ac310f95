"""Warm-up: the allowance day by day, and that no hour ever holds more."""

from copy import deepcopy

from hypothesis import given, settings
from hypothesis import strategies as st

from relay.core.warmup import Hourly, Warmup, WarmUps

DAY, HOUR = 86400.0, 3600.0
START = 20_000 * DAY
PLAN = Warmup(START)


def test_grows_day_by_day_until_it_is_warm():
    allowances = [PLAN.allowance(START + day * DAY) for day in range(22)]
    assert allowances[:6] == [20, 28, 39, 54, 76, 107]
    assert allowances[20:] == [16733, None]
    assert PLAN.allowance(START + DAY - 1) == 20
    assert PLAN.day(START + DAY) == 2
    assert PLAN.allowance(START - 10 * DAY) == 20  # a clock before the start
    assert Warmup(0.0, factor=10.0).allowance(1e12) is None


def warmups(**more):
    made = WarmUps()
    made.take_plans({"cold": Warmup(START, **more)})
    return made


@settings(max_examples=50)
@given(st.lists(st.floats(0, 400), min_size=1, max_size=400), st.integers(1, 30))
def test_never_more_than_the_allowance_in_any_hour(steps, per_hour):
    made, now, left = warmups(per_hour=per_hour), START, []
    for step in steps:
        now += step
        ready = made.why_not("cold", "gmail", now)
        if ready is None:
            made.started("cold", "gmail", now)
            left.append(now)
            allowed = made.plans["cold"].allowance(now)
            assert sum(at > now - HOUR for at in left) <= allowed
        else:
            assert ready > now
            assert deepcopy(made).why_not("cold", "gmail", ready) is None  # when it says to ask again, it may


def test_each_provider_for_itself_or_all_together():
    apart, together = warmups(per_hour=1, until=5), warmups(per_hour=1, per_provider=False)
    for made in (apart, together):
        made.started("cold", "gmail", START)
    assert apart.why_not("cold", "yahoo", START) is None
    assert apart.why_not("cold", "gmail", START) == START + HOUR + 60
    assert together.why_not("cold", "yahoo", START) is not None
    assert apart.why_not("warm", "gmail", START) is None
    assert apart.why_not("cold", "gmail", START + 30 * DAY) is None
    apart.started("warm", "gmail", START)
    apart.started("cold", "gmail", START + 30 * DAY)
    assert apart.sent("cold", START) == {"gmail": 1}
    assert apart.sent("cold", START + 2 * HOUR) == {}
    assert apart.sent("warm", START) == {}


def test_counts_survive_as_plain_values():
    hourly = Hourly()
    for at in (START, START + 1, START + 90):
        hourly.count(at)
    again = Hourly.load(hourly.as_list())
    assert again.total == 3
    assert again.ready_at(3, START + 100) == hourly.ready_at(3, START + 100) == START + HOUR + 60
    assert again.ready_at(1, START + 100) == START + HOUR + 120
    assert again.ready_at(0, START + 100) == START + 100 + HOUR
    assert Hourly.load("spoilt").total == 0


def test_a_clock_that_steps_back_frees_within_an_hour():
    hourly = Hourly()
    hourly.count(START + DAY)
    assert hourly.ready_at(1, START) == START + HOUR + 60
    assert hourly.ready_at(1, START + HOUR + 60) == START + HOUR + 60


def test_a_reload_forgets_sources_without_a_plan():
    made = warmups()
    made.started("cold", "gmail", START)
    made.changed.clear()
    made.take_plans({"cold": PLAN})
    assert made.left
    made.take_plans({})
    assert (made.left, made.changed) == ({}, {("cold", "gmail")})
