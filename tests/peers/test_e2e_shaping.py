"""Mail that is kept back for its own good: brakes on a bad campaign, addresses that are warmed up."""

import datetime
import json
from copy import deepcopy

import pytest

from tests.peers.receiver import always, later
from tests.peers.relay import RETRY, submit

pytestmark = pytest.mark.peers
DOMAIN = "r10.receivers.test"
NO_SUCH_USER = b"550 5.1.1 no such user\r\n"
ROUTES = [
    {"name": "newsletters", "when": {"header": {"List-Unsubscribe": "present"}}, "stream": "marketing",
     "tag": {"campaign": "{header:X-Campaign}"}},
    {"name": "everything else", "stream": "transactional"},
]  # fmt: skip


def streams(brakes):
    return {
        "transactional": {"pool": "main", "priority": 100, "retry": RETRY},
        "marketing": {"pool": "main", "retry": {**deepcopy(RETRY), "expire": "10m"}, "brakes": brakes},
    }


def newsletter(campaign):
    fields = ["From: news@shop.test", "List-Unsubscribe: <mailto:u@shop.test>", f"X-Campaign: {campaign}"]
    return "\r\n".join([*fields, "", "Hi", ""]).encode()


CODE = b"From: login@shop.test\r\nSubject: your code\r\n\r\n123456\r\n"


def brakes_of(one):
    return json.loads(one.run("brakes", "list", "--json").stdout)


def test_a_campaign_that_bounces_is_held_and_nothing_else_is(relay, receive):
    bad = {f"rcpt autumn{number}@{DOMAIN}": always(NO_SUCH_USER) for number in range(0, 300, 10)}
    server = receive(10, {**bad, "dot": always(later(0.02, b"250 2.0.0 Ok\r\n"))})
    brake = {"when": "bounce_rate > 5%", "over": "1h", "at_least": 40, "by": "campaign", "do": "hold"}
    one = relay(policy={"streams": streams([brake]), "routes": ROUTES}, provider={"connections": 1})
    with one.smtp() as smtp:
        for number in range(75):  # fewer are left than the brake would count again
            submit(smtp, "", f"autumn{number}@{DOMAIN}", newsletter("autumn"))
    one.wait(lambda: one.events("stream_paused"), "the brake")
    [tripped] = one.events("stream_paused")
    assert (tripped["stream"], tripped["by"], tripped["tags"]) == ("marketing", "brake", {"campaign": "autumn"})
    one.wait(lambda: one.total("relay_queue_recipients", 'state="held"') > 0, "held mail")
    one.wait(lambda: one.total("relay_queue_recipients", 'state="queued"') == 0, "nothing that still goes")
    assert one.total("relay_brakes", 'stream="marketing"') == 1

    late = one.send("", f"autumn500@{DOMAIN}", newsletter("autumn"))  # new mail of the campaign is held at once
    others = [one.send("", f"you@{DOMAIN}", newsletter("spring")), one.send("", f"you@{DOMAIN}", CODE)]
    for message in others:
        assert one.ends(message)[-1][0] == "delivered"
    assert one.summary(late) == [("accepted", "", None)]
    explained = one.run("explain", late).stdout.decode()
    assert "campaign autumn of stream marketing: bounce_rate > 5%" in explained
    assert "all.yaml:" in explained

    one.stop()
    one.start()  # what is in force outlives a restart
    [brake] = brakes_of(one)
    assert brake["id"] == tripped["id"]
    later_one = one.send("", f"autumn501@{DOMAIN}", newsletter("autumn"))
    assert {row["state"] for row in one.waiting()} == {"held"}
    held, seen = len(one.waiting()), len(server.accepted)
    said = one.run("brakes", "release", brake["id"]).stdout.decode()
    assert f"{held} held recipients go on" in said
    for message in (late, later_one):
        assert one.ends(message)[-1][0] == "delivered"
    one.idle()
    assert len(server.accepted) > seen + held * 0.8  # a tenth of the addresses are still wrong
    assert brakes_of(one) == []


def test_an_operator_pauses_a_stream_and_the_other_goes_on(relay, receive):
    server = receive(10)
    one = relay(policy={"streams": streams([]), "routes": ROUTES})
    one.run("stream", "pause", "marketing")
    waits = one.send("", f"you@{DOMAIN}", newsletter("spring"))
    code = one.send("", f"you@{DOMAIN}", CODE)
    assert one.ends(code)[-1][0] == "delivered"
    assert "an operator paused stream marketing" in one.run("explain", waits).stdout.decode()
    one.stop()
    one.start()
    one.wait(lambda: one.total("relay_limits_waiting", 'reason="brake"') == 1, "a message that waits for it")
    assert len(server.accepted) == 1
    one.run("stream", "resume", "marketing")
    assert one.ends(waits)[-1][0] == "delivered"
    one.run("stream", "pause", "marketing", "--for", "2s")
    again = one.send("", f"you@{DOMAIN}", newsletter("spring"))
    assert one.ends(again)[-1][0] == "delivered"  # the pause ends by itself
    assert [row["event"] for row in one.events("stream_paused", "stream_resumed")] == [
        "stream_paused", "stream_resumed", "stream_paused", "stream_resumed"
    ]  # fmt: skip


def test_a_cold_address_sends_its_allowance_and_a_warm_one_the_rest(relay, receive, place):
    server = receive(10)
    cold, warm = place.address(201), place.address(202)
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    plan = {"started": today, "per_hour": 5}
    sources = [{"name": "cold", "address": cold, "warmup": plan, "weight": 1000}, {"name": "warm", "address": warm}]
    one = relay(policy={"pools": {"main": {"sources": sources}}})
    sent = [one.send("", f"you{number}@{DOMAIN}", CODE) for number in range(20)]
    for message in sent:
        assert one.ends(message)[-1][0] == "delivered"
    leaving = [server.seen.peers[message.connection] for message in server.accepted]
    assert leaving.count(cold) == 5
    assert leaving.count(warm) == 15
    [first, _] = json.loads(one.run("source", "list", "--json").stdout)
    assert (first["day"], first["allowance"], first["sent"]) == (1, 5, {"everyone": 5})

    one.stop()
    one.start()  # the hour is not over because the relay was restarted
    assert one.ends(one.send("", f"you@{DOMAIN}", CODE))[-1][0] == "delivered"
    assert server.seen.peers[server.accepted[-1].connection] == warm


def test_without_a_warm_address_mail_waits_and_says_why(relay, receive, place):
    server = receive(10)
    plan = {"started": datetime.datetime.now(datetime.UTC).date().isoformat(), "per_hour": 2}
    sources = [{"name": "cold", "address": place.address(203), "warmup": plan}]
    one = relay(policy={"pools": {"main": {"sources": sources}}}, stream={"retry": {**RETRY, "expire": "2h"}})
    sent = [one.send("", f"you{number}@{DOMAIN}", CODE) for number in range(3)]
    server.wait_accepted(2)
    one.wait(lambda: len(one.waiting()) == 1, "one that waits")
    [row] = one.waiting()
    explained = one.run("explain", row["message"]).stdout.decode()
    assert "source cold warms up (day 1): its 2 messages an hour to everyone are sent" in explained
    assert row["message"] in sent
    assert one.total("relay_limits_waiting", 'reason="warmup"') == 1
