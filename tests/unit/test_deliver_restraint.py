"""Brakes, warm-up and paused sources in the dispatcher, on a virtual clock."""

import asyncio
from collections import Counter
from dataclasses import replace
from types import SimpleNamespace

from relay.core.outcome import Phase, Trouble, judge
from relay.core.warmup import Warmup
from relay.deliver import overview
from relay.deliver.shaping import Shaping
from relay.policy.model import Limits, Pool, Source
from tests.unit.delivery_stage import NOON, Receiver, Stage, message, play, rules

PLAN = Warmup(NOON - NOON % 86400, per_hour=5)


def restrained(stage):
    """The Shaping of a stage, wired as a relay does it."""

    async def kept(*_):
        return {}

    store = SimpleNamespace(recall=kept, remember=kept)
    shaping = Shaping(
        store, stage.settler.bus, policy=lambda: stage.rules, clock=stage.clock, changed=stage.reread,
        wake=stage.dispatcher.serve_all,
    )  # fmt: skip
    shaping.left_alone = stage.actions.comebacks.left_alone
    stage.dispatcher.restraint = stage.dispatcher.connector.restraint = shaping
    return shaping


def with_sources(*sources, **more):
    policy = rules(**more)
    return replace(policy, pools={name: Pool(name, sources) for name in policy.pools})


def fresh(stage, id_, *recipients, **more):
    return message(id_, *recipients, at=stage.clock(), **more)


def sources_of(stage):
    return Counter(event.detail["source"] for event in stage.events if event.event == "delivered")


def test_what_is_above_the_allowance_leaves_from_the_warm_source():
    async def scenario():
        cold, warm = Source("cold", weight=1000, warmup=PLAN), Source("warm")
        async with Stage(with_sources(cold, warm, limits=Limits(connections=1))) as stage:
            shaping = restrained(stage)
            stage.receivers["example.net"] = Receiver()
            await stage.accept(*(fresh(stage, f"m{n:03}") for n in range(20)))
            await asyncio.sleep(30)
            assert sources_of(stage) == {"cold": 5, "warm": 15}
            assert shaping.warmups.sent("cold", stage.clock()) == {stage.events[-1].detail["provider"]: 5}
            stage.quiet()

    play(scenario())


def test_without_a_warm_source_the_rest_waits_for_the_next_hour():
    async def scenario():
        async with Stage(with_sources(Source("cold", warmup=PLAN))) as stage:
            restrained(stage)
            stage.receivers["example.net"] = Receiver()
            await stage.accept(*(fresh(stage, f"m{n:03}") for n in range(12)))
            await asyncio.sleep(60)
            assert len(stage.told("delivered")) == 5
            assert overview.waiting(stage.dispatcher) == {("transactional", "warmup"): 7}
            await asyncio.sleep(3700)
            assert len(stage.told("delivered")) == 10
            await asyncio.sleep(3700)
            assert len(stage.told("delivered")) == 12
            assert stage.told("deferred") == []
            stage.quiet()

    play(scenario())


def test_a_paused_stream_waits_and_the_other_goes_on():
    async def scenario():
        async with Stage(rules(limits=Limits(connections=1))) as stage:
            shaping = restrained(stage)
            stage.receivers["example.net"] = Receiver()
            await shaping.pause("marketing", 0)
            await stage.accept(*(fresh(stage, f"n{n:03}", stream="marketing") for n in range(5)))
            await stage.accept(*(fresh(stage, f"t{n:03}") for n in range(5)))
            await asyncio.sleep(60)
            assert {name for name, _ in stage.told("delivered")} == {f"t{n:03}" for n in range(5)}
            assert overview.waiting(stage.dispatcher) == {("marketing", "brake"): 5}
            assert await shaping.resume("marketing") == 1
            await asyncio.sleep(10)
            assert len(stage.told("delivered")) == 10
            stage.quiet()

    play(scenario())


def test_a_pause_stops_an_open_connection_at_its_next_message():
    async def scenario():
        async with Stage(rules(limits=Limits(connections=1))) as stage:
            shaping = restrained(stage)
            stage.receivers["example.net"] = Receiver(slow_s=1)
            await stage.accept(*(fresh(stage, f"n{n:03}", stream="marketing") for n in range(20)))
            await asyncio.sleep(5.5)
            await shaping.pause("marketing", 30)
            before = len(stage.told("delivered"))
            await asyncio.sleep(20)
            assert len(stage.told("delivered")) <= before + 2  # what was under way, and what was sent behind it
            await asyncio.sleep(10)
            await shaping.tick()
            await asyncio.sleep(30)
            assert len(stage.told("delivered")) == 20
            stage.quiet()

    play(scenario())


def test_an_address_that_is_gone_is_left_out_for_every_site():
    async def scenario():
        gone, here = Source("gone", weight=1000), Source("here")
        fault = judge(Trouble.SOURCE_UNUSABLE, Phase.CONNECT, "source gone: no such address")
        async with Stage(with_sources(gone, here)) as stage:
            restrained(stage)
            good = Receiver()
            stage.receivers = dict.fromkeys(
                ("example.net", "example.org"), lambda source: fault if source.name == "gone" else good
            )
            await stage.accept(fresh(stage, "m1", "a@example.net"))
            await asyncio.sleep(2)
            await stage.accept(fresh(stage, "m2", "a@example.org"))
            await asyncio.sleep(2)
            assert sources_of(stage) == {"here": 2}
            assert [name for name, _ in stage.cycles].count("gone") == 1  # told once, for all sites
            [paused] = [event for event in stage.events if event.event == "source_paused"]
            assert paused.detail["source"] == "gone"
            assert stage.told("deferred") == []

    play(scenario())


def test_a_source_that_was_left_alone_begins_anew_with_one_connection_everywhere():
    async def scenario():
        async with Stage(with_sources(Source("t1"), limits=Limits(connections=5))) as stage:
            shaping = restrained(stage)
            stage.receivers = {"example.net": Receiver(slow_s=1), "example.org": Receiver(slow_s=1)}
            shaping.unusable("t1", "no such address", stage.clock())
            for site in stage.receivers:
                await stage.accept(*(fresh(stage, f"{site}{n:03}", f"a@{site}") for n in range(30)))
            await asyncio.sleep(30)
            assert all(receiver.open_most == 0 for receiver in stage.receivers.values())
            await shaping.tick()
            await asyncio.sleep(0.5)
            assert [receiver.open_most for receiver in stage.receivers.values()] == [1, 1]
            await asyncio.sleep(20)
            assert [receiver.open_most for receiver in stage.receivers.values()] == [5, 5]
            assert len(stage.told("delivered")) == 60
            stage.quiet()

    play(scenario())
