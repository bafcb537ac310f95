"""Brakes: when they trip, what they stop, how they end."""

from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.core.brakes import RATES, BrakeRule, Brakes, Fact, counted

NOW = 1_800_000_000.0
RULE = BrakeRule("bounce_rate", Fraction(5, 100), 3600, 200, "stream", "pause", text="bounces", where="s.yaml:9")


def brakes(*rules, stream="news"):
    made = Brakes()
    made.take_rules({stream: rules, "codes": ()})
    return made


def fact(name, **more):
    return Fact(**{"name": name, "stream": "news", "provider": "gmail", **more})


def feed(made, good, bad, now=NOW, **more):
    """Delivers and bounces; returns the trips."""
    found = []
    for name, count in (("delivered", good), ("bounced", bad)):
        for _ in range(count):
            found += made.count(fact(name, **more), now)
    return found


def test_trips_exactly_above_the_limit():
    made = brakes(RULE)
    assert feed(made, 190, 10) == []  # 10 of 200 is 5 %, not more
    [trip] = feed(made, 0, 1)
    assert (trip.stream, trip.key, trip.do, trip.seen, trip.where) == ("news", "", "pause", "11 of 201", "s.yaml:9")
    assert feed(made, 0, 50) == []  # it has tripped already


def test_trips_only_with_enough_counted():
    made = brakes(RULE)
    assert feed(made, 0, 199) == []
    assert len(feed(made, 0, 1)) == 1


def test_what_is_too_old_does_not_count():
    made = brakes(RULE)
    feed(made, 0, 199)
    assert feed(made, 0, 1, NOW + 3600) == []


@given(st.lists(st.booleans(), max_size=120), st.integers(1, 99), st.integers(1, 60))
def test_trips_exactly_at_the_threshold(outcomes, percent, least):
    """Invariant: it trips at the first bounce with at least `least` counted and a share above the limit."""
    made = brakes(replace(RULE, above=Fraction(percent, 100), at_least=least))
    bounced = total = 0
    for hit in outcomes:
        total, bounced = total + 1, bounced + hit
        tripped = made.count(fact("bounced" if hit else "delivered"), NOW)
        assert bool(tripped) == (hit and total >= least and bounced * 100 > percent * total)
        if tripped:
            return


@given(st.lists(st.tuples(st.sampled_from(["bounced", "deferred", "expired"]), st.sampled_from("ab")), max_size=300))
def test_the_transactional_stream_is_never_braked_by_marketing(facts):
    """Invariant: whatever comes of marketing's mail, no trip touches another stream or its campaign."""
    made = Brakes()
    rules = [replace(RULE, at_least=1, by=by, text=by, do=do) for by, do in
             (("stream", "pause"), ("provider", "pause"), ("campaign", "hold"), ("credential", "hold"))]  # fmt: skip
    made.take_rules({"news": rules, "codes": rules})
    for name, campaign in facts:
        made.count(fact(name, tags={"campaign": campaign}, credential="shop"), NOW)
    assert {trip.stream for trip in made.trips.values()} <= {"news"}
    assert made.why_not("codes", "gmail", NOW) is None
    assert not made.holds("codes", "shop", {"campaign": "a"})


def test_rates_count_what_they_say():
    ends = [fact(name, kind="InvalidRecipient") for name in ("delivered", "deferred", "bounced", "expired")]
    assert {rate: {end.name: counted(rate, end) for end in ends} for rate in RATES} == {
        "bounce_rate": {"delivered": False, "deferred": None, "bounced": True, "expired": False},
        "complaint_rate": {"delivered": False, "deferred": None, "bounced": None, "expired": None},
        "deferral_rate": {"delivered": False, "deferred": True, "bounced": False, "expired": None},
        "unknown_user_rate": {"delivered": False, "deferred": None, "bounced": True, "expired": False},
    }
    assert counted("unknown_user_rate", fact("bounced", kind="PolicyRelated")) is False
    assert counted("deferral_rate", fact("deferred", reached=False)) is None


def test_a_campaign_is_held_and_no_other():
    made = brakes(replace(RULE, by="campaign", do="hold"))
    feed(made, 300, 5, tags={"campaign": "spring"})
    feed(made, 100, 100)  # without the tag nobody's figures
    [trip] = feed(made, 180, 20, tags={"campaign": "autumn"})
    assert trip.whom == "campaign autumn of stream news"
    assert made.holds("news", "", {"campaign": "autumn"}) == trip
    assert made.holds("news", "", {"campaign": "spring"}) is None
    assert made.why_not("news", "gmail", NOW) is None


def test_a_credential_and_a_provider():
    made = brakes(replace(RULE, by="credential", text="c"), replace(RULE, by="provider", text="p"))
    assert {trip.by for trip in feed(made, 0, 200, credential="shop")} == {"credential", "provider"}
    assert made.holds("news", "shop", {}) is not None  # a pause of a credential is kept like a hold
    assert made.holds("news", "crm", {}) is None
    assert made.why_not("news", "gmail", NOW)[1] == float("inf")
    assert made.why_not("news", "yahoo", NOW) is None


def test_slow_leaves_at_its_rate():
    made = brakes(replace(RULE, do="slow", rate_slow=0.5, for_s=60))
    feed(made, 0, 200)
    assert made.why_not("news", "gmail", NOW) is None
    made.started("news", "gmail", NOW)
    assert made.why_not("news", "gmail", NOW)[1] == NOW + 2
    made.started("codes", "gmail", NOW)
    assert made.why_not("news", "gmail", NOW + 2) is None


def test_alert_stops_nothing_and_pause_needs_no_bucket():
    made = brakes(replace(RULE, do="alert", for_s=60))
    assert len(feed(made, 0, 200)) == 1
    made.started("news", "gmail", NOW)
    assert made.why_not("news", "gmail", NOW) is None
    made.pause("news", None, NOW)
    made.started("news", "gmail", NOW)
    assert made.why_not("news", "gmail", NOW)[0].rule == "operator"


@pytest.mark.parametrize(("later_s", "over"), [(59.0, False), (60.0, True), (-30.0, False), (-86400.0, True)])
def test_ends_by_itself(later_s, over):
    made = brakes(replace(RULE, for_s=60))
    feed(made, 0, 200)
    assert bool(made.expire(NOW + later_s)) is over
    assert bool(made.trips) is not over


def test_an_operator_releases_and_it_counts_anew():
    made = brakes(RULE)
    [trip] = feed(made, 0, 200)
    assert made.release("nonsense") is None
    assert made.expire(NOW + 1e9) == []  # nothing but an operator ends it
    assert made.release(trip.id) == trip
    assert feed(made, 0, 199) == []
    [again] = feed(made, 0, 1)
    assert again.id == trip.id


def test_a_reload_keeps_the_figures_of_rules_that_stay():
    made = brakes(RULE)
    feed(made, 0, 199)
    made.take_rules({"news": [RULE]})
    assert len(feed(made, 0, 1)) == 1
    made.take_rules({})
    assert not made.watches("news")
    assert made.count(fact("bounced"), NOW) == []
    assert len(made.trips) == 1


def test_complaints_are_a_share_of_what_was_delivered():
    made = brakes(replace(RULE, rate="complaint_rate", above=Fraction(3, 1000), at_least=1000, text="complaints"))
    assert feed(made, 1000, 500) == []
    assert [made.count(fact("complained"), NOW) for _ in range(3)] == [[], [], []]  # 3 of 1000 is 0.3 %, not more
    [trip] = made.count(fact("complained"), NOW)
    assert trip.seen == "4 of 1000"


def test_complaints_without_enough_deliveries_brake_nobody():
    made = brakes(replace(RULE, rate="complaint_rate", at_least=1, text="complaints"))
    for _ in range(50):
        assert made.count(fact("complained"), NOW) == []
    assert len(feed(made, 1, 0) + made.count(fact("complained"), NOW)) == 1


def test_a_late_bounce_is_one_more_hit_and_no_more_mail():
    made = brakes(replace(RULE, at_least=100))
    feed(made, 100, 0)
    for _ in range(5):
        assert made.count(fact("bounced_late"), NOW) == []
    [trip] = made.count(fact("bounced_late"), NOW)
    assert trip.seen == "6 of 100"


@pytest.mark.parametrize(
    ("rate", "name", "kind", "hit"),
    [
        ("complaint_rate", "complained", "", True), ("complaint_rate", "delivered", "", False),
        ("complaint_rate", "bounced", "", None), ("complaint_rate", "bounced_late", "", None),
        ("bounce_rate", "complained", "", None), ("bounce_rate", "bounced_late", "QuotaIssues", True),
        ("unknown_user_rate", "bounced_late", "QuotaIssues", None),
        ("unknown_user_rate", "bounced_late", "InvalidRecipient", True), ("deferral_rate", "bounced_late", "", None),
    ],
)  # fmt: skip
def test_what_late_news_counts_for(rate, name, kind, hit):
    assert counted(rate, fact(name, kind=kind)) is hit
