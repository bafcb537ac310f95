"""What a provider's words lead to: a receiver that answers as providers do, and what it sees of us after."""

import json

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
    gaps = [later - earlier for earlier, later in zip(times[1:], times[2:], strict=False)]
    assert min(gaps) > 0.45, gaps
