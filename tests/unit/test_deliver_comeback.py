"""A block in the middle of a session costs no message; and who comes back after a pause knocks with one hand."""

import asyncio
from dataclasses import replace
from itertools import pairwise

import pytest

from relay.core.ledger import Act
from relay.core.outcome import Phase, Trouble, judge
from relay.core.pattern import compile_pattern
from relay.core.replies import ReplyRule, Threshold
from relay.deliver.gates import TRYING_S
from relay.policy.model import Limits, Pool, Provider, Source
from tests.unit.delivery_stage import Receiver, Stage, message, play, rules

BLOCK = "554 5.7.1 192.0.2.1 is on our block list"
DEAD = judge(Trouble.CONNECT_REFUSED, Phase.CONNECT)
HOUR = 3600.0
TWO = (Pool("main", (Source("t1", "192.0.2.1"), Source("t2", "192.0.2.2"))),)
ONE = (Pool("main", (Source("t1"),)),)


def blocked(*acts, for_s=HOUR, pools=ONE, connections=5, **more):
    found = ReplyRule("block list", (compile_pattern("*block list*"),), acts=acts or ((Act.PAUSE_SOURCE, 0.0),),
                      for_s=for_s, where="p.yaml:9", **more)  # fmt: skip
    policy = rules(pools=pools, limits=Limits(connections=connections))
    return replace(policy, providers=(replace(policy.providers[-1], replies=(found,)),))


class Wall:
    """A receiver that says `no` to the verb while it is `up`; `tries` are the times it did."""

    def __init__(self, verb, no=BLOCK, **more):
        self.up, self.tries = True, []
        self.receiver = Receiver(**{verb: lambda line: self.answer(verb, no)}, **more)

    def answer(self, verb, no):
        if self.up:
            self.tries.append(asyncio.get_running_loop().time())
            return no
        return {"BANNER": "220 mx.example.net"}.get(verb, "usual")


def mails(stage, count, site="example.net", word="m", **more):
    return [message(f"{word}{n:04}", f"u{n}@{site}", at=stage.clock(), **more) for n in range(count)]


@pytest.mark.parametrize("verb", ["MAIL", "RCPT", "DATA", "DOT"])
def test_the_message_at_hand_goes_from_another_source(verb):
    async def scenario():
        wall, free = Wall(verb), Receiver()
        async with Stage(blocked(pools=TWO)) as stage:
            first = []

            def receiver(source):
                first.append(source.name)
                return wall.receiver if source.name == first[0] else free

            stage.receivers["example.net"] = receiver
            await stage.accept(*mails(stage, 3))
            await asyncio.sleep(70)
            assert len(free.taken) == 3
            assert stage.told("bounced") == []
            assert {event.detail["rule"] for event in stage.events if event.event == "deferred"} == {
                "block list (p.yaml:9)"}
            stage.quiet()

    play(scenario())


def test_without_another_source_it_goes_when_the_pause_is_over():
    async def scenario():
        wall = Wall("MAIL")
        async with Stage(blocked()) as stage:
            stage.receivers["example.net"] = wall.receiver
            await stage.accept(*mails(stage, 3, stream="marketing"))
            await asyncio.sleep(HOUR / 2)
            assert len(wall.tries) <= 3, "no attempt while it is paused"
            wall.up = False
            await asyncio.sleep(HOUR)
            assert len(stage.told("delivered")) == 3
            assert stage.told("bounced") == []
            stage.quiet()

    play(scenario())


def test_a_rule_that_says_bounce_bounces_and_an_unknown_user_is_the_recipients_affair():
    async def scenario():
        async with Stage(blocked(bounce=True)) as stage:
            stage.receivers["example.net"] = Wall("RCPT").receiver
            await stage.accept(message("m1", at=stage.clock(), sender=""))
            await asyncio.sleep(1)
            assert stage.told("bounced") == [("m1", "bob@example.net")]
        async with Stage(blocked()) as stage:
            stage.receivers["example.net"] = Wall("RCPT", "550 5.1.1 unknown, and soon on our block list").receiver
            await stage.accept(message("m1", at=stage.clock(), sender=""))
            await asyncio.sleep(1)
            assert stage.told("bounced") == [("m1", "bob@example.net")]
            assert stage.actions.paused_sources(), "the pause is another matter"

    play(scenario())


def test_below_its_threshold_a_block_list_costs_no_message_either():
    async def scenario():
        async with Stage(blocked(after=Threshold(5, HOUR), connections=1)) as stage:
            stage.receivers["example.net"] = wall = Wall("MAIL").receiver
            await stage.accept(*mails(stage, 3))
            await asyncio.sleep(1)
            assert stage.told("bounced") == []
            assert len(stage.told("deferred")) == 3
            assert not stage.actions.paused_sources()
            wall.answers.pop("MAIL")
            await asyncio.sleep(70)
            assert len(stage.told("delivered")) == 3

    play(scenario())


@pytest.mark.parametrize("verb", ["BANNER", "MAIL"])
def test_after_each_pause_one_connection_knocks_and_is_refused_alone(verb):
    async def scenario():
        wall = Wall(verb)
        policy = blocked(for_s=100.0, up_to_s=400.0, after=Threshold(3, 20.0))
        async with Stage(policy) as stage:
            stage.receivers["example.net"] = wall.receiver
            await stage.accept(*mails(stage, 50, stream="marketing"))
            await asyncio.sleep(2000)
            begun = [at for at in wall.tries if at < 50]
            assert 3 <= len(begun) <= 5 + 5, begun  # five connections, and what they had sent ahead
            later = [at for at in wall.tries if at >= 50]
            assert len(later) <= 2000 / 400 + 3, later  # one each, after 100, 200, 400, 400 s
            assert all(second - first > 150 for first, second in pairwise(later))
            assert stage.told("bounced") == []
            wall.up = False
            await asyncio.sleep(3 * HOUR)
            assert len(stage.told("delivered")) == 50
            stage.quiet()

    play(scenario())


def test_when_the_first_is_taken_the_window_opens_step_by_step():
    async def scenario():
        wall = Wall("BANNER", slow_s=1.0)
        async with Stage(blocked(for_s=100.0)) as stage:
            stage.receivers["example.net"] = receiver = wall.receiver
            await stage.accept(*mails(stage, 100))
            await asyncio.sleep(50)
            assert receiver.open == 0
            wall.up = False
            open_at = []
            for _ in range(700):
                await asyncio.sleep(0.1)
                if len(receiver.taken) < 90:
                    open_at.append((len(receiver.taken), receiver.open))
            most = {taken: max(count for other, count in open_at if other == taken) for taken, _ in open_at}
            assert most[0] == 1, "several knock before anything was taken"
            assert max(most.values()) == 5, "it never opens again"
            assert all(count <= 1 + taken for taken, count in most.items())
            await asyncio.sleep(60)
            assert len(receiver.taken) == 100
            stage.quiet()

    play(scenario())


def test_an_idle_gate_that_was_forgotten_meanwhile_knocks_with_one_hand_too():
    async def scenario():
        wall = Wall("BANNER", slow_s=1.0)
        async with Stage(blocked(for_s=100.0)) as stage:
            stage.receivers["example.net"] = wall.receiver
            await stage.accept(message("m1", at=stage.clock(), stream="marketing"))
            await asyncio.sleep(1)
            for place in list(stage.queue.waiting):
                del stage.queue.waiting[place]  # an operator cancels it
            await asyncio.sleep(200)
            wall.up = False
            stage.dispatcher.connector.sweep()
            assert not stage.dispatcher.connector.gates.gates
            wall.receiver.open_most = 0
            await stage.accept(*mails(stage, 20, word="n"))
            await asyncio.sleep(0.9)
            assert wall.receiver.open_most == 1
            await asyncio.sleep(30)
            assert len(wall.receiver.taken) == 20
            assert wall.receiver.open_most > 1

    play(scenario())


def test_a_site_that_comes_back_is_knocked_at_once_and_then_opens():
    async def scenario():
        async with Stage(rules(limits=Limits(connections=5))) as stage:
            stage.receivers["example.net"] = DEAD
            await stage.accept(*mails(stage, 40))
            await asyncio.sleep(30)
            begun = len(stage.cycles)
            await asyncio.sleep(45)  # the first retry: its pause of 15 s is over, all 40 are due
            assert len(stage.cycles) == begun + 1
            stage.receivers["example.net"] = receiver = Receiver(slow_s=1.0)
            await asyncio.sleep(105.9)  # the second retry
            while not receiver.wires:
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.5)
            assert receiver.open_most == 1, "the first message is not taken yet"
            await asyncio.sleep(30)
            assert receiver.open_most == 5
            assert len(receiver.taken) == 40
            stage.quiet()

    play(scenario())


def test_one_that_tries_a_site_slowly_keeps_the_others_back_and_says_why():
    async def scenario():
        async with Stage(rules(limits=Limits(connections=5))) as stage:
            stage.receivers["example.net"] = DEAD
            await stage.accept(message("m0", at=stage.clock()))
            await asyncio.sleep(30)
            silent = Receiver(BANNER=None)
            stage.receivers["example.net"] = silent
            await stage.accept(*mails(stage, 9))
            await asyncio.sleep(5)
            assert silent.open == 1
            connector = stage.dispatcher.connector
            [link] = connector.links.values()
            source = ONE[0].sources[0]
            why = connector.gates.why_not(
                source, "example.net", stage.dispatcher.routing.terms(link.route), ONE[0], now=stage.clock()
            )
            assert why is not None
            assert (why.reason, why.until) == ("destination_paused", stage.clock() + TRYING_S)
            assert stage.told("deferred") == [("m0", "bob@example.net")], "they wait for what it finds"
            silent.wires[0].say(b"220 at last\r\n")
            silent.answers["BANNER"] = "220 mx.example.net"
            silent._silent.clear()
            await asyncio.sleep(70)
            assert len(silent.taken) == 10
            stage.quiet()

    play(scenario())


def test_a_provider_in_use_is_not_slowed_for_one_site_of_it_that_comes_back():
    async def scenario():
        big = Provider("big", (compile_pattern("*.big.net"),), Limits(connections=4))
        async with Stage(rules(providers=[big])) as stage:
            stage.hosts |= {"a.net": ("mx1.big.net",), "b.net": ("mx2.big.net",)}
            stage.receivers |= {"a.net": DEAD, "b.net": Receiver(DATA=None)}
            await stage.accept(message("m0", "x@a.net", at=stage.clock()))
            await asyncio.sleep(30)
            await stage.accept(message("b0", "x@b.net", at=stage.clock()))
            await asyncio.sleep(1)
            stage.receivers["a.net"] = back = Receiver(DATA=None)
            await stage.accept(*mails(stage, 9, site="a.net", word="a"))
            await asyncio.sleep(1)
            assert (stage.receivers["b.net"].open, back.open) == (1, 3)

    play(scenario())


def test_a_source_that_fails_again_beside_another_is_left_alone_longer():
    async def scenario():
        async with Stage(rules(pools=TWO, limits=Limits(connections=1))) as stage:
            first, good = [], Receiver(slow_s=20.0)

            def receiver(source):
                first.append(source.name)
                return DEAD if source.name == first[0] else good

            stage.receivers["example.net"] = receiver
            await stage.accept(message("m0", "x@example.net", at=stage.clock()))
            await asyncio.sleep(10)  # its source is left alone for 15 s
            await stage.accept(*mails(stage, 12))
            await asyncio.sleep(120)
            tried = [name for name, _ in stage.cycles].count(first[0])
            assert 3 <= tried <= 5, stage.cycles  # 15, 30, 60 s
            await asyncio.sleep(400)
            assert len(good.taken) == 13

    play(scenario())


def test_a_restart_that_slept_through_the_end_of_a_pause_knocks_with_one_hand():
    async def scenario():
        async with Stage(blocked(for_s=100.0)) as stage:
            stage.receivers["example.net"] = Wall("BANNER").receiver
            await stage.accept(message("m1", at=stage.clock()))
            await asyncio.sleep(5)
            kept = dict(stage.queue.kept)
            assert kept
        await asyncio.sleep(200)
        async with Stage(blocked(for_s=100.0)) as later:
            later.queue.kept, later.receivers["example.net"] = kept, Receiver(slow_s=1.0)
            await later.actions.restore()
            await later.accept(*mails(later, 20))
            await asyncio.sleep(0.9)
            assert later.receivers["example.net"].open_most == 1

    play(scenario())
