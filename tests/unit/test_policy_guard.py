"""What the guard sees in one message, and what becomes of the decision."""
# ruff: noqa: E501 - tables of messages as people see them

from __future__ import annotations

import pytest

from relay.core.headers import Headers
from relay.policy.build import build_policy
from relay.policy.decide import Facts, decide
from relay.policy.examples import run_examples
from relay.policy.guard import Guard, plain_sign
from relay.policy.guarding import checked
from relay.policy.strict import load

GUARD = Guard("refuse", "slow", recipients=3)
RETRY = "retry: {after: [1m], then: 1h, expire: 24h}"
BASE = f"""
pools: {{p: {{sources: [{{name: s}}]}}}}
providers: {{rest: {{mx: "*"}}}}
routes: [{{name: rest, stream: fast}}]
streams:
  slow: {{pool: p, {RETRY}}}
"""


@pytest.mark.parametrize(
    ("header", "words"),
    [
        ("List-Unsubscribe: <mailto:u@example.com>", "List-Unsubscribe is present"),
        ("list-id: news.example.com", "list-id is present"),
        ("Precedence: bulk", "Precedence: bulk"),
        ("Precedence:  LIST ", "Precedence: list"),
        ("Precedence: junk\r\nAuto-Submitted: no", "Precedence: junk"),
        ("Precedence: bulk\r\nAuto-Submitted: auto-generated", ""),  # cron, and whatever warns by itself
        ("Precedence: first-class", ""),
        ("X-List-Unsubscribe: <mailto:u@example.com>", ""),
        ("Subject: List-Unsubscribe: x", ""),
    ],
)
def test_header_fields(header, words):
    finding = plain_sign(GUARD, Headers.parse(f"{header}\r\n".encode()), 1)
    assert (finding.words if finding else "") == words
    assert not finding or finding.sign == "headers"
    assert plain_sign(Guard("tag", headers=False), Headers.parse(f"{header}\r\n".encode()), 1000) is None


def test_many_recipients():
    assert plain_sign(GUARD, Headers([]), 3) is None
    finding = plain_sign(GUARD, Headers([]), 4)
    assert finding is not None
    assert (finding.sign, finding.words) == ("recipients", "4 recipients in one message, more than 3")


def policy_of(guard: str, tests: str = ""):
    text = f"{BASE}  fast: {{pool: p, {RETRY}, guard: {guard}}}\n{tests}"
    policy, problems = build_policy({"all.yaml": load(text, "all.yaml")[0]})
    assert [str(problem) for problem in problems] == []
    return policy


def decided(guard: str, header: bytes = b"List-Id: x\r\n"):
    policy = policy_of(guard)
    facts = Facts("apps", "192.0.2.1", "", "a@b.example", ("c@d.example",), Headers.parse(header), 100, 12)
    return checked(policy, decide(policy, facts, explain=True), facts.headers, len(facts.recipients))


def test_defaults():
    assert policy_of("{bulk: tag}").streams["fast"].guard == Guard("tag", "", True, 50, 0, 600.0)
    assert policy_of("{bulk: tag, signs: headers}").streams["fast"].guard == Guard("tag", "", True, 0, 0, 600.0)
    written = "{bulk: tag, signs: [recipients, same_content], recipients: 9, same_content: {messages: 7, within: 1h}}"
    assert policy_of(written).streams["fast"].guard == Guard("tag", "", False, 9, 7, 3600.0)


def test_rerouted():
    decision = decided("{bulk: reroute, to: slow}")
    assert (decision.stream.name, dict(decision.tags), decision.hold) == ("slow", {"guard": "headers"}, False)
    assert decision.trail[-1].rule == "guard of fast"
    assert decision.trail[-1].reason == "List-Id is present: reroute"


def test_held_and_tagged():
    assert decided("{bulk: hold}").hold is True
    decision = decided("{bulk: tag}")
    assert (decision.stream.name, dict(decision.tags), decision.hold) == ("fast", {"guard": "headers"}, False)


def test_refused():
    decision = decided("{bulk: refuse}")
    assert decision.stream is None
    assert str(decision.refusal) == (
        "550 5.7.1 looks like bulk mail (List-Id is present) in stream fast: send it through a stream for bulk mail"
        " (its listener, its credential, or the header X-Relay-Stream: NAME where it is allowed)"
    )


def test_what_is_no_bulk_mail_goes_its_way():
    assert decided("{bulk: refuse}", b"Subject: x\r\n").stream.name == "fast"
    policy = policy_of("{bulk: refuse}")
    facts = Facts("", "192.0.2.1", "", "", (), Headers.parse(b"List-Id: x\r\n"), 1, 1, chosen_stream="slow")
    assert checked(policy, decide(policy, facts), facts.headers, 1).stream.name == "slow"


def test_the_policys_own_tests_see_the_guard():
    tests = "tests: [{name: t, given: {headers: {List-Id: x}}, expect: {stream: slow, tags: {guard: headers}}}]"
    assert [one.passed for one in run_examples(policy_of("{bulk: reroute, to: slow}", tests))] == [True]


@pytest.mark.parametrize(
    ("stream", "says"),
    [
        ("guard: {bulk: refus}", "bulk: `refus` is not allowed (did you mean `refuse`? allowed: refuse, reroute, hold, tag)"),
        ("guard: {}", "`bulk` is missing in `fast.guard` (add it)"),
        ("guard: {bulk: reroute}", "`bulk: reroute` does not say where to (add `to: STREAM`)"),
        ("guard: {bulk: reroute, to: fast}", "bulk mail would go where it is (name another stream)"),
        ("guard: {bulk: refuse, to: slwo}", "there is no stream `slwo` (did you mean `slow`? allowed: fast, slow)"),
        ("guard: {bulk: hold, to: slow}", "`to` has no effect with `bulk: hold` (remove it, or write `bulk: reroute`)"),
        ("guard: {bulk: tag, signs: [header]}", "`header` is not allowed (did you mean `headers`?"),
        ("guard: {bulk: tag, signs: headers, recipients: 9}", "`recipients` is not among the `signs` (list it there"),
        ("guard: {bulk: tag, same_content: {within: 0s}}", "within: must be more than 0"),
        ("require: list_unsubscribe, guard: {bulk: refuse}", "`require` asks for List-Unsubscribe, and `guard` takes"),
        ("require: [aligned_dkim]", "`aligned_dkim` is required, and nothing is signed (add `dkim:"),
        ("require: [visible_address, visible_address]", "`visible_address` is required twice (remove one)"),
        ("require: [unsubscribe]", "`unsubscribe` is not allowed (did you mean `list_unsubscribe`?"),
        ("require: []", "require: must not be empty"),
        ("quota: {}", "an empty quota limits nothing (give messages, bytes, share_of_disk, share_of_accepts or"),
        ("quota: {messages: 0}", "messages: must be at least 1, not `0`"),
        ("quota: {rate: 1.5/min}", "rate: `1.5/min` is no pace (write whole numbers like 10/s, 100/min or 5000/h)"),
        ("quota: {share_of_accepts: 100%}", "share_of_accepts: must be less than 1"),
        ("quota: {share_of_disk: 0%}", "share_of_disk: must be more than 0"),
        ("quota: {share: 5%}", "unknown key `share`"),
    ],
)  # fmt: skip
def test_mistakes(stream, says):
    text = f"{BASE}  fast: {{pool: p, {RETRY}, {stream}}}\n"
    policy, problems = build_policy({"all.yaml": load(text, "all.yaml")[0]})
    assert policy is None
    assert [str(one) for one in problems if str(one).startswith("all.yaml:7:") and says in str(one)], problems
