"""Two streams and one provider, seen from the receiver's side: it is a relay process, real sockets and real time."""

import smtplib
import time

import pytest

from tests.peers.receiver import always, later
from tests.peers.relay import RETRY, submit

pytestmark = pytest.mark.peers

SERVICE_S = 0.3
CODES = 12
NEWS = 150
MAIL = b"From: shop@shop.test\r\nTo: %s\r\nSubject: %s\r\n\r\nHello.\r\n"


def two_streams(*, reserve: str, pools: tuple[str, str]) -> dict:
    """Codes and newsletters by sender, in one pool or in two whose sources share the machine's address."""
    codes, news = pools
    return {
        "streams": {
            "transactional": {"pool": codes, "priority": 100, "reserve": reserve, "retry": dict(RETRY, after=["1s"])},
            "marketing": {"pool": news, "retry": dict(RETRY, after=["1s"])},
        },
        "pools": {name: {"sources": [{"name": f"{name}1"}]} for name in {codes, news}},
        "routes": [
            {"name": "news", "when": {"sender": "news@*"}, "stream": "marketing"},
            {"name": "codes", "stream": "transactional"},
        ],
        "providers": {
            "at both": {
                "mx": ["mx.r10.receivers.test", "implicit.odd.test"],
                "per_source": {"connections": 5, "messages_per_connection": 100},
            },
            "everyone": {"mx": "*"},
        },
    }


@pytest.mark.parametrize("reserve", ["0%", "50%"], ids=["no reserve", "half reserved"])
@pytest.mark.parametrize("pools", [("main", "main"), ("codes", "news")], ids=["one pool", "two pools"])
def test_codes_never_wait_for_more_than_a_boundary_at_a_provider_that_is_full(relay, receive, reserve, pools):
    """Both domains are hosted at one provider that bears five connections from us and takes its time."""
    server = receive(10, {"dot": always(later(SERVICE_S, b"250 2.0.0 Ok\r\n"))})
    one = relay(policy=two_streams(reserve=reserve, pools=pools))
    sent: dict[bytes, float] = {}
    with smtplib.SMTP("127.0.0.1", one.smtp_port) as smtp:
        for number in range(NEWS):
            domain = b"r10.receivers.test" if number % 2 else b"implicit.odd.test"
            to = b"you%d@%s" % (number, domain)
            submit(smtp, "news@shop.test", to.decode(), MAIL % (to, b"news %d" % number))
        server.wait(lambda me: len(me.seen.messages) > 10, "the flood is under way")
        for number in range(CODES):
            to = b"code%d@%s" % (number, b"r10.receivers.test" if number % 2 else b"implicit.odd.test")
            submit(smtp, "shop@shop.test", to.decode(), MAIL % (to, b"code %d" % number))
            sent[b"code%d" % number] = time.monotonic()
            time.sleep(0.15)
    server.wait(lambda me: sum(b"Subject: code" in one.data for one in me.seen.messages) == CODES, "all codes")
    waited = {}
    for message in server.seen.messages:
        name = message.recipients[0].partition("@")[0].encode()
        if name in sent:
            waited[name] = message.at - sent[name]
    # a newsletter under way, goodbye, hello, and the machine of the test
    assert max(waited.values()) < SERVICE_S + 0.35, waited
    assert server.seen.open_most <= 5
    server.wait(lambda me: len(me.accepted) == NEWS + CODES, "everything", 60)
    assert server.seen.open_most <= 5
    one.idle()
