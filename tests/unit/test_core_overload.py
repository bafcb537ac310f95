"""When a reply to the dot would come too late, and for whom; times are arguments."""

from relay.core.overload import SLOWEST, USUAL_MESSAGES, USUAL_S, Load

CODES, NEWS = 100, 10


def worked(load: Load, pace: float, seconds: float, start: float = 0.0) -> float:
    """One message after the other at this pace; returns when it ends."""
    now = start
    for _ in range(int(pace * seconds)):
        load.enter(NEWS, now)
        now += 1 / pace
        load.leave(NEWS, now)
    return now


def test_a_relay_of_which_nothing_is_known_takes_mail():
    load = Load()
    assert load.pace(0.0) == USUAL_MESSAGES / USUAL_S
    assert not load.too_long(NEWS, 0.0)
    for _ in range(500):
        load.enter(NEWS, 0.0)
    assert not load.too_long(NEWS, 0.0)
    load.enter(NEWS, 0.0)
    assert load.too_long(NEWS, 0.0)


def test_a_calm_relay_makes_nobody_wait_and_one_that_is_not_only_the_lower_ones():
    load = Load()
    assert load.calm(0.0)
    for _ in range(500):
        load.enter(CODES, 0.0)
    assert load.calm(0.0)
    load.enter(NEWS, 0.0)
    assert not load.calm(0.0)
    assert load.too_long(NEWS, 0.0)
    assert not load.too_long(CODES, 0.0)


def test_the_wait_is_what_is_in_hand_at_the_pace_of_late():
    load = Load()
    now = worked(load, 40, 20)
    assert 38 < load.pace(now) < 42
    for _ in range(100):
        load.enter(NEWS, now)
    assert 2.4 < load.wait_s(NEWS, now) < 2.6
    assert not load.too_long(NEWS, now)
    for _ in range(200):
        load.enter(NEWS, now)
    assert load.too_long(NEWS, now)


def test_lower_streams_are_sent_away_first_and_the_highest_last():
    load = Load()
    now = worked(load, 40, 20)
    for _ in range(400):
        load.enter(NEWS, now)
    assert load.too_long(NEWS, now)
    assert not load.too_long(CODES, now)  # it would go before all of them
    for _ in range(400):
        load.enter(CODES, now)
    assert load.too_long(CODES, now)


def test_a_disk_that_answers_nothing_shows_within_seconds():
    load = Load()
    for _ in range(100):
        load.enter(CODES, 0.0)
    assert not load.too_long(CODES, 0.2)
    assert load.too_long(CODES, 10.0)
    assert load.pace(1e9) == SLOWEST


def test_what_is_done_makes_room_and_better_times_are_believed():
    load = Load()
    now = worked(load, 10, 20)
    for _ in range(100):
        load.enter(NEWS, now)
    assert load.too_long(NEWS, now)
    for _ in range(100):
        load.leave(NEWS, now)
    assert not load.too_long(NEWS, now)
    now = worked(load, 1000, 20, now)
    assert load.pace(now) > 500


def test_a_slower_pace_is_believed_sooner_than_a_better_one():
    load = Load()
    now = worked(load, 200, 20)
    now = worked(load, 50, 1, now)
    assert load.pace(now) < 130, "half of the way within a second"
    now = worked(load, 50, 20, now)
    now = worked(load, 200, 1, now)
    assert load.pace(now) < 90, "a burst is no pace"
    now = worked(load, 200, 20, now)
    assert load.pace(now) > 190


def test_a_disk_that_stands_still_for_a_moment_sends_the_lowest_stream_away_alone():
    load = Load()
    now = worked(load, 200, 20)
    for _ in range(600):
        load.enter(NEWS, now)
    for _ in range(150):
        load.enter(CODES, now)
    assert not load.too_long(NEWS, now)
    assert load.too_long(NEWS, now + 2)
    assert not load.too_long(CODES, now + 2)


def test_idle_time_teaches_nothing_and_a_clock_that_goes_back_does_no_harm():
    load = Load()
    now = worked(load, 40, 20)
    pace = load.pace(now)
    assert load.pace(now + 86_400) == pace
    load.enter(NEWS, now)
    assert load.pace(now - 100) == pace


def test_one_message_alone_is_never_too_many():
    load = Load(wait_most_s=0.0)
    load.enter(NEWS, 0.0)
    assert not load.too_long(NEWS, 100.0)
    load.enter(NEWS, 0.0)
    assert load.too_long(NEWS, 100.0)
