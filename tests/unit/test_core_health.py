"""Sources that cannot be used: paused, told once, tried again."""

from relay.core.health import PROVIDERS_MOST, SourceHealth

NOW = 1_800_000_000.0


def test_an_address_that_is_gone_is_paused_longer_each_time():
    health = SourceHealth()
    pause = health.unusable("t1", "no such address", NOW)
    assert (pause.until, health.why_not("t1", NOW)) == (NOW + 30, pause)
    assert health.unusable("t1", "no such address", NOW + 1) is None
    assert health.why_not("t2", NOW) is None
    assert health.expire(NOW + 29) == []
    assert health.why_not("t1", NOW + 30) is None
    assert health.expire(NOW + 30) == [pause]
    assert health.unusable("t1", "no such address", NOW + 31).until == NOW + 31 + 60
    health.expire(NOW + 91)
    health.door("t1", "gmail", NOW + 92, shut=False)
    assert health.unusable("t1", "no such address", NOW + 93).until == NOW + 93 + 30


def test_turned_away_by_most():
    health = SourceHealth()
    assert health.door("m1", "gmail", NOW, shut=True) is None
    assert health.door("m1", "yahoo", NOW, shut=True) is None  # two are not enough to speak of most
    assert health.door("m1", "orange", NOW, shut=False) is None
    pause = health.door("m1", "orange", NOW + 1, shut=True)
    assert (pause.reason, pause.until) == (
        "3 of 3 receivers turned it away within the last hour", NOW + 1 + 1800
    )  # fmt: skip
    health.expire(pause.until)
    health.door("m1", "gmail", pause.until, shut=False)  # trusted again: the next pause is a short one
    for provider in ("yahoo", "orange"):
        last = health.door("m1", provider, pause.until, shut=True)
    assert last.until == pause.until + 1800


def test_turned_away_by_half_or_long_ago_is_no_reason():
    health = SourceHealth()
    for number in range(4):
        assert health.door("m1", f"site {number}", NOW, shut=number % 2 == 1) is None
    assert health.door("m1", "site 9", NOW - 7200, shut=True) is None
    assert health.door("m1", "site 8", NOW + 7200, shut=True) is None


def test_remembers_a_bounded_number_of_doors():
    health = SourceHealth()
    for number in range(PROVIDERS_MOST + 50):
        health.door("m1", f"site {number}", NOW, shut=False)
    assert len(health._of("m1").doors) == PROVIDERS_MOST


def test_a_clock_that_steps_back_ends_pauses():
    health = SourceHealth()
    pause = health.unusable("t1", "gone", NOW)
    assert health.expire(NOW - 86400) == [pause]
