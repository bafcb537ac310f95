"""The retry schedule is a table."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.core.retry import Retry

MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0
TRANSACTIONAL = Retry((MINUTE, 2 * MINUTE, 5 * MINUTE, 10 * MINUTE, 20 * MINUTE, 40 * MINUTE), HOUR, DAY)
MIDDLE = 0.5  # the dice that change nothing


@pytest.mark.parametrize(
    ("attempts", "wait_s"),
    [(1, MINUTE), (2, 2 * MINUTE), (3, 5 * MINUTE), (4, 10 * MINUTE), (5, 20 * MINUTE), (6, 40 * MINUTE),
     (7, HOUR), (8, HOUR), (100, HOUR)],
)  # fmt: skip
def test_each_failed_attempt_waits_as_the_schedule_says(attempts: int, wait_s: float):
    assert TRANSACTIONAL.wait_s(attempts, MIDDLE) == wait_s


@pytest.mark.parametrize(("chance", "factor"), [(0.0, 0.8), (0.5, 1.0), (0.75, 1.1)])
def test_jitter_spreads_a_wait_by_a_fifth(chance: float, factor: float):
    assert TRANSACTIONAL.wait_s(1, chance) == pytest.approx(MINUTE * factor)


def test_the_last_attempt_is_made_when_the_time_is_up_and_not_later():
    received = 1000.0
    due = TRANSACTIONAL.next_due(now=received + DAY - 60, received_at=received, attempts=20, chance=MIDDLE)
    assert due == received + DAY
    assert not TRANSACTIONAL.expired(now=due - 1, received_at=received)
    assert TRANSACTIONAL.expired(now=due, received_at=received)


def test_a_message_that_is_already_too_old_is_due_now():
    assert TRANSACTIONAL.next_due(now=5 * DAY, received_at=0, attempts=3, chance=MIDDLE) == 5 * DAY


@given(st.integers(1, 50), st.floats(0, 0.999), st.floats(0, 2 * DAY))
def test_the_next_attempt_is_never_in_the_past_and_never_after_expiry(attempts: int, chance: float, age: float):
    due = TRANSACTIONAL.next_due(now=age, received_at=0, attempts=attempts, chance=chance)
    assert due >= age
    assert due <= max(age, DAY)
