"""Which rule takes which reply, and when enough of them have come."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.core import replies
from relay.core.ledger import Act
from relay.core.outcome import Phase, Verdict, judge_reply
from relay.core.pattern import compile_pattern
from relay.core.replies import ReplyRule, Threshold, Windows, asked, deciding, read_reply, ruled
from relay.core.reply import reply
from relay.smtp.wire import ReplyReader

FLOOD = read_reply("421-4.7.28 [192.0.2.1] Our system has detected an unusual rate of\n421 4.7.28 unsolicited mail.")
UNUSUAL = compile_pattern("~unusual rate of unsolicited")


def rule(name="r", **more):
    return ReplyRule(name, **more)


@pytest.mark.parametrize(("one", "takes"), [
    (rule(patterns=(UNUSUAL,)), True),
    (rule(patterns=(compile_pattern("421 4.7.28 [[]*"), compile_pattern("*unusual rate*"))), True),
    (rule(patterns=(compile_pattern("unusual rate*"),)), False),
    (rule(codes=frozenset({421})), True),
    (rule(codes=frozenset({450})), False),
    (rule(enhanced=(compile_pattern("4.7.*"),)), True),
    (rule(enhanced=(compile_pattern("4.7.2"),)), False),
    (rule(kinds=frozenset({"RateLimited"})), True),
    (rule(kinds=frozenset({"Greylisted"})), False),
    (rule(phases=frozenset({"mail"})), True),
    (rule(phases=frozenset({"banner"})), False),
    (rule(codes=frozenset({421}), patterns=(compile_pattern("*greylist*"),)), False),
])  # fmt: skip
def test_all_that_is_given_must_hold(one, takes):
    assert one.takes(FLOOD, "RateLimited", "mail") is takes


def test_the_first_rule_decides():
    first, second = rule("first", codes=frozenset({450})), rule("second", codes=frozenset({421}))
    assert deciding((first, second, rule("third")), FLOOD, "RateLimited", "mail") is second
    assert deciding((first,), FLOOD, "RateLimited", "mail") is None


def test_a_class_may_depend_on_the_phase():
    unknown = rule(kinds=frozenset({"InvalidRecipient"}))
    assert unknown.heard_in(reply(550, "", "no such user")) == {"rcpt"}
    assert rule(phases=frozenset({"dot"}), codes=frozenset({550})).heard_in(reply(550, "", "no")) == {"dot"}


@pytest.mark.parametrize("text", [
    "421-4.7.28 first\n421-4.7.28 second\n421 4.7.28 third",
    "450 4.2.0 <a@b>: Recipient address rejected: Greylisted", "421 [HCM1] deferred", "550", "550 ", "554 5.7.1",
    "451 5.7.1 not its class", "450-no\n450 4.2.1 late status", "421 - Too many sessions",
])  # fmt: skip
def test_a_sample_is_read_as_the_wire_is(text):
    [from_wire] = ReplyReader().feed(text.replace("\n", "\r\n").encode() + b"\r\n")
    assert read_reply(text) == from_wire


@pytest.mark.parametrize("text", ["", "unusual rate", "4.7.28 no code", "421_x", "421 a\nb", "199 no"])
def test_what_is_no_reply_is_no_sample(text):
    with pytest.raises(ValueError, match="begins with its code"):
        read_reply(text)


def test_three_in_an_hour():
    windows, three = Windows(), Threshold(3, 3600)
    assert [windows.reached("a", three, at) for at in (0, 10, 3600, 3605, 3700)] == [False, False, False, True, True]
    assert not windows.reached("b", three, 3700), "another place counts by itself"
    assert windows.reached("c", Threshold(), 0), "without a threshold the first reply counts"
    assert len(windows) == 2


def test_a_clock_that_goes_back_leaves_no_count_behind():
    windows, two = Windows(), Threshold(2, 60)
    windows.reached("a", two, 100_000)
    assert not windows.reached("a", two, 10)
    assert windows.reached("a", two, 20)


def test_a_changed_threshold_counts_what_it_has():
    windows = Windows()
    windows.reached("a", Threshold(3, 60), 0)
    assert windows.reached("a", Threshold(2, 60), 1)


def test_windows_are_bounded(monkeypatch):
    monkeypatch.setattr(replies, "WINDOWS_MOST", 2)
    windows, two = Windows(), Threshold(2, 60)
    for key in ("a", "b", "c"):
        windows.reached(key, two, 0)
    assert len(windows) == 2
    assert not windows.reached("a", two, 1), "the one unheard longest was forgotten"


@given(st.integers(2, 5), st.lists(st.floats(0, 100), max_size=30))
def test_a_threshold_is_reached_by_that_many_in_its_time(count, gaps):
    windows, heard, now = Windows(), [], 0.0
    for gap in gaps:
        now += gap
        heard.append(now)
        recent = [at for at in heard if at > now - 60]
        assert windows.reached("a", Threshold(count, 60), now) is (len(recent) >= count)


def test_a_stream_is_paused_only_where_a_message_was_named():
    both = rule(acts=((Act.PAUSE_STREAM, 0.0), (Act.SLOW, 0.5)), for_s=60.0, where="p.yaml:3")
    heard = {"source": "m1", "provider": "gmail", "counted": "gmail", "now": 100.0}
    paused, slowed = asked(both, FLOOD, stream="news", **heard)
    assert (paused.act, paused.stream, paused.source, paused.until) == (Act.PAUSE_STREAM, "news", "", 160.0)
    assert (slowed.act, slowed.stream, slowed.source, slowed.value) == (Act.SLOW, "", "m1", 0.5)
    assert [one.act for one in asked(both, FLOOD, stream="", **heard)] == [Act.SLOW]


PAUSE, STREAM, SLOW = ((Act.PAUSE_SOURCE, 0.0),), ((Act.PAUSE_STREAM, 0.0),), ((Act.SLOW, 0.5),)
BLOCK = reply(554, "5.7.1", "your address is on our block list")


def refused(phase=Phase.RCPT, said=BLOCK):
    return judge_reply(phase, said)


@pytest.mark.parametrize("phase", [Phase.MAIL, Phase.RCPT, Phase.DATA, Phase.BODY, Phase.DOT])
def test_a_block_is_not_the_messages_fault(phase):
    outcome = ruled(refused(phase), rule(acts=PAUSE, where="p.yaml:3"))
    assert (outcome.verdict, outcome.again_s, outcome.status) == (Verdict.DEFERRED, None, "4.7.1")
    assert outcome.rule == "r (p.yaml:3)"


@pytest.mark.parametrize(("one", "verdict"), [
    (rule(acts=PAUSE), Verdict.DEFERRED),
    (rule(acts=SLOW), Verdict.DEFERRED),
    (rule(acts=((Act.CONNECTIONS, 1.0),)), Verdict.DEFERRED),
    (rule(acts=STREAM), Verdict.FAILED),  # the stream's mail is what is refused
    (rule(acts=(*STREAM, *SLOW)), Verdict.DEFERRED),
    (rule(), Verdict.FAILED),
    (rule(acts=PAUSE, bounce=True), Verdict.FAILED),
    (rule(acts=PAUSE, retry_s=9.0), Verdict.DEFERRED),
    (rule(acts=PAUSE, observe=True), Verdict.FAILED),
])  # fmt: skip
def test_what_the_rule_does_says_whose_trouble_it_is(one, verdict):
    assert ruled(refused(), one).verdict is verdict


@pytest.mark.parametrize(("status", "verdict"), [
    ("5.7.1", Verdict.DEFERRED), ("5.7.0", Verdict.DEFERRED), ("", Verdict.DEFERRED), ("5.1.0", Verdict.DEFERRED),
    ("5.1.1", Verdict.FAILED), ("5.1.10", Verdict.FAILED), ("5.2.1", Verdict.FAILED), ("5.2.2", Verdict.FAILED),
    ("5.3.4", Verdict.FAILED),
])  # fmt: skip
def test_an_enhanced_code_may_put_it_down_to_the_mail(status, verdict):
    assert ruled(refused(said=reply(550, status, "no")), rule(acts=PAUSE)).verdict is verdict


def test_before_its_threshold_a_rule_spares_and_does_nothing_else():
    said = "r (p.yaml:3)"
    assert ruled(refused(), rule(acts=PAUSE, where="p.yaml:3"), reached=False).rule == said
    assert ruled(refused(), rule(acts=PAUSE), reached=False).verdict is Verdict.DEFERRED
    later = judge_reply(Phase.RCPT, FLOOD)
    for one in (rule(bounce=True), rule(retry_s=9.0), rule(acts=PAUSE), rule(acts=PAUSE, observe=True)):
        assert ruled(later, one, reached=False) == later
    assert ruled(refused(), rule(acts=PAUSE, observe=True), reached=False) == refused()


def test_before_mail_no_rule_has_a_say_in_what_becomes_of_it():
    at_the_door = judge_reply(Phase.BANNER, BLOCK)
    assert ruled(at_the_door, rule(bounce=True)) == at_the_door
