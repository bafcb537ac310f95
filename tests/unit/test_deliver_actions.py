"""What replies lead to, on a virtual clock: hours of pause in milliseconds, and what becomes of mail meanwhile."""

import asyncio
from dataclasses import replace
from types import SimpleNamespace

from relay.core.ledger import Act
from relay.core.pattern import compile_pattern
from relay.core.replies import ReplyRule, Threshold
from relay.core.retry import Retry
from relay.deliver import overview
from relay.deliver.sweeper import sweep
from relay.policy.model import Limits, Pool, Provider, Source, Stream
from relay.queue.store import StoreBroken, StoreBusy
from tests.unit.delivery_stage import Receiver, Stage, message, play, rules, subject

FLOOD = "421 4.7.28 an unusual rate of mail"
HOUR, DAY = 3600.0, 86400.0
ONE = (Pool("main", (Source("t1"),)),)
NO_SHAPING = SimpleNamespace(health=SimpleNamespace(paused={}), brakes=SimpleNamespace(trips={}))


def rule(*acts, name="unusual rate", for_s=2 * HOUR, **more):
    acts = tuple(one if isinstance(one, tuple) else (one, 0.0) for one in acts)
    return ReplyRule(name, (compile_pattern("*unusual rate*"),), acts=acts, for_s=for_s, where="p.yaml:9", **more)


def ruled(*replies, streams=(), pools=ONE, limits=None):
    policy = rules(*streams, pools=pools, limits=limits)
    return replace(policy, providers=(replace(policy.providers[-1], replies=replies),))


def says(verb, *first):
    """A receiver that says these to the verb, and then what a good one says."""
    left, good = list(first), "220 mx.example.net" if verb == "BANNER" else "usual"
    return Receiver(**{verb: lambda line: left.pop(0) if left else good})


def fresh(stage, id_, *recipients, **more):
    return message(id_, *recipients, at=stage.clock(), **more)


def many(stage, count, site="example.net", **more):
    return [fresh(stage, f"m{n:05}", f"u{n}@{site}", **more) for n in range(count)]


def test_ten_a_minute_for_half_an_hour():
    async def scenario():
        async with Stage(ruled(rule((Act.SLOW, 10 / 60), for_s=1800.0))) as stage:
            stage.receivers["example.net"] = receiver = says("MAIL", FLOOD)
            await stage.accept(*many(stage, 1000))
            await asyncio.sleep(1)
            before = len(receiver.taken)
            await asyncio.sleep(600)
            assert 95 <= len(receiver.taken) - before <= 102
            await asyncio.sleep(1200)
            assert stage.told("source_resumed") == [("", "")]
            await asyncio.sleep(60)
            assert len(receiver.taken) == 1000
            stage.quiet()

    play(scenario())


def test_a_pause_of_hours_costs_no_attempt_and_no_memory_and_ends_by_itself():
    async def scenario():
        async with Stage(ruled(rule(Act.PAUSE_SOURCE), limits=Limits(connections=1)), backlog=100) as stage:
            stage.receivers["example.net"] = paused = says("MAIL", FLOOD)
            stage.receivers["example.org"] = other = Receiver()
            await stage.accept(*many(stage, 1000, stream="marketing"))
            await asyncio.sleep(60)
            assert (len(paused.taken), paused.open) == (0, 0)
            await stage.accept(*(fresh(stage, f"o{n}", f"u{n}@example.org", stream="marketing") for n in range(50)))
            await asyncio.sleep(5)
            assert len(other.taken) == 50, "what is paused does not fill the stream's backlog"
            assert len(stage.pager.backlog("marketing")) == 0
            assert overview.waiting(stage.dispatcher)[("marketing", "reply_rule")] >= 900
            await asyncio.sleep(HOUR)
            assert len(paused.taken) == 0
            await asyncio.sleep(HOUR)
            assert len(paused.taken) == 1000
            first_attempts = [event for event in stage.events if event.event == "delivered"
                              and event.detail["attempt"] == 1]  # fmt: skip
            assert len(first_attempts) >= 1040
            stage.quiet()

    play(scenario())


def test_an_operator_ends_a_pause_and_mail_goes_at_once():
    async def scenario():
        async with Stage(ruled(rule(Act.PAUSE_SOURCE))) as stage:
            stage.receivers["example.net"] = receiver = says("MAIL", FLOOD)
            await stage.accept(*many(stage, 20))
            await asyncio.sleep(2)
            [name] = stage.actions.ledger.actions
            assert stage.actions.cancel(name) is not None
            assert stage.actions.cancel(name) is None
            await asyncio.sleep(1)
            assert len(receiver.taken) >= 15
            assert [one.detail["ended"] for one in stage.events if one.event == "source_resumed"] == ["operator"]

    play(scenario())


def test_a_clock_that_goes_back_a_day_freezes_nothing():
    async def scenario():
        async with Stage(ruled(rule(Act.PAUSE_SOURCE, for_s=600.0))) as stage:
            stage.receivers["example.net"] = receiver = says("MAIL", FLOOD)
            await stage.accept(*many(stage, 5))
            await asyncio.sleep(60)
            stage.step_s = -DAY
            sweep(stage.dispatcher)
            assert stage.actions.ledger.next_end() <= stage.clock() + 600
            await asyncio.sleep(700)
            assert not stage.actions.ledger.actions
            stage.step_s = 0.0
            sweep(stage.dispatcher)
            await asyncio.sleep(600)
            assert len(receiver.taken) == 5

    play(scenario())


def test_a_second_source_takes_over_when_the_first_is_told_to_go_away():
    async def scenario():
        pools = (Pool("main", (Source("t1"), Source("t2"))),)
        async with Stage(ruled(rule(Act.PAUSE_SOURCE), pools=pools)) as stage:
            receiver = says("BANNER", FLOOD)
            stage.receivers["example.net"] = receiver
            await stage.accept(*many(stage, 10))
            await asyncio.sleep(2)
            assert len(receiver.taken) == 10
            assert stage.actions.paused_sources() == {(stage.cycles[0][0], "everyone")}
            assert stage.told("deferred") == []
            stage.quiet()

    play(scenario())


def test_a_paused_stream_leaves_the_other_alone():
    async def scenario():
        async with Stage(ruled(rule(Act.PAUSE_STREAM)), backlog=50) as stage:
            stage.receivers["example.net"] = receiver = says("MAIL", FLOOD)
            await stage.accept(*many(stage, 200, stream="marketing"))
            await asyncio.sleep(5)
            taken = len(receiver.taken)
            await stage.accept(fresh(stage, "code"))
            await asyncio.sleep(1)
            assert [subject(body) for _, _, body in receiver.taken[taken:]] == ["code"]
            assert overview.shaping(NO_SHAPING, stage.actions)[2] == {("marketing", "everyone")}
            await asyncio.sleep(2 * HOUR)
            assert len(receiver.taken) == 201
            assert stage.actions.paused_streams() == set()

    play(scenario())


def test_mail_expires_while_it_is_paused():
    async def scenario():
        streams = (Stream("transactional", "main", Retry((60.0,), 600.0, HOUR, 0.0)),)
        policy = ruled(rule(Act.PAUSE_SOURCE, for_s=DAY), streams=streams, limits=Limits(connections=1))
        async with Stage(policy) as stage:
            stage.receivers["example.net"] = says("MAIL", FLOOD)
            await stage.accept(*many(stage, 10, sender=""))
            for _ in range(3):
                await asyncio.sleep(HOUR / 2)
                sweep(stage.dispatcher)
            await asyncio.sleep(10)
            assert len(stage.told("expired")) == 10
            assert not stage.queue.waiting

    play(scenario())


def test_the_ledger_outlives_the_process():
    async def scenario():
        async with Stage(ruled(rule(Act.PAUSE_SOURCE))) as stage:
            stage.receivers["example.net"] = says("MAIL", FLOOD)
            await stage.accept(fresh(stage, "m1"))
            stage.queue.refusals = [StoreBusy("not now")]
            await asyncio.sleep(5)
            kept = dict(stage.queue.kept)
            assert len(kept) == 1, "a store that is busy is asked again"
        async with Stage(ruled(rule(Act.PAUSE_SOURCE))) as later:
            later.queue.kept = kept | {"old": {"no": "action"}}
            later.receivers["example.net"] = receiver = Receiver()
            await later.actions.restore()
            await later.accept(fresh(later, "m2"))
            await asyncio.sleep(HOUR)
            assert receiver.taken == []
            assert list(later.queue.kept) == list(kept), "what is no action is taken out"
            await asyncio.sleep(HOUR)
            assert len(receiver.taken) == 1
            assert later.queue.kept == {}

    play(scenario())


def test_a_broken_store_is_not_asked_again():
    async def scenario():
        async with Stage(ruled(rule(Act.PAUSE_SOURCE))) as stage:
            stage.receivers["example.net"] = says("MAIL", FLOOD)
            await stage.accept(fresh(stage, "m1"))
            stage.queue.refusals = [StoreBroken("disk")]
            await asyncio.sleep(5)
            assert stage.queue.kept == {}

    play(scenario())


def test_one_reply_to_many_recipients_counts_once():
    async def scenario():
        three = rule((Act.CONNECTIONS, 1.0), after=Threshold(3, HOUR))
        async with Stage(ruled(three, limits=Limits(connections=3))) as stage:
            stage.receivers["example.net"] = says("RCPT", *["452 4.2.1 unusual rate"] * 12)
            await stage.accept(fresh(stage, "m1", *(f"u{n}@example.net" for n in range(12))))
            await asyncio.sleep(10)
            assert not stage.actions.ledger.actions
            stage.receivers["example.net"].answers["RCPT"] = "452 4.2.1 unusual rate"
            await asyncio.sleep(300)
            [action] = stage.actions.ledger.actions.values()
            assert (action.act, action.value) == (Act.CONNECTIONS, 1.0)
            [gate] = stage.dispatcher.connector.gates.gates.values()
            assert gate.most == 1

    play(scenario())


def test_a_dry_run_only_tells():
    async def scenario():
        async with Stage(ruled(rule(Act.PAUSE_SOURCE, (Act.SLOW, 0.01), observe=True))) as stage:
            stage.receivers["example.net"] = receiver = says("MAIL", FLOOD)
            await stage.accept(*many(stage, 5))
            await asyncio.sleep(120)
            assert len(receiver.taken) == 5
            told = [event for event in stage.events if event.event in {"source_paused", "source_limited"}]
            assert [event.detail["observed"] for event in told] == [True, True]
            assert stage.actions.paused_sources() == set()
            await asyncio.sleep(3 * HOUR)
            assert not stage.actions.ledger.actions

    play(scenario())


def test_a_4xx_that_bounces_and_a_5xx_that_is_tried_again():
    async def scenario():
        gone = ReplyRule("gone", (compile_pattern("*gone*"),), bounce=True, where="p.yaml:1")
        wait = ReplyRule("wait", (compile_pattern("*moment*"),), retry_s=300.0, where="p.yaml:2")
        async with Stage(ruled(gone, wait)) as stage:
            stage.receivers["example.net"] = says("RCPT", "450 4.1.1 gone", "550 5.7.1 a moment", "450 4.2.0 no rule")
            await stage.accept(fresh(stage, "m1", "a@example.net", "b@example.net", "c@example.net", sender=""))
            await asyncio.sleep(1)
            assert stage.told("bounced") == [("m1", "a@example.net")]
            rows = {event.recipient[0]: event.detail for event in stage.events if event.event == "deferred"}
            assert rows["b"]["rule"] == "wait (p.yaml:2)"
            assert 299 < rows["b"]["due_at"] - stage.clock() <= 300
            assert "rule" not in rows["c"]
            await asyncio.sleep(400)
            assert not stage.queue.waiting

    play(scenario())


def test_a_reload_changes_rules_for_connections_that_are_open():
    async def scenario():
        async with Stage(ruled()) as stage:
            stage.receivers["example.net"] = receiver = Receiver()
            await stage.accept(fresh(stage, "m1"))
            await asyncio.sleep(1)
            stage.rules = ruled(rule(Act.PAUSE_SOURCE))
            stage.dispatcher.take_policy()
            receiver.answers["DOT"] = "451 4.7.1 unusual rate"
            await stage.accept(fresh(stage, "m2"))
            await asyncio.sleep(1)
            assert len(receiver.wires) == 1
            assert stage.actions.paused_sources() == {("t1", "everyone")}

    play(scenario())


def test_the_last_provider_speaks_for_everyone():
    async def scenario():
        policy = ruled(rule(Act.PAUSE_SOURCE, name="general"))
        own = rule(Act.PAUSE_STREAM, name="own", codes=frozenset({451}))
        big = Provider("big", (compile_pattern("*.big.example"),), Limits(), replies=(own,))
        async with Stage(replace(policy, providers=(big, *policy.providers))) as stage:
            stage.receivers["a.big.example"] = says("MAIL", FLOOD)
            await stage.accept(fresh(stage, "m1", "u@a.big.example"))
            await asyncio.sleep(1)
            [action] = stage.actions.ledger.actions.values()
            assert (action.rule, action.counted, action.provider) == ("general", "big", "big")

    play(scenario())
