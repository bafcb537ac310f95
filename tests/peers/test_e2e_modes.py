"""The other ways out, a smarthost and the sandbox, and what happens when DNS is gone."""

import json

import pytest

from tests.peers.nameserver import NameServer
from tests.peers.place import free_port
from tests.peers.receiver import Receiver
from tests.peers.relay import Relay
from tests.peers.zones import zones

pytestmark = pytest.mark.peers
SENDER, YOU = "shop@shop.test", "you@r10.receivers.test"
MAIL = b"From: shop@shop.test\r\nTo: you@r10.receivers.test\r\nSubject: your code\r\n\r\n123456\r\n"


def test_a_smarthost_gets_everything(relay):
    server = Receiver("127.0.0.1", free_port())
    try:
        # Its address is private and not listed: the operator named it, so it may be connected to.
        one = relay(delivery={"mode": "smarthost", "host": f"127.0.0.1:{server.port}", "allow_targets": []})
        message = one.send(SENDER, [YOU, "b@elsewhere.example"], MAIL)
        assert sorted(one.ends(message, 2))[1:] == [("delivered", "b@elsewhere.example", 250), ("delivered", YOU, 250)]
        assert server.accepted[0].data.count(b"DKIM-Signature:") == 2
    finally:
        server.stop()


def test_the_sandbox_keeps_what_would_have_left(relay):
    one = relay(delivery={"mode": "sandbox", "allow_targets": []})
    message = one.send(SENDER, [YOU, "b@elsewhere.example"], MAIL)
    one.ends(message, 2)
    caught = json.loads(one.run("sandbox", "list", "--json").stdout)
    row, = caught["messages"] if isinstance(caught, dict) else caught
    assert (row["message"], row["stream"], row["subject"]) == (message, "transactional", "your code")
    assert row["dkim"] == "pass; pass"
    assert row["recipients"] == [YOU, "b@elsewhere.example"]
    assert 0 < row["delay_s"] < 10
    assert b"123456" in one.run("sandbox", "show", message).stdout
    one.stop()
    one.start()
    assert one.run("sandbox", "list").stdout.count(b"your code") == 1


def test_large_mail_goes_through_the_sandbox(relay):
    one = relay(delivery={"mode": "sandbox", "allow_targets": []})
    body = b"x" * 900 + b"\r\n"
    message = one.send(SENDER, YOU, MAIL + body * (40_000_000 // len(body)))
    assert one.ends(message)[-1] == ("delivered", YOU, 250)
    shown = json.loads(one.run("sandbox", "list", "--json").stdout)
    row, = shown["messages"] if isinstance(shown, dict) else shown
    assert row["size"] > 40_000_000


@pytest.mark.slow
def test_nothing_bounces_while_dns_is_out(place, keys, receive):
    names = NameServer(place, zones(place, keys))
    server = receive()
    names.stop()
    one = Relay(place, names, keys, stream={"retry": {"after": ["1s"], "then": "2s", "expire": "2m"}}).start()
    try:
        sent = [one.send(SENDER, YOU, MAIL) for _ in range(5)]
        one.wait(lambda: len(one.events("deferred")) >= 5, "deferrals")
        assert {row["phase"] for row in one.events("deferred")} == {"resolve"}
        names.start()
        for message in sent:
            assert one.ends(message, timeout_s=60)[-1] == ("delivered", YOU, 250)
        assert one.events("bounced") == []
        assert len(server.accepted) == 5
    finally:
        one.stop()
        names.stop()
