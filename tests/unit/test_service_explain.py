"""Why a message waits: one reason, the rule behind it, until when."""

import asyncio
from dataclasses import replace

import pytest

from relay.core.ledger import Act
from relay.core.outcome import Phase, Trouble, judge
from relay.core.replies import ReplyRule
from relay.deliver.shaping import Shaping
from relay.policy.model import Limits
from relay.queue.store import Row
from relay.service.explain import explain_domain, explain_message
from tests.unit.delivery_stage import Receiver, Stage, message, play, rules


class Asked:
    """What `explain` wants to know of a relay, on the delivery stage."""

    def __init__(self, stage: Stage) -> None:
        self.stage, self.store = stage, self
        self.dispatcher, self.routing = stage.dispatcher, stage.dispatcher.routing
        self.actions, self.clock = stage.actions, stage.clock
        self.rows: list[Row] = []
        self.shaping = Shaping(
            self, stage.settler.bus, policy=self.policy, clock=stage.clock, changed=lambda: None, wake=lambda: None
        )

    def policy(self):
        return self.stage.rules

    async def find(self, which, limit):
        return [row for row in self.rows if row.message == which.message][:limit]


def row(state="queued", due_at=0.0, **more) -> Row:
    return Row("m1", 0, "bob@example.net", "shop@example.com", more.pop("stream", "transactional"), "all", state, 0.0,
               due_at, **({"attempts": 0, "size": 9} | more))  # fmt: skip


def explained(*rows, receiver=None, limits=None, mail=0, domain="", replies=()):
    async def scenario():
        policy = rules(limits=limits)
        policy = replace(policy, providers=(replace(policy.providers[-1], replies=replies),))
        async with Stage(policy) as stage:
            stage.receivers["example.net"] = receiver or Receiver()
            await stage.accept(*(message(f"w{n}", at=stage.clock(), sender="") for n in range(mail)))
            await asyncio.sleep(2)
            asked = Asked(stage)
            asked.rows = list(rows)
            return await (explain_domain(asked, domain) if domain else explain_message(asked, "m1"))

    return play(scenario())


def test_a_message_that_is_gone_has_no_explanation():
    assert explained() is None


def test_held_is_held():
    found = explained(row("held", last="450 later"))
    assert found.reason == "held until an operator releases it"
    assert found.detail == ("last attempt: 450 later",)


def test_a_retry_is_waited_for_until_it_is_due():
    found = explained(row(due_at=9e9, attempts=2))
    assert (found.reason, found.until) == ("attempt 2 failed, the next is due", 9e9)


def test_each_further_recipient_has_a_line():
    found = explained(row("held"), row(due_at=9e9))
    assert found.detail[-1] == "bob@example.net: not due yet"


def test_a_destination_that_does_not_answer_is_left_alone_and_says_why():
    dead = judge(Trouble.CONNECT_TIMEOUT, Phase.CONNECT)
    found = explained(row(), receiver=dead, mail=1)
    assert "left alone after trouble: the host did not answer" in found.reason
    assert found.until is not None


def test_all_connections_in_use_is_a_reason_without_an_end():
    busy = Receiver(slow_s=60)
    found = explained(row(), receiver=busy, limits=Limits(connections=1), mail=3)
    assert found.reason == "all 1 connections that t1 may have there are in use"
    assert found.until is None
    assert any("source t1: 1 of 1 connections" in line for line in found.detail)


def test_a_message_rate_says_when_the_next_may_go():
    limits = Limits(connections=2, messages_per_second=0.1)
    found = explained(domain="example.net", limits=limits, mail=3)
    assert found.reason == "t1 may send only 0.1 messages a second there"
    assert found.until is not None


@pytest.mark.parametrize(("act", "value", "says"), [
    (Act.PAUSE_SOURCE, 0.0, "source t1: paused"),
    (Act.PAUSE_STREAM, 0.0, "stream transactional: paused"),
    (Act.SLOW, 1 / 60, "source t1: 1/min"),
    (Act.SLOW, 1 / 86400, "source t1: 1/d"),
    (Act.CONNECTIONS, 2.0, "source t1: 2 connections"),
])  # fmt: skip
def test_what_a_reply_led_to_is_told_with_rule_and_reply(act, value, says):
    rule = ReplyRule("flood", codes=frozenset({421}), acts=((act, value),), for_s=3600.0, where="p.yaml:9")
    flood = Receiver(MAIL="421 4.7.28 too much")
    for asked in ({"domain": "example.net"}, {}):
        found = explained(row(), receiver=flood, replies=(rule,), mail=1, **asked)
        assert found.reason == f"{says} towards site example.net by reply rule flood (p.yaml:9)"
        assert found.rule == "p.yaml:9"
        assert found.until is not None
        assert found.detail[0] == "the reply was: 421 4.7.28 too much"
        assert found.detail[1].startswith("to end it now: relay limits cancel ")


def test_a_pause_of_another_stream_is_no_reason():
    rule = ReplyRule("flood", codes=frozenset({421}), acts=((Act.PAUSE_STREAM, 0.0),), for_s=9.0, where="p.yaml:9")
    flood = Receiver(MAIL="421 4.7.28 too much")
    found = explained(row(stream="marketing"), receiver=flood, replies=(rule,), mail=1)
    assert found.reason == "nothing limits it now"


def test_nothing_limits_a_destination_nobody_wrote_to():
    found = explained(domain="example.net")
    assert found.reason == "nothing limits it now"
    assert "site example.net, provider everyone" in found.detail[0]


def test_a_domain_that_does_not_exist_says_so():
    async def scenario():
        async with Stage(rules()) as stage:
            stage.receivers["gmial.com"] = judge(Trouble.NO_DOMAIN, Phase.RESOLVE)
            found = await explain_domain(Asked(stage), "gmial.com")
            assert found.reason == "the domain does not exist"
            assert await explain_domain(Asked(stage), "m1") is None

    play(scenario())


def test_a_source_that_comes_back_from_a_pause_has_one_connection_and_says_why():
    blocked = ReplyRule("block", codes=frozenset({554}), acts=((Act.PAUSE_SOURCE, 0.0),), for_s=1.0, where="p.yaml:9")
    doors = ["554 blocked"] * 5
    receiver = Receiver(BANNER=lambda line: doors.pop() if doors else "220 mx.example.net", DATA=None)
    found = explained(receiver=receiver, mail=9, domain="example.net", replies=(blocked,))
    text = f"{found}"
    assert "1 of 1 connections, 1 deliveries under way" in text
    assert "after a pause, more as messages are taken" in text
