"""The relay against providers that behave like providers, with their real words and the shipped rules; what is
asserted is what they saw."""

import time

import pytest

from tests.internet.behaviour import Cap, Provider
from tests.peers.relay import submit

pytestmark = pytest.mark.peers
MAIL = b"From: shop@shop.test\r\nTo: you@big.test\r\nSubject: order 17\r\n\r\nThank you.\r\n"
EVERYONE = {"mx": "*", "per_source": {"connections": 20, "messages_per_connection": 1000}}


def providers(*entries, everyone=EVERYONE):
    """A policy of these providers; the last one takes the rest."""
    return {"providers": {**{f"p{nth}": entry for nth, entry in enumerate(entries)}, "everyone": everyone}}


def send(one, count, domain="big.test", pause_s=0.0, word="you"):
    """So many messages, each to a recipient of its own."""
    with one.smtp() as smtp:
        for number in range(count):
            submit(smtp, "shop@shop.test", f"{word}{number}@{domain}", MAIL)
            time.sleep(pause_s)


def test_a_cap_on_connections_is_kept_and_learnt(internet, relay):
    """Nobody told us that it bears three: we ask for more, are told no, and ask for less."""
    world = internet(Provider("big", ("big.test",), hosts=2, message_s=0.05, cap=Cap(3)))
    one = relay(internet=world, policy=providers())
    send(one, 150)
    world.wait_for_mail("you", 150)
    facts = world.facts
    borne = [visit for visit in facts.visits.values() if visit.closed - visit.opened > 0.05]
    assert len(facts.refusals) < 40, "it goes on asking for what it was refused"
    late = [one.at for one in facts.refusals]
    middle = (facts.receipts[0].at + facts.receipts[-1].at) / 2
    assert len([at for at in late if at > middle]) <= len([at for at in late if at <= middle])
    assert borne
    assert {receipt.recipients for receipt in facts.receipts} == {(f"you{n}@big.test",) for n in range(150)}
    assert len(facts.receipts) == 150
    one.idle()


def test_a_cap_that_is_known_is_never_passed(internet, relay):
    """Two domains, two hosts, one provider: the limit holds over all of it at every instant."""
    world = internet(Provider("big", ("big.test", "too.test"), hosts=2, message_s=0.03, cap=Cap(3)))
    known = {"mx": "*.big.test", "per_source": {"connections": 3, "messages_per_connection": 10}}
    one = relay(internet=world, policy=providers(known))
    send(one, 60)
    send(one, 60, domain="too.test")
    world.wait_for_mail("you", 120)
    one.idle()
    assert (world.facts.open_most(), world.facts.refusals) == (3, [])
