"""Gates that several share: named limits, sources with one address, the machine; with the whole dispatcher."""

import asyncio
from dataclasses import replace

from relay.core.pattern import compile_pattern
from relay.core.retry import Retry
from relay.deliver import overview
from relay.policy.limits import NamedLimit
from relay.policy.model import Limits, Pool, Provider, Source, Stream
from tests.unit.delivery_stage import Receiver, Stage, message, play, rules

RETRY = Retry((60.0, 120.0), 600.0, 3600.0, 0.0)


def fresh(stage: Stage, id_: str, address: str, **more):
    return message(id_, address, at=stage.clock(), **more)


def test_a_named_limit_holds_over_two_providers_and_its_reason_is_named():
    async def scenario():
        gmail = Provider("gmail", (compile_pattern("mx.a.net"),), Limits(connections=5), shared=("few",))
        yahoo = Provider("yahoo", (compile_pattern("mx.b.net"),), Limits(connections=5), shared=("few",))
        policy = replace(rules(providers=[gmail, yahoo]), limits={"few": NamedLimit("few", connections=2)})
        async with Stage(policy) as stage:
            stage.receivers |= {"a.net": Receiver(DATA=None), "b.net": Receiver(DATA=None)}  # they never answer DATA
            for number in range(6):
                await stage.accept(fresh(stage, f"a{number}", "x@a.net"), fresh(stage, f"b{number}", "x@b.net"))
            await asyncio.sleep(2)
            assert stage.receivers["a.net"].open + stage.receivers["b.net"].open == 2
            assert ("transactional", "limit_connections") in overview.waiting(stage.dispatcher)
            assert stage.dispatcher.connector.gates.named["few"].open == 2
            stage.rules = replace(stage.rules, limits={"few": NamedLimit("few", connections=4)})
            stage.dispatcher.take_policy()
            await asyncio.sleep(2)
            assert stage.receivers["a.net"].open + stage.receivers["b.net"].open == 4

    play(scenario())


def test_pools_whose_sources_share_an_address_share_what_a_destination_bears():
    async def scenario():
        streams = [
            Stream("transactional", "codes", RETRY, priority=100, reserve=0.5),
            Stream("marketing", "news", RETRY),
        ]  # fmt: skip
        pools = [Pool("codes", (Source("t1", "192.0.2.1"),)), Pool("news", (Source("m1", "192.0.2.1"),))]
        async with Stage(rules(*streams, pools=pools, limits=Limits(connections=4))) as stage:
            stage.receivers["a.net"] = receiver = Receiver(DATA=None)
            await stage.accept(*(fresh(stage, f"n{n}", "x@a.net", stream="marketing", pool="news") for n in range(9)))
            await asyncio.sleep(1)
            assert receiver.open == 2
            assert overview.waiting(stage.dispatcher) == {("marketing", "reserved"): 7}
            await asyncio.sleep(0)
            await stage.accept(*(fresh(stage, f"c{n}", "x@a.net", pool="codes") for n in range(9)))
            await asyncio.sleep(1)
            assert receiver.open == 4

    play(scenario())


def test_a_source_of_another_address_has_limits_and_reserves_of_its_own():
    async def scenario():
        streams = [
            Stream("transactional", "codes", RETRY, priority=100, reserve=0.5),
            Stream("marketing", "news", RETRY),
        ]  # fmt: skip
        pools = [Pool("codes", (Source("t1", "192.0.2.1"),)), Pool("news", (Source("m1", "192.0.2.2"),))]
        async with Stage(rules(*streams, pools=pools, limits=Limits(connections=4))) as stage:
            stage.receivers["a.net"] = receiver = Receiver(DATA=None)
            await stage.accept(*(fresh(stage, f"n{n}", "x@a.net", stream="marketing", pool="news") for n in range(9)))
            await asyncio.sleep(1)
            assert receiver.open == 4

    play(scenario())


def test_the_machine_keeps_connections_for_codes_too():
    async def scenario():
        streams = [
            Stream("transactional", "main", RETRY, priority=100, reserve=0.5), Stream("marketing", "main", RETRY),
        ]  # fmt: skip
        async with Stage(rules(*streams), connections=4) as stage:
            stage.receivers |= {f"d{n}.net": Receiver(DATA=None) for n in range(9)} | {"code.net": Receiver()}
            await stage.accept(*(fresh(stage, f"n{n}", f"x@d{n}.net", stream="marketing") for n in range(9)))
            await asyncio.sleep(1)
            assert stage.dispatcher.connector.open == 2
            assert overview.waiting(stage.dispatcher) == {("marketing", "machine_reserved"): 7}
            await stage.accept(fresh(stage, "code", "x@code.net"))
            await asyncio.sleep(1)
            assert stage.told("delivered") == [("code", "x@code.net")]

    play(scenario())
