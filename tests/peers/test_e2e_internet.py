"""The relay against providers that behave like providers, with their real words and the shipped rules for them;
what is asserted is what they saw."""

import json
import time
from itertools import pairwise

import pytest

from tests.internet.behaviour import Block, Cap, Greylist, Pace, Provider
from tests.internet.words import said, shipped
from tests.peers.relay import RETRY, submit

pytestmark = pytest.mark.peers
MAIL = b"From: shop@shop.test\r\nTo: you@big.test\r\nSubject: order 17\r\n\r\nThank you.\r\n"
EVERYONE = {"mx": "*", "per_source": {"connections": 20, "messages_per_connection": 1000}}
SERVICE_S = 0.3


def providers(*entries):
    """A policy of these providers; another one takes the rest."""
    return {"providers": {**{f"p{nth}": entry for nth, entry in enumerate(entries)}, "everyone": EVERYONE}}


def send(one, count, domain="big.test", sender="shop@shop.test", word="you"):
    """So many messages, each to a recipient of its own."""
    with one.smtp() as smtp:
        for number in range(count):
            submit(smtp, sender, f"{word}{number}@{domain}", MAIL)


def limits(one):
    """What `relay limits list` shows, as (what, rule)."""
    return [(row["what"], row["rule"]) for row in json.loads(one.run("limits", "list", "--json").stdout)]


def test_a_cap_that_nobody_told_us_is_learnt(internet, relay):
    """It bears three connections. We ask for more, are refused, ask for less, and all mail arrives all the same."""
    world = internet(Provider("big", ("big.test",), hosts=2, message_s=0.05, cap=Cap(3)))
    one = relay(internet=world, policy=providers())
    send(one, 200)
    receipts = world.wait_for_mail("you", 200)
    one.idle()
    assert len(receipts) == 200, "nothing twice"
    early = receipts[100].at
    refused = [refusal.at for refusal in world.facts.refusals]
    assert refused, "more than three were never asked for: the model bears everything"
    assert len([at for at in refused if at > early]) < len([at for at in refused if at <= early])
    assert len(refused) < 50


def test_a_cap_that_is_known_is_never_passed(internet, relay):
    """Two domains, two hosts, one provider: the limit holds over all of it at every instant."""
    world = internet(Provider("big", ("big.test", "too.test"), hosts=2, message_s=0.03, cap=Cap(3)))
    one = relay(internet=world, policy=providers(
        {"mx": "*.big.test", "per_source": {"connections": 3, "messages_per_connection": 10}}))
    send(one, 60)
    send(one, 60, domain="too.test")
    world.wait_for_mail("you", 120)
    one.idle()
    assert (world.facts.open_most(), world.facts.refusals) == (3, [])


def test_connections_it_says_are_too_many_are_given_up(internet, relay):
    """Comcast's own words and the shipped rule for them, its ten connections made two."""
    rule = shipped("comcast", "*.big.test", lasting="1m", connections=6)
    for one in rule["replies"]:
        one["do"] = {"connections": 2, "for": "1m"} if one["name"] == "too many sessions" else one["do"]
    world = internet(Provider("big", ("big.test",), message_s=0.05, cap=Cap(2, said("comcast", "too many sessions"))))
    one = relay(internet=world, policy=providers(rule))
    send(one, 100)
    receipts = world.wait_for_mail("you", 100)
    one.idle()
    limited = one.events("source_limited")[0]["time"] - time.time() + time.monotonic()
    assert [what for what, _ in limits(one)] == ["source m1: 2 connections"]
    after = [refusal for refusal in world.facts.refusals if refusal.at > limited + 1]
    assert after == [], "it goes on asking for what it was refused"
    assert receipts[-1].at > limited + 1, "too quick to prove anything"


def test_a_rate_limit_slows_us_down(internet, relay):
    """Gmail's own words and the shipped rule for them, its 10 a minute made 4 a second."""
    rule = shipped("gmail", "*.big.test", lasting="1m")
    rule["replies"][0]["do"]["slow_to"] = "4/s"
    pace = Pace(5.0, burst=10, reply=said("gmail", "unusual rate"))
    world = internet(Provider("big", ("big.test",), pace=pace))
    one = relay(internet=world, policy=providers(rule))
    send(one, 30)
    receipts = world.wait_for_mail("you", 30)
    one.idle()
    [what], = [limits(one)]
    assert "4/s" in what[0] or "4 a second" in what[0], what
    limited = one.events("source_limited")[0]["time"] - time.time() + time.monotonic()
    times = [receipt.at for receipt in receipts if receipt.at > limited + 0.5]
    gaps = [later - earlier for earlier, later in pairwise(times)]
    assert len(gaps) > 5
    assert min(gaps) > 0.2, gaps
    assert [refusal for refusal in world.facts.refusals if refusal.at > limited + 0.5] == []


def test_greylisted_mail_is_tried_again_and_delivered(internet, relay):
    """Each sender and recipient is sent away once; mail to others goes meanwhile."""
    rule = shipped("everyone else", "*.grey.test", lasting="1s")
    greylist = Greylist(0.8, said("everyone else", "greylisted"))
    world = internet(Provider("grey", ("grey.test",), greylist=greylist), Provider("quick", ("quick.test",)))
    retry = {"after": ["1h"], "then": "1h", "expire": "2h"}
    one = relay(internet=world, policy=providers(rule), stream={"retry": retry})
    send(one, 10, domain="grey.test")
    send(one, 10, domain="quick.test", word="other")
    quick, grey = world.wait_for_mail("other", 10), world.wait_for_mail("you", 10)
    one.idle()
    facts = world.facts
    assert quick[-1].at < grey[0].at
    assert [refusal.phase for refusal in facts.refusals] == ["rcpt"] * 10
    assert min(receipt.at for receipt in grey) - min(refusal.at for refusal in facts.refusals) >= 0.8
    assert [row["attempt"] for row in one.events("delivered") if row["recipient"].startswith("you")] == [2] * 10


def test_a_block_lifts_and_mail_flows_by_itself(internet, relay):
    """GMX turns everyone from our address away for a while: nothing bounces, the rest of the world gets its mail,
    and when the block is over all of it goes without anybody's help."""
    block = Block(after=5, for_s=4.0, reply=said("gmx and web.de", "block list"))
    world = internet(Provider("gmx", ("gmx.test",), block=block), Provider("quick", ("quick.test",)))
    one = relay(internet=world, policy=providers(shipped("gmx and web.de", "*.gmx.test", lasting="1s")))
    send(one, 25, domain="gmx.test")
    world.wait(lambda facts: facts.refusals, "the block")
    send(one, 5, domain="quick.test", word="other")
    others = world.wait_for_mail("other", 5)
    receipts = world.wait_for_mail("you", 25)
    one.idle()
    facts = world.facts
    began, lifted = facts.refusals[0].at, facts.refusals[0].at + 4.0
    assert others[-1].at < lifted
    under_way_s = 1.0  # what was begun before the block may end in it
    assert [receipt.at for receipt in receipts if began + under_way_s < receipt.at < lifted - 0.1] == []
    assert receipts[-1].at < lifted + 5
    assert one.events("bounced", "expired") == []
    knocks = [refusal for refusal in facts.refusals if refusal.at > began + 0.5]
    assert len(knocks) <= 4, "more than one after each pause of a second"


def test_a_block_in_the_middle_of_a_session_bounces_nothing_and_the_other_source_takes_over(internet, relay, place):
    """GMX begins to refuse one of our addresses for good while messages are on their way, in the words it has for
    that: what it refused at MAIL goes from the other address, and the first is paused."""
    words = said("gmx and web.de", "block list")
    sources = [{"name": f"m{nth}", "address": place.address(60 + nth)} for nth in (1, 2)]
    block = Block(after=5, for_s=300.0, reply=words, inside=words, only=sources[0]["address"])
    world = internet(Provider("gmx", ("gmx.test",), message_s=0.05, block=block))
    one = relay(internet=world, policy={
        **providers(shipped("gmx and web.de", "*.gmx.test", lasting="1m", connections=2)),
        "pools": {"main": {"sources": sources}}})
    send(one, 30, domain="gmx.test")
    receipts = world.wait_for_mail("you", 30)
    one.idle()
    assert "mail" in {refusal.phase for refusal in world.facts.refusals}, "nothing was refused in a session"
    assert [row["code"] for row in one.events("deferred")] == [554] * len(one.events("deferred"))
    assert one.events("deferred")[0]["rule"].startswith("block list (")
    assert one.events("bounced", "expired") == []
    assert {receipt.client for receipt in receipts} == {source["address"] for source in sources}
    assert len(receipts) == 30, "nothing twice"
    assert [what for what, _ in limits(one)] == [f"source {one.events('source_paused')[0]['source']}: paused"]


def test_after_a_pause_one_connection_knocks_and_the_others_follow_what_is_taken(internet, relay):
    """Four connections are turned away; a second later one looks, and only when its message is taken a second one
    comes, then a third."""
    world = internet(Provider("gmx", ("gmx.test",), message_s=0.2,
                              block=Block(after=4, for_s=3.0, reply=said("gmx and web.de", "block list"))))
    one = relay(internet=world, policy=providers(shipped("gmx and web.de", "*.gmx.test", lasting="2s")))
    send(one, 60, domain="gmx.test")
    receipts = world.wait_for_mail("you", 60)
    one.idle()
    facts = world.facts
    began = facts.refusals[0].at
    later = [visit for visit in facts.visits.values() if visit.opened > began + 1.5]
    late = [refusal for refusal in facts.refusals if refusal.at > began + 1.5]
    assert len(late) == 1, "the first pause of two seconds ends in the block, which has one more"
    lifted = sorted(visit.opened for visit in later)[1:]
    taken = sorted(receipt.answered for receipt in receipts if receipt.answered > lifted[0])
    for nth, opened in enumerate(lifted[1:4]):
        assert opened > taken[nth], f"connection {nth + 2} came before {nth + 1} messages were taken"
    assert facts.open_most() == 4
    assert one.events("bounced", "expired") == []


def test_both_streams_share_a_provider_and_never_pass_its_limit(internet, relay):
    """Five connections for hundreds of domains that one provider hosts; it takes its time. With half of them kept
    for the codes, a code finds one free: it never waits for the end of a newsletter."""
    hosted = tuple(f"d{number}.test" for number in range(50))
    world = internet(Provider("shared", hosted, hosts=2, message_s=SERVICE_S, cap=Cap(5)))
    streams = {
        "codes": {"pool": "main", "priority": 100, "reserve": "50%", "retry": dict(RETRY)},
        "news": {"pool": "main", "retry": dict(RETRY, after=["1s"])},
    }
    routes = [{"name": "news", "when": {"sender": "news@*"}, "stream": "news"}, {"name": "codes", "stream": "codes"}]
    shared = {"mx": "*.shared.test", "per_source": {"connections": 5, "messages_per_connection": 1000}}
    one = relay(internet=world, policy={**providers(shared), "streams": streams, "routes": routes})
    accepted = {}
    with one.smtp() as smtp:
        for number in range(150):
            submit(smtp, "news@shop.test", f"news{number}@{hosted[number % 50]}", MAIL)
        world.wait_for_mail("news", 10)
        for number in range(20):
            to = f"code{number}@{hosted[number]}"
            submit(smtp, "shop@shop.test", to, MAIL)
            accepted[to] = time.monotonic()
            time.sleep(SERVICE_S)  # as many at once as are kept: two and a half, and one is under way at most
    codes = world.wait_for_mail("code", 20)
    late = {code.recipients[0]: code.at - accepted[code.recipients[0]] for code in codes}
    assert max(late.values()) < SERVICE_S * 0.8, late
    facts = world.facts
    assert codes[-1].at < facts.to("news")[-1].at or len(facts.to("news")) < 150, "the flood was over too soon"
    assert (facts.open_most(), facts.refusals) == (5, [])
    world.wait_for_mail("news", 150)
    one.idle()
    assert (world.facts.open_most(), world.facts.refusals) == (5, [])
