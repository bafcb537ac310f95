"""Guessing gets slower, by address and by account; times are arguments."""

from __future__ import annotations

from relay.inbound.backoff import FORGET_S, MAX_DELAY_S, Backoff

KEYS = ("a:192.0.2.1", "n:shop")


def fail(backoff: Backoff, times: int, now: float = 0.0) -> None:
    for _ in range(times):
        backoff.failed(KEYS, now)


def test_two_mistakes_cost_nothing() -> None:
    backoff = Backoff()
    fail(backoff, 2)
    assert backoff.wait_s(KEYS, 0.0) == 0.0


def test_the_third_waits_and_the_wait_grows() -> None:
    backoff, waits = Backoff(), []
    for _ in range(5):
        fail(backoff, 1 if waits else 3)
        waits.append(backoff.wait_s(KEYS, 0.0))
    assert waits[0] == 1.0
    assert waits[1] is not None
    assert waits[1] > 1.0
    assert waits[-1] is None  # longer than anybody shall wait: refused


def test_parallel_guesses_queue_up() -> None:
    backoff = Backoff()
    fail(backoff, 3)
    slots = [backoff.wait_s(KEYS, 0.0) for _ in range(12)]
    assert slots[:4] == [1.0, 2.0, 3.0, 4.0]
    assert slots[-1] is None


def test_an_account_guessed_from_many_addresses_waits_too() -> None:
    backoff = Backoff()
    for number in range(5):
        backoff.failed((f"a:192.0.2.{number}", "n:shop"), 0.0)
    assert backoff.wait_s(("a:198.51.100.1", "n:shop"), 0.0)
    assert backoff.wait_s(("a:198.51.100.1", "n:other"), 0.0) == 0.0


def test_a_right_password_forgives_the_account_but_not_the_address() -> None:
    backoff = Backoff()
    fail(backoff, 4)
    backoff.succeeded("n:shop")
    assert backoff.wait_s(("a:198.51.100.1", "n:shop"), 0.0) == 0.0
    assert backoff.wait_s(KEYS, 0.0)


def test_all_is_forgotten_in_time() -> None:
    backoff = Backoff()
    fail(backoff, 50)
    assert backoff.wait_s(KEYS, MAX_DELAY_S + 1) is not None
    assert backoff.wait_s(KEYS, FORGET_S + 1) == 0.0
    assert len(backoff) == 0


def test_the_table_is_bounded() -> None:
    backoff = Backoff(max_keys=10)
    for number in range(1000):
        backoff.failed((f"a:{number}",), 0.0)
    assert len(backoff) == 10
