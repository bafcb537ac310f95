"""After a pause: one connection tries, one refusal is enough, one message that is taken ends the trial."""

from hypothesis import given
from hypothesis import strategies as st

from relay.core import comebacks
from relay.core.comebacks import FORGET_S, Comebacks
from relay.core.hearing import Hearing
from relay.core.ledger import Act, Action
from relay.core.outcome import Phase, Verdict, judge_reply
from relay.core.replies import ReplyRule, Threshold
from relay.core.reply import reply

BLOCKED = judge_reply(Phase.RCPT, reply(554, "5.7.1", "your address is on our block list"))
AT_THE_DOOR = judge_reply(Phase.BANNER, reply(554, "", "your address is on our block list"))
GMX = {"source": "m1", "stream": "news", "provider": "gmx", "counted": "gmx"}


def rule(*, for_s=100.0, acts=((Act.PAUSE_SOURCE, 0.0),), **more):
    return ReplyRule("block list", codes=frozenset({554}), acts=acts, for_s=for_s, where="p.yaml:9", **more)


def ended(source="m1", counted="gmx", act=Act.PAUSE_SOURCE, name="block list", for_s=100.0, **more):
    return Action("1", act, "gmx", counted, name, "p.yaml:9", 0, for_s, for_s, source, **more)


def test_a_source_is_on_trial_where_its_pause_has_ended_until_a_message_is_taken():
    back = Comebacks()
    back.ended(ended(), 100)
    assert (back.on_trial("m1", "gmx", 101), len(back)) == (True, 1)
    assert not back.on_trial("m2", "gmx", 101)
    assert not back.on_trial("m1", "web.de", 101)
    back.taken("m1", "gmx")
    back.taken("m1", "gmx")
    assert not back.on_trial("m1", "gmx", 101)


def test_only_a_pause_of_a_source_that_was_in_force_leads_to_a_trial():
    back = Comebacks()
    for other in (ended(act=Act.SLOW), ended(act=Act.CONNECTIONS), ended(act=Act.PAUSE_STREAM), ended(observed=True)):
        back.ended(other, 100)
    assert not back


def test_after_a_day_without_mail_nothing_is_remembered():
    back = Comebacks()
    back.ended(ended(), 100)
    assert back.on_trial("m1", "gmx", 100 + FORGET_S - 1)
    assert back.on_trial("m1", "gmx", 50), "the clock went back"
    assert not back.on_trial("m1", "gmx", 100 + FORGET_S)
    assert not back


def test_who_came_back_first_makes_room(monkeypatch):
    monkeypatch.setattr(comebacks, "PLACES_MOST", 2)
    back = Comebacks()
    for counted in ("a", "b", "a", "c"):
        back.ended(ended(counted=counted), 1)
    assert [counted for counted in "abc" if back.on_trial("m1", counted, 2)] == ["a", "c"]


def test_a_pause_that_comes_again_is_twice_as_long_up_to_what_its_rule_says():
    hearing, now, lengths = Hearing(), 0.0, []
    for _ in range(5):
        _, [(action, is_new)] = hearing.hear(BLOCKED, rule(up_to_s=500.0), **GMX, now=now)
        assert is_new
        again = hearing.hear(BLOCKED, rule(up_to_s=500.0), **GMX, now=now)[1]
        assert again[0][0].until == action.until, "what was under way when it began doubles nothing"
        lengths.append(action.until - now)
        now = action.until
        assert hearing.expire(now)
    assert lengths == [100, 200, 400, 500, 500]
    hearing.comebacks.taken("m1", "gmx")
    _, [(action, _)] = hearing.hear(BLOCKED, rule(up_to_s=500.0), **GMX, now=now)
    assert action.until - now == 100


def test_a_rule_without_a_most_says_the_same_time_again_and_another_rule_its_own():
    back = Comebacks()
    back.ended(ended(for_s=400.0), 0)
    assert back.lasts_s(rule(), "m1", "gmx", 1) == 100
    assert back.lasts_s(rule(up_to_s=1000.0), "m1", "gmx", 1) == 800
    assert back.lasts_s(rule(up_to_s=1000.0), "m2", "gmx", 1) == 100
    other = ReplyRule("other", for_s=30.0, up_to_s=60.0)
    assert back.lasts_s(other, "m1", "gmx", 1) == 30
    assert back.same_again(rule(), "m1", "gmx", 1)
    assert not back.same_again(other, "m1", "gmx", 1)


def test_only_the_pause_grows_not_what_the_rule_does_beside_it():
    both = rule(acts=((Act.PAUSE_SOURCE, 0.0), (Act.SLOW, 0.5)), up_to_s=1000.0)
    hearing = Hearing()
    hearing.hear(BLOCKED, both, **GMX, now=0)
    hearing.expire(100)
    _, found = hearing.hear(BLOCKED, both, **GMX, now=100)
    assert [(action.act, action.until) for action, _ in found] == [(Act.PAUSE_SOURCE, 300), (Act.SLOW, 200)]


def test_one_refusal_is_enough_for_one_that_was_paused_before():
    three, hearing = rule(after=Threshold(3, 60.0)), Hearing()
    outcomes = [hearing.hear(BLOCKED, three, **GMX, now=now) for now in (0, 1, 2)]
    assert [len(found) for _, found in outcomes] == [0, 0, 1]
    assert {outcome.verdict for outcome, _ in outcomes} == {Verdict.DEFERRED}
    hearing.expire(102)
    assert hearing.hear(AT_THE_DOOR, three, **{**GMX, "stream": ""}, now=103)[1], "at the door, too"
    hearing.expire(300)
    hearing.comebacks.taken("m1", "gmx")
    assert hearing.hear(BLOCKED, three, **GMX, now=301)[1] == []


def test_an_operators_end_is_a_trial_as_well_and_so_is_one_that_a_restart_slept_through():
    hearing = Hearing()
    _, [(action, _)] = hearing.hear(BLOCKED, rule(), **GMX, now=0)
    rows = [action.as_dict()]
    assert hearing.cancel("no such", 1) is None
    assert hearing.cancel(action.id, 1) == action
    assert hearing.comebacks.on_trial("m1", "gmx", 2)
    later = Hearing()
    assert later.restore(rows, 50) == []
    assert not later.comebacks
    assert Hearing().restore([], 50) == []
    latest = Hearing()
    assert [one.id for one in latest.restore(rows, 1000)] == [action.id]
    assert latest.comebacks.on_trial("m1", "gmx", 1001)


@given(st.lists(st.tuples(st.sampled_from(["refused", "taken", "wait"]), st.floats(0.1, 300)), max_size=60))
def test_no_pause_is_shorter_than_its_rule_or_longer_than_its_most(happenings):
    """Whatever comes: while paused nothing is on trial alone by itself; lengths stay within for and up_to."""
    hearing, one, now = Hearing(), rule(up_to_s=350.0), 0.0
    for what, seconds in happenings:
        now += seconds
        over = hearing.expire(now)
        if over:
            assert hearing.comebacks.on_trial("m1", "gmx", now)
        paused = hearing.ledger.pause(("m1", "", "gmx"), now)
        if what == "taken" and paused is None:
            hearing.comebacks.taken("m1", "gmx")
            assert not hearing.comebacks.on_trial("m1", "gmx", now)
        elif what == "refused" and paused is None:
            _, [(action, is_new)] = hearing.hear(BLOCKED, one, **GMX, now=now)
            assert is_new
            assert 100 <= action.for_s <= 350
            assert action.until == now + action.for_s


def test_one_that_was_left_alone_everywhere_is_on_trial_everywhere(monkeypatch):
    monkeypatch.setattr(comebacks, "TAKEN_MOST", 3)
    back = Comebacks()
    back.left_alone("m1", 100)
    assert back.on_trial("m1", "gmx", 101)
    assert not back.on_trial("m2", "gmx", 101)
    back.taken("m1", "gmx")
    assert not back.on_trial("m1", "gmx", 101)
    assert back.on_trial("m1", "web.de", 101)
    assert not back.same_again(rule(), "m1", "web.de", 101), "no rule had paused it"
    back.taken("m1", "web.de"), back.taken("m1", "gmail")
    assert not back.on_trial("m1", "yahoo", 101), "it is well"
    assert not back


def test_a_day_later_it_is_as_good_as_any():
    back = Comebacks()
    back.left_alone("m1", 100)
    assert back.on_trial("m1", "gmx", 100 + FORGET_S - 1)
    assert not back.on_trial("m1", "gmx", 100 + FORGET_S)
    assert not back
