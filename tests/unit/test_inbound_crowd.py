"""Shares of a busy relay over several fronts: the same as in one process, whoever takes what."""

import pytest
from hypothesis import given
from hypothesis import strategies as some

from relay.core.envelope import Client, Envelope, Submission
from relay.core.quota import Quota
from relay.core.shares import BUSY, FADE_S, Shares
from relay.inbound.board import Board
from relay.inbound.crowd import SCALE_S, Crowd
from relay.inbound.frontgate import FrontGate
from relay.policy.decide import Decision

NOW = 5_000.0
STREAMS = ["news", "codes", "bills"]


@given(some.lists(some.tuples(some.integers(1, 3), some.sampled_from(STREAMS), some.floats(0, 30)), max_size=60))
def test_three_fronts_know_the_shares_of_one_process(arrivals):
    crowd, alone, now = Crowd(3), Shares(), NOW
    for front, stream, wait_s in arrivals:
        now += wait_s
        crowd.take(front, stream, now)
        alone.take(stream, now)
        for one in STREAMS:
            assert crowd.of(one) == pytest.approx(alone.of(one, now), abs=5e-3)  # Shares forgets what is below 1e-3


def test_a_front_that_was_silent_for_hours_counts_little():
    crowd = Crowd(2)
    for _ in range(1000):
        crowd.take(1, "news", NOW)
    crowd.take(2, "codes", NOW + 5 * SCALE_S)
    assert crowd.of("codes") == pytest.approx(1.0)
    crowd.take(1, "news", NOW + 5 * SCALE_S)
    assert crowd.of("codes") == pytest.approx(0.5)


def test_a_row_is_scaled_down_without_a_step():
    crowd = Crowd(1)
    crowd.take(1, "first", NOW)
    for _ in range(90):
        crowd.take(1, "news", NOW + SCALE_S - FADE_S / 10)
    for _ in range(10):
        crowd.take(1, "codes", NOW + SCALE_S - FADE_S / 10)
    before = crowd.of("news")
    crowd.take(1, "codes", NOW + SCALE_S + 0.001)
    assert before == pytest.approx(0.9)
    assert 0.88 < crowd.of("news") < before


def test_who_dies_is_forgotten_and_nobody_divides_by_zero():
    crowd = Crowd(2)
    assert crowd.of("news") == 0.0
    crowd.take(1, "news", NOW)
    crowd.take(2, "codes", NOW)
    crowd.ended(1)
    assert (crowd.of("news"), crowd.of("codes")) == (0.0, 1.0)


def front(board, number):
    """The gate of a front; nothing is asked of it but a place."""
    gate = FrontGate(
        policy=lambda: None, signing=lambda *_: [], publish=lambda _: None, clock=lambda: NOW, ways={}
    )
    gate.board, gate.number = board, number
    return gate


class Stream:
    """As much of one as the gate looks at."""

    def __init__(self, name, quota):
        self.name, self.quota = name, quota


def test_of_a_crowd_at_two_fronts_as_many_come_in_as_at_one():
    board = Board(2, ["apps"])
    fronts = [front(board, 1), front(board, 2)]
    news, codes = Stream("news", Quota(accepts=0.6)), Stream("codes", None)
    submission = Submission("x", NOW, Client("192.0.2.1", 1, "", "apps"), Envelope("a@b.test", ()), None)
    crowd = [fronts[at % 2].count(submission, Decision(None, ""), news) for at in range(180)]
    inside = [(at, one) for at, one in enumerate(crowd) if one.refusal is None]
    assert len(inside) == BUSY
    assert {one.reason for one in crowd} == {"", "quota-accepts"}
    assert crowd[-1].refusal.code == 451
    assert [fronts[at % 2].count(submission, Decision(None, ""), codes).refusal for at in range(10)] == [None] * 10
    assert board.under_way() == BUSY + 10
    for at, one in inside[:20]:
        fronts[at % 2].left(one, stored=True)
    assert fronts[0].count(submission, Decision(None, ""), news).refusal is None, "the relay is not busy any more"
