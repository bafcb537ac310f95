"""Shares of a busy relay: who is over its share waits, and nobody else, and nothing stands idle for it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.core.shares import BUSY, FADE_S, Shares

NOW = 1_800_000_000.0


def filled(**came):
    shares = Shares()
    for stream, count in came.items():
        for _ in range(count):
            shares.take(stream, NOW)
    return shares


def test_a_share_is_what_came_lately():
    shares = filled(news=90, codes=10)
    assert shares.of("news", NOW) == pytest.approx(0.9)
    assert shares.of("unknown", NOW) == 0.0
    for _ in range(90):
        shares.take("codes", NOW + FADE_S)  # what news took has faded to a third
    assert shares.of("news", NOW + FADE_S) == pytest.approx(90 / 2.71828 / (100 / 2.71828 + 90), rel=1e-4)
    assert shares.of("news", NOW + 1000) == 0.0
    assert Shares().of("news", NOW) == 0.0


@pytest.mark.parametrize(
    ("stream", "most", "under_way", "over"),
    [
        ("news", 0.6, BUSY, True), ("news", 0.6, BUSY - 1, False), ("news", 0.9, BUSY, False),
        ("news", 0.0, BUSY, False), ("codes", 0.1, BUSY, False), ("codes", 0.05, BUSY, True),
    ],
)  # fmt: skip
def test_over_only_past_the_share_and_only_while_busy(stream, most, under_way, over):
    assert filled(news=90, codes=10).over(stream, most, under_way, NOW) is over


def test_a_clock_that_goes_back_changes_nothing():
    shares = filled(news=50, codes=50)
    assert shares.of("news", NOW - 86400) == 0.5
    assert shares.of("news", NOW - 86400 + FADE_S) == 0.5


@given(
    st.lists(st.tuples(st.sampled_from(["news", "codes"]), st.floats(0, 0.5), st.integers(0, 8)), max_size=400),
    st.sampled_from([0.2, 0.6, 0.9]), st.integers(1, 20),
)  # fmt: skip
def test_any_crowd_at_the_door(arrivals, most, busy):
    """Invariant, for any order of arrivals and any speed of the queue: codes always come in; news is sent away only
    while the relay is busy and news has more than its share; so what is under way never falls below `busy` for it,
    and news alone never has more than `busy` under way while over its share."""
    shares, under_way, now = Shares(busy), {"news": 0, "codes": 0}, NOW
    for stream, wait_s, finished in arrivals:
        now += wait_s
        for one in ("news", "codes"):
            under_way[one] = max(0, under_way[one] - finished)
        limit = most if stream == "news" else 0.0
        total, share = sum(under_way.values()), shares.of(stream, now)
        sent_away = shares.over(stream, limit, total, now)
        assert sent_away == (stream == "news" and total >= busy and share > most)
        if not sent_away:
            shares.take(stream, now)
            under_way[stream] += 1
        assert 0.0 <= shares.of("news", now) <= 1.0


@given(st.integers(1, 60), st.sampled_from([0.1, 0.6]))
def test_who_comes_alone_has_all_there_is(crowd, most):
    """Invariant: with one stream the relay is kept busy, whatever its share."""
    shares, under_way = Shares(20), 0
    for tick in range(30):
        for _ in range(crowd):
            if not shares.over("news", most, under_way, NOW + tick):
                shares.take("news", NOW + tick)
                under_way += 1
        done = min(under_way, 15)  # what the queue can do in a second
        assert done == min(crowd, 15), "the queue never waits for mail that stands at the door"
        under_way -= done
