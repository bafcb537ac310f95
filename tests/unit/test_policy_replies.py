"""Reply rules as people write them: what they become, and every mistake with its place and remedy."""
# ruff: noqa: E501 - tables of messages as people see them

import pytest

from relay.core.ledger import Act
from relay.core.replies import Threshold, deciding, read_reply
from relay.policy.build import build_policy
from relay.policy.strict import load

BASE = """
streams: {a: {pool: p, retry: {after: [1m], then: 1h, expire: 24h}}}
pools: {p: {sources: [{name: s}]}}
routes: [{name: r, stream: a}]
providers:
  big:
    mx: "*.big.example"
    per_source: {connections: 5, messages: 10/s}
    replies:
"""
REST = '  rest:\n    mx: "*"\n    replies: [{name: last, code: 421, sample: "421 busy", do: {retry: 5m}}]\n'
RATE = 'sample: "421-4.7.28 an unusual rate of mail"'


def built(*rules):
    text = BASE + "".join(f"      - {{{rule}}}\n" for rule in rules) + REST
    node, problems = load(text, "p.yaml")
    policy, more = build_policy({"p.yaml": node})
    return policy, [str(problem) for problem in problems + more]


def rule(text):
    policy, problems = built(text)
    assert problems == []
    return policy.providers[0].replies[0]


def test_what_a_rule_becomes():
    one = rule(f"name: unusual rate, match: '~unusual rate', code: 421, enhanced: '4.7.*', class: RateLimited, phase: [mail, rcpt],"
               f" {RATE}, not_sample: '421 4.7.28 usual', after: 3 in 1h, do: {{slow_to: 10/min, connections: 1, pause: stream, retry: 5m, for: 30m}}, observe: true")  # fmt: skip
    assert (one.name, one.where) == ("unusual rate", "p.yaml:10")
    assert dict(one.acts) == {Act.SLOW: pytest.approx(1 / 6), Act.CONNECTIONS: 1.0, Act.PAUSE_STREAM: 0.0}
    assert (one.for_s, one.retry_s, one.bounce, one.observe) == (1800, 300, False, True)
    assert one.after == Threshold(3, 3600)
    assert one.takes(read_reply("421 4.7.28 unusual rate"), "RateLimited", "rcpt")
    assert not one.takes(read_reply("421 4.7.28 unusual rate"), "RateLimited", "dot")


def test_a_pause_of_the_source_and_a_bounce():
    one = rule("name: gone, match: '*is gone*', sample: ['450 is gone', '450-it\\n450 is gone'], do: {bounce: true, pause: source, for: 1h}".replace("'450-it\\n450 is gone'", '"450-it\\n450 is gone"'))
    assert (one.bounce, one.acts, one.after) == (True, ((Act.PAUSE_SOURCE, 0.0),), Threshold())


def test_a_pause_that_grows_and_a_5xx_that_bounces_in_spite_of_it():
    one = rule("name: block, match: '*block list*', sample: 554 on our block list, do: {bounce: true, pause: source, for: 1h, up_to: 8h}")
    assert (one.bounce, one.for_s, one.up_to_s) == (True, 3600, 28800)
    for do in ("slow_to: 1/min", "connections: 1"):
        assert rule(f"name: block, match: '*block list*', sample: 554 on our block list, do: {{bounce: true, {do}, for: 1h}}").bounce


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (f"name: x, do: {{bounce: true}}, {RATE}", "p.yaml:10:9: `x` does not say which replies it is for (give it `match:`, `code:`, `enhanced:` or `class:`)"),
        (f"name: x, match: '~usual  rate', {RATE}, do: {{retry: 5m}}", "p.yaml:10:50: `x`: its sample `421 4.7.28 an unusual rate of mail` does not match `match` (correct the pattern"),
        (f"name: x, match: 'unusual rate', {RATE}, do: {{retry: 5m}}", "does not match `match`"),
        (f"name: x, code: [450, 451], {RATE}, do: {{retry: 5m}}", "has another code"),
        (f"name: x, enhanced: 4.7.1, {RATE}, do: {{retry: 5m}}", "has the enhanced code `4.7.28`"),
        ("name: x, enhanced: 4.7.1, sample: 421 no, do: {retry: 5m}", "has no enhanced code"),
        (f"name: x, class: Greylisted, {RATE}, do: {{retry: 5m}}", "is of another class"),
        (f"name: x, code: 421, {RATE}, not_sample: 421 other, do: {{retry: 5m}}", "`x`: its not_sample `421 other` is taken, and must not be"),
        (f"name: x, code: 421, {RATE}, do: {{retry: 5m, pause: source}}", "`x` does not say for how long (add `for: 30m` to `do`)"),
        (f"name: x, code: 421, {RATE}, do: {{retry: 5m, for: 5m}}", "`x`: `for` has nothing to limit"),
        (f"name: x, code: 421, {RATE}, do: {{}}", "`x` does nothing (give it `slow_to`,"),
        (f"name: x, code: 421, {RATE}, do: {{retry: 5m, bounce: true}}", "`x` says both `bounce` and `retry`"),
        ("name: x, code: 550, sample: 550 no, do: {bounce: true}", "`x`: a 5xx bounces by itself"),
        ("name: x, code: 550, sample: 550 no, do: {bounce: true, pause: stream, for: 1h}", "`x`: a 5xx bounces by itself"),
        (f"name: x, code: 421, {RATE}, do: {{pause: stream, for: 1h, up_to: 2h}}", "`x`: `up_to` has no pause to make longer (remove it"),
        (f"name: x, code: 421, {RATE}, do: {{pause: source, for: 2h, up_to: 2h}}", "`x`: `up_to` has no pause to make longer"),
        (f"name: x, code: 421, {RATE}, do: {{retry: 2h, up_to: 2h}}", "`x`: `up_to` has no pause to make longer"),
        (f"name: x, code: 421, phase: banner, {RATE}, do: {{pause: stream, for: 1h}}", "`x`: `pause` needs a message, and there is none in the phase banner"),
        (f"name: x, code: 421, phase: [ehlo], {RATE}, do: {{retry: 1h}}", "`x`: `retry` needs a message"),
        (f"name: x, code: 421, {RATE}, do: {{connections: 5, for: 1h}}", "`x`: `big` has no more than 5 connections at any time"),
        (f"name: x, code: 421, {RATE}, do: {{slow_to: 10/s, for: 1h}}", "`x`: `big` is never faster than that"),
        ("name: x, code: 250, sample: 450 no, do: {retry: 1h}", "must be at least 400, not `250`"),
        ("name: x, match: '*', sample: 250 fine, do: {retry: 1h}", "250 is no refusal (rules are for 4xx and 5xx)"),
        ("name: x, match: '*', sample: 421, do: {retry: 1h}", "`421` is no reply (put it in quotes)"),
        ("name: x, match: '*', sample: busy, do: {retry: 1h}", "a reply begins with its code, each line anew (copy it as the server"),
        ("name: x, match: '*', do: {retry: 1h}", "`sample` is missing"),
        (f"name: x, match: '*', {RATE}, do: {{pause: all, for: 1h}}", "`all` is not allowed (allowed: source, stream)"),
        (f"name: x, match: '*', {RATE}, do: {{pause: source, for: 8d}}", "must be at most 604800"),
        (f"name: x, match: '*', {RATE}, do: {{slow_to: 0/h, for: 1h}}", "must be more than 0"),
        (f"name: x, match: '*', {RATE}, after: 1h, do: {{retry: 1h}}", "`1h` is no number of replies in a time (write it like `3 in 1h`, from 2"),
        (f"name: x, match: '*', {RATE}, after: 1 in 1h, do: {{retry: 1h}}", "`1 in 1h` is no number of replies"),
        (f"name: x, match: '*', {RATE}, after: 3 in hour, do: {{retry: 1h}}", "`hour` is no duration"),
        (f"name: x, class: Greylist, {RATE}, do: {{retry: 1h}}", "`Greylist` is not allowed (did you mean"),
        (f"name: x, phase: rctp, code: 421, {RATE}, do: {{retry: 1h}}", "`rctp` is not allowed (did you mean `rcpt`? allowed: banner,"),
        (f"name: x, match: '~(', {RATE}, do: {{retry: 1h}}", "the regular expression does not compile"),
    ],
)  # fmt: skip
def test_mistakes(text, says):
    _, problems = built(text)
    assert any(says in problem for problem in problems), problems
    assert len(problems) == 1


@pytest.mark.parametrize(
    ("first", "second", "says"),
    [
        (f"name: a, code: 421, {RATE}, do: {{retry: 5m}}", f"name: b, match: '~unusual', {RATE}, do: {{retry: 1h}}",
         "p.yaml:11:9: `b` can never apply: `a` (p.yaml:10) takes its samples first (move it further up"),
        (f"name: a, code: 421, {RATE}, do: {{retry: 5m}}", "name: a, code: 450, sample: 450 no, do: {retry: 1h}",
         "a second rule `a` (rename one of them)"),
        (f"name: a, code: 421, {RATE}, do: {{retry: 5m}}", "name: b, match: '*', sample: [421 a, 450 b], do: {retry: 1h}", ""),
        (f"name: a, code: 421, phase: rcpt, {RATE}, do: {{retry: 5m}}", f"name: b, match: '*', {RATE}, do: {{retry: 1h}}", ""),
    ],
)  # fmt: skip
def test_a_rule_that_never_applies_is_told(first, second, says):
    _, problems = built(first, second)
    assert (says in " ".join(problems)) if says else problems == []
    assert bool(problems) is bool(says)


def test_two_rules_may_take_together_what_a_third_is_for():
    parts = [f"name: {name}, code: 421, phase: {phases}, {RATE}, do: {{retry: 5m}}"
             for name, phases in (("a", "[banner, ehlo, mail]"), ("b", "[rcpt, data, dot]"))]  # fmt: skip
    _, problems = built(*parts, f"name: c, match: '~unusual', {RATE}, do: {{retry: 1h}}")
    assert "`c` can never apply: `a`" in problems[0]


def test_a_provider_asks_its_own_rules_first():
    policy, _ = built("name: own, code: 450, sample: 450 no, do: {retry: 1h}")
    rules = policy.providers[0].replies + policy.providers[-1].replies
    assert deciding(rules, read_reply("450 no"), "", "rcpt").name == "own"
    assert deciding(rules, read_reply("421 no"), "", "rcpt").name == "last"
