"""What a provider's words lead to: a receiver that answers as providers do, and what it sees of us after."""

import json
from itertools import pairwise

import pytest

from tests.peers.receiver import always

pytestmark = pytest.mark.peers

SENDER, YOU = "shop@shop.test", "you@r10.receivers.test"
MAIL = b"From: shop@shop.test\r\nTo: you@r10.receivers.test\r\nSubject: order 17\r\n\r\nThank you.\r\n"
UNUSUAL = (b"421-4.7.28 [192.0.2.1] Our system has detected an unusual rate of\r\n"
           b"421 4.7.28 unsolicited mail. gsmtp\r\n")  # fmt: skip


def provider(*rules, mx="*", **limits):
    """A policy of one provider with these reply rules."""
    limits = {"connections": 10, "messages_per_connection": 100, **limits}
    return {"providers": {"everyone": {"mx": mx, "per_source": limits, "replies": list(rules)}}}


def rule(do, name="a rule", sample="421-4.7.28 Our system has detected an unusual rate", **more):
    return {"name": name, "match": "~unusual rate", "sample": sample, "do": do, **more}


def limits(one):
    """What `relay limits list` shows."""
    return json.loads(one.run("limits", "list", "--json").stdout)


def test_unusual_rate_slows_us_down(relay, receive):
    server = receive(10, {"mail": [UNUSUAL]})
    one = relay(policy=provider(rule({"slow_to": "2/s", "for": "1m"})))
    one.send(SENDER, YOU, MAIL)
    one.wait(lambda: one.events("source_limited"), "the slowing")
    for _ in range(6):
        one.send(SENDER, YOU, MAIL)
    times = [message.at for message in server.wait_accepted(7)]
    gaps = [later - earlier for earlier, later in pairwise(times[1:])]
    assert min(gaps) > 0.45, gaps


def test_a_pause_holds_mail_back_and_ends_by_itself(relay, receive):
    server = receive(10, {"mail": [UNUSUAL]})
    one = relay(policy=provider(rule({"pause": "source", "for": "6s"})))
    one.send(SENDER, YOU, MAIL)
    paused = one.wait(lambda: one.events("source_paused"), "the pause")[0]
    messages = [one.send(SENDER, YOU, MAIL) for _ in range(5)]
    assert (paused["rule"], paused["by"], paused["what"]) == ("a rule", "reply rule", "pause")
    assert paused["where"].startswith("all.yaml:")
    assert (paused["source"], paused["destination"]) == ("m1", "site mx.r10.receivers.test")
    assert "unusual rate of unsolicited mail" in paused["seen"]
    one.wait(lambda: one.total("relay_limits_waiting", 'reason="reply_rule"') >= 5, "mail that waits for the pause")
    assert one.total("relay_source_paused", 'provider="everyone",source="m1"') == 1
    assert len(server.seen.connections) == 1
    explained = json.loads(one.run("explain", messages[0], "--json").stdout)
    assert "paused towards site mx.r10.receivers.test by reply rule a rule" in explained["reason"]
    assert explained["rule"].startswith("all.yaml:")
    assert explained["until"] == pytest.approx(paused["until"], abs=0.01)
    server.wait_accepted(6)
    delivered = one.wait(lambda: len(one.events("delivered")) == 6 and one.events("delivered"), "six deliveries")
    one.idle()
    assert [row["ended"] for row in one.events("source_resumed")] == ["time"]
    assert all(row["time"] >= paused["until"] - 0.01 for row in delivered)
    assert [row["attempt"] for row in delivered if row["message"] in messages] == [1] * 5


def test_a_pause_survives_a_restart_and_an_operator_ends_it(relay, receive):
    server = receive(10, {"mail": [UNUSUAL]})
    one = relay(policy=provider(rule({"pause": "source", "for": "1h"})), stream={"retry": {
        "after": ["500ms"], "then": "1s", "expire": "1h"}})
    one.send(SENDER, YOU, MAIL)
    one.wait(lambda: one.events("source_paused"), "the pause")
    one.send(SENDER, YOU, MAIL)
    one.wait(lambda: one.total("relay_limits_waiting", 'reason="reply_rule"') == 2, "both wait for the pause")
    one.kill()
    one.start()
    limit, = limits(one)
    assert (limit["act"], limit["source"], limit["replies"]) == ("pause_source", "m1", 1)
    one.wait(lambda: one.total("relay_limits_waiting", 'reason="reply_rule"') == 2, "both wait again")
    assert server.accepted == []
    assert limit["id"].encode() in one.run("limits", "list").stdout
    assert limit["id"].encode() in one.run("explain", "r10.receivers.test").stdout
    assert b"ended: source m1: paused" in one.run("limits", "cancel", limit["id"]).stdout
    server.wait_accepted(2, timeout_s=5)
    assert limits(one) == []
    refused = one.run("limits", "cancel", limit["id"], check=False)
    assert (refused.returncode, b"no limit" in refused.stderr) == (1, True)
    one.stop()
    one.start()
    assert limits(one) == []


def test_another_source_of_the_pool_takes_over(relay, receive, place):
    first, second = place.address(60), place.address(61)
    pool = {"main": {"sources": [{"name": "m1", "address": first}, {"name": "m2", "address": second}]}}
    server = receive(10, {"banner": [b"421 4.7.28 unusual rate from your address\r\n"]})
    one = relay(policy={**provider(rule({"pause": "source", "for": "1h"})), "pools": pool})
    message = one.send(SENDER, YOU, MAIL)
    assert one.ends(message, timeout_s=5) == [("accepted", "", None), ("delivered", YOU, 250)]
    paused, = one.events("source_paused")
    assert one.events("delivered")[0]["source"] != paused["source"]
    assert len(set(server.seen.peers)) == 2


def test_a_paused_stream_leaves_the_other_alone(relay, receive):
    streams = {name: {"pool": "main", "retry": {"after": ["300ms"], "then": "1s", "expire": "30s"}}
               for name in ("news", "codes")}
    routes = [{"name": "news", "when": {"sender": "news@*"}, "stream": "news"}, {"name": "rest", "stream": "codes"}]
    server = receive(10, {"mail": [UNUSUAL]})
    one = relay(policy={**provider(rule({"pause": "stream", "for": "3s"})), "streams": streams, "routes": routes})
    one.send("news@shop.test", YOU, MAIL)
    paused = one.wait(lambda: one.events("stream_paused"), "the pause")[0]
    assert (paused["stream"], "source" in paused) == ("news", False)
    held = one.send("news@shop.test", YOU, MAIL)
    code = one.send(SENDER, YOU, MAIL)
    assert one.ends(code, timeout_s=2)[-1] == ("delivered", YOU, 250)
    one.ends(held)
    assert [message.sender for message in server.accepted] == [SENDER, "news@shop.test", "news@shop.test"]
    times = {row["message"]: row["time"] for row in one.events("delivered")}
    assert times[code] < paused["until"] <= times[held]


def test_a_dry_run_only_tells(relay, receive):
    server = receive(10, {"mail": [UNUSUAL]})
    one = relay(policy=provider(rule({"pause": "source", "for": "1h"}, observe=True)))
    message = one.send(SENDER, YOU, MAIL)
    one.ends(message)
    assert len(server.accepted) == 1
    assert [row["observed"] for row in one.events("source_paused")] == [True]
    assert one.events("deferred")[0]["rule"].endswith(", observed only")
    assert [limit["observed"] for limit in limits(one)] == [True]
    assert one.total("relay_source_paused") == 0


def test_a_threshold_waits_for_its_number(relay, receive):
    server = receive(10, {"rcpt": [b"452 4.2.1 unusual rate to this mailbox\r\n"] * 3})
    one = relay(policy=provider(rule({"connections": 1, "for": "1h"}, after="3 in 1h")))
    one.ends(one.send(SENDER, YOU, MAIL))
    assert [row["event"] for row in one.events("deferred", "source_limited")] == [
        "deferred", "deferred", "source_limited", "deferred"]
    assert len(server.accepted) == 1
    assert limits(one)[0]["what"] == "source m1: 1 connection"


def test_a_deferral_that_never_ends_bounces_and_the_sender_is_told(relay, receive):
    receive(10, {"rcpt": always(b"450 4.1.1 this user is gone\r\n")})
    reports = receive(11)
    gone = {"name": "gone", "match": "*is gone*", "sample": "450 4.1.1 this user is gone", "do": {"bounce": True}}
    one = relay(policy=provider(gone))
    message = one.send("shop@r11.receivers.test", YOU, MAIL)
    assert one.ends(message) == [("accepted", "", None), ("bounced", YOU, 450)]
    assert one.events("bounced")[0]["rule"].startswith("gone (all.yaml:")
    report, = reports.wait_accepted()
    assert b"Status: 5.1.1" in report.data


def test_a_rule_says_when_to_try_again(relay, receive):
    receive(10, {"rcpt": [b"451 4.7.1 Greylisted, try again\r\n"], "dot": [b"554 5.7.1 blocked for a moment\r\n"]})
    grey = {"name": "grey", "class": "Greylisted", "sample": "451 4.7.1 Greylisted", "do": {"retry": "1s"}}
    block = {"name": "block", "match": "~for a moment", "sample": "554 5.7.1 for a moment", "do": {"retry": "1s"}}
    one = relay(policy=provider(grey, block), stream={"retry": {"after": ["1h"], "then": "1h", "expire": "2h"}})
    message = one.send(SENDER, YOU, MAIL)
    assert one.ends(message) == [("accepted", "", None), ("deferred", YOU, 451), ("deferred", YOU, 554),
                                 ("delivered", YOU, 250)]
    for row in one.events("deferred"):
        assert 1 <= row["due_at"] - row["time"] < 1.5
