"""`brakes:` and `warmup:` in policies: what they become, and every mistake with its remedy."""
# ruff: noqa: E501 - tables of messages as people see them

from fractions import Fraction

import pytest

from relay.policy.build import build_policy
from relay.policy.strict import load
from relay.policy.warmup import starts_late

RETRY = "retry: {after: [1m], then: 1h, expire: 24h}"
FULL = "when: bounce_rate > 2.5%, over: 1h, at_least: 200"


def built(brake="", source="", credentials=None):
    brakes = f", brakes: [{brake}]" if brake else ""
    text = (
        f"streams:\n  news: {{pool: p, {RETRY}{brakes}}}\n"
        f"pools:\n  p: {{sources: [{{name: s{source}}}]}}\n"
        "routes:\n  - {name: rest, stream: news, tag: {campaign: '{header:X-Campaign}'}}\n"
        "providers:\n  rest: {mx: '*'}\n"
    )
    return build_policy({"a.yaml": load(text, "a.yaml")[0]}, credentials=credentials)


def test_a_brake_is_exactly_what_was_written():
    policy, problems = built(f"{{{FULL}, by: campaign, do: hold, for: 2h}}")
    assert problems == []
    [rule] = policy.streams["news"].brakes
    assert (rule.rate, rule.above, rule.over_s, rule.at_least) == ("bounce_rate", Fraction(25, 1000), 3600, 200)
    assert (rule.by, rule.do, rule.for_s, rule.where) == ("campaign", "hold", 7200, "a.yaml:2")
    assert rule.text == "bounce_rate > 2.5% over 3600 s by campaign, hold"


def test_lasts_until_released_but_for_an_alert():
    policy, _ = built(f"{{{FULL}, do: slow, slow_to: 30/min}}, {{{FULL}, do: alert}}")
    slow, alert = policy.streams["news"].brakes
    assert (slow.by, slow.rate_slow, slow.for_s) == ("stream", 0.5, 0.0)
    assert alert.for_s == 3600


@pytest.mark.parametrize(
    ("brake", "says"),
    [
        ("when: bounces", "`bounces` is no condition (write it like bounce_rate > 5%, with bounce_rate, complaint_rate"),
        ("when: 5", "`5` is no condition"),
        ("when: opened > 1%", "there is no rate `opened` (allowed: bounce_rate,"),
        ("when: bounced_rate > 1%", "there is no rate `bounced_rate` (did you mean `bounce_rate`?"),
        ("when: bounce_rate > 101%", "`101%` is no share"),
        ("when: bounce_rate > 100%", "a share is never above 100% (write a limit below it)"),
        ("over: 10s", "over: must be at least 60"),
        ("over: 8d", "over: must be at most"),
        ("at_least: 0", "at_least: must be at least 1"),
        ("by: campain", "no route gives a tag `campain`, so nothing would be counted (did you mean `campaign`?"),
        ("by: credential", "there are no credentials, so nothing would be counted (add accounts with"),
        ("do: stop", "`stop` is not allowed (allowed: hold, pause, slow, alert)"),
        ("do: slow", "`do: slow` needs a rate (add `slow_to: 10/min`)"),
        ("slow_to: 5/s", "`slow_to` is only for `do: slow` (remove it, or write `do: slow`)"),
        ("do: slow, slow_to: 5/s, by: campaign", "mail cannot be slowed by campaign (write `by: stream` or"),
        ("do: hold, by: provider", "mail cannot be held by provider (use `do: pause`"),
        ("for: soon", "`soon` is no duration"),
        ("untill: 2h", "unknown key `untill`"),
    ],
)
def test_brakes_that_cannot_be(brake, says):
    given = {"when": "bounce_rate > 5%", "over": "1h", "at_least": "200", "do": "pause"}
    given |= dict(part.split(": ", 1) for part in brake.split(", "))
    text = ", ".join(f"{key}: {value}" for key, value in given.items())
    policy, problems = built(f"{{{text}}}", credentials=frozenset())
    assert policy is None
    assert any(says in str(problem) and str(problem).startswith("a.yaml:2:") for problem in problems), problems


def test_a_route_that_is_wrong_hides_no_tag():
    text = f"streams:\n  news: {{pool: p, {RETRY}, brakes: [{{{FULL}, by: spree, do: hold}}]}}\nroutes: [{{nam: x}}]\n"
    _, problems = build_policy({"a.yaml": load(text, "a.yaml")[0]})
    assert not any("spree" in str(problem) for problem in problems)


def test_two_brakes_of_one_kind():
    _, [problem] = built(f"{{{FULL}, do: hold}}, {{{FULL}, do: hold}}")
    assert "the same brake stands already at number 1 (remove one of them)" in str(problem)


def test_a_warmup_is_what_was_written():
    policy, problems = built(source=", warmup: {started: 2026-11-01}")
    assert problems == []
    [source] = policy.pools["p"].sources
    plan = source.warmup
    assert (plan.started, plan.per_hour, plan.factor, plan.until) == (1793491200.0, 20, 1.4, 20_000)
    assert (plan.per_provider, plan.where, source.where) == (True, "a.yaml:4", "a.yaml:4")
    assert starts_late(plan, 1793491200.0) == ""
    assert starts_late(plan, 1793491199.0) == "the warm-up starts in the future, on 2026-11-01"
    assert built()[0].pools["p"].sources[0].warmup is None
    quick = built(source=", warmup: {started: 2026-11-01, factor: 2, per_provider: false}")[0].pools["p"].sources[0]
    assert (quick.warmup.factor, quick.warmup.per_provider) == (2.0, False)


@pytest.mark.parametrize(
    ("warmup", "says"),
    [
        ("started: yesterday", "`yesterday` is no day (write it like 2026-11-01)"),
        ("started: 2026-11-31", "`2026-11-31` is no day"),
        ("started: 20261101", "`20261101` is no day"),
        ("started: 2026-11-01, factor: 1", "`1` is no growth (write a number above 1 and up to 10, like 1.4)"),
        ("started: 2026-11-01, factor: true", "`true` is no growth"),
        ("started: 2026-11-01, per_hour: 0", "per_hour: must be at least 1"),
        ("started: 2026-11-01, per_hour: 50, until: 50", "with 50 an hour from the start and warm at 50 there is nothing"),
        ("per_hour: 5", "`started` is missing"),
        ("started: 2026-11-01, per_day: 5", "unknown key `per_day`"),
    ],
)
def test_warmups_that_cannot_be(warmup, says):
    policy, problems = built(source=f", warmup: {{{warmup}}}")
    assert policy is None
    assert any(says in str(problem) and str(problem).startswith("a.yaml:4:") for problem in problems), problems
