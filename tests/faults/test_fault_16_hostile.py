"""Hostile receivers, each at every stage of a session, all at once on one relay: each message gets the verdict it
should, nobody hangs, and the mail of everyone else goes on meanwhile."""

import ssl
import statistics
from dataclasses import dataclass, field

import pytest

from tests.faults.form import within, workers
from tests.faults.load import Client, Load, message, numbers
from tests.peers.certificates import server_context
from tests.peers.receiver import DROP, HANG, always, drip, endless

pytestmark = pytest.mark.peers
FIRST = 20  # rN.receivers.test, one for each case
PHASE = "1s"
TIMEOUTS = dict.fromkeys(
    ["connect", "banner", "ehlo", "starttls", "tls", "mail", "rcpt", "data", "body", "dot", "idle", "quit"], PHASE
)
ENDS = ("delivered", "bounced", "expired")
STAGES = {"banner": b"220", "ehlo": b"250", "mail": b"250", "rcpt": b"250", "data": b"354", "dot": b"250"}


@dataclass
class Case:
    """`answers` as `Receiver` takes them; `end` is that of its message."""

    name: str
    answers: dict = field(default_factory=dict)
    end: str = "expired"
    tls: ssl.SSLContext | None = None


def cases(context):
    """Every behaviour at every stage where it means something."""
    for stage, code in STAGES.items():
        slow = drip(0.4, code + b" a reply that takes its time\r\n")
        yield Case(f"{stage}: a byte now and then", {stage: always(slow)})
        yield Case(f"{stage}: never ends", {stage: always(endless(code + b"-again\r\n"))})
        yield Case(f"{stage}: one endless line", {stage: always(endless(code + b"-" + b"x" * 5000))})
        yield Case(f"{stage}: says nothing", {stage: always(HANG)})
        yield Case(f"{stage}: drops", {stage: always(DROP)})
        yield Case(f"{stage}: 421", {stage: always(b"421 4.3.2 going down\r\n")})
        yield Case(f"{stage}: 199", {stage: always(b"199 what\r\n")})
        yield Case(f"{stage}: 600", {stage: always(b"600 what\r\n")})
        yield Case(f"{stage}: no code", {stage: always(b"hello\r\n")})
        yield Case(f"{stage}: without text", {stage: always(code + b"\r\n")}, "delivered")
    for stage in ("mail", "rcpt", "dot"):
        yield Case(f"{stage}: 5xx without text", {stage: always(b"550\r\n")}, "bounced")
        yield Case(f"{stage}: enhanced code only", {stage: always(b"550 5.1.1\r\n")}, "bounced")
        yield Case(f"{stage}: 421 once", {stage: iter([b"421 4.3.2 going down\r\n"])}, "delivered")
    yield Case("dot: drops once", {"dot": iter([DROP])}, "delivered")
    yield Case("banner: talks on unasked", {"banner": always(b"220 hi\r\n250 and more\r\n250 and more\r\n")})
    yield Case("starttls: refused", {"starttls": always(b"454 4.7.0 not now\r\n")}, "delivered", context)
    yield Case("starttls: no handshake behind it", {}, "delivered")  # RFC 7435 §3: then in clear
    yield Case("starttls: talks on in clear", {"starttls": always(b"220 go\r\n250 gone\r\n")}, "expired", context)
    yield Case("starttls: drops", {"starttls": always(DROP)}, "expired", context)
    yield Case("starttls: says nothing", {"starttls": always(HANG)}, "expired", context)
    yield Case("wrong certificate", {}, "delivered", context)


def unended(one, ids):
    """Cases whose message has no end yet."""
    ended = {row["message"] for row in one.events(*ENDS)}
    return [name for name, id_ in ids.items() if id_ not in ended]


def tls_features(case):
    """One server offers TLS and cannot do it."""
    return {"features": ("PIPELINING", "STARTTLS")} if "no handshake" in case.name else {}


@workers(short=False)
@pytest.mark.timeout(200)
def test_hostile_receivers(relay, receive, note, tmp_path, workers):
    found = list(cases(server_context(tmp_path, "somebody.else.test")))
    for n, case in enumerate(found):
        receive(FIRST + n, case.answers, tls=case.tls, **tls_features(case))
    good = receive(10)
    one = relay(delivery={"timeouts": TIMEOUTS, "connections": 500}, config={"workers": workers}, started=False,
                stream={"retry": {"after": ["300ms"], "then": "700ms", "expire": "3s"}})  # fmt: skip
    one.start()
    ids = {}
    bystander = Client(one, "others", pause_s=0.05, large_every=1 << 30)
    with Load([bystander]):
        for n, case in enumerate(found):
            to = f"you@r{FIRST + n}.receivers.test"
            ids[case.name] = one.send("shop@shop.test", to, message(f"h.{n}", 2000))
        one.wait(lambda: not unended(one, ids), "an end of everything", 90)
    end = {row["message"]: row["event"] for row in one.events(*ENDS)}
    wrong = {case.name: end[ids[case.name]] for case in found if end[ids[case.name]] != case.end}
    one.wait(lambda: len(good.accepted) >= len(bystander.answered), "the mail of the others")
    delays = sorted(row["delay_s"] for row in one.events("delivered") if row["recipient"] == bystander.to)
    lost = set(bystander.answered) - set(numbers(good.accepted))
    twice = len(good.accepted) - len(set(numbers(good.accepted)))
    note("16 hostile receivers", workers=workers, rounds=len(found), accepted=len(ids) + len(bystander.answered),
         lost=len(lost), twice=twice,
         more=f"{len(wrong)} wrong verdicts; others: median {statistics.median(delays) * 1000:.0f} ms, "
              f"most {delays[-1] * 1000:.0f} ms")  # fmt: skip
    assert wrong == {}
    assert lost == set()
    assert twice == 0
    assert delays[int(len(delays) * 0.95)] < within(0.5)
    one.wait(lambda: one.total("relay_connections", 'direction="out"') == 0, "no connection is left", within(10))


def test_a_smarthost_with_the_wrong_certificate_gets_nothing(relay, receive, tmp_path):
    """Where TLS is required the name must be proven: no mail, no password, no bounce."""
    server = receive(10, tls=server_context(tmp_path, "somebody.else.test"))
    one = relay(delivery={"mode": "smarthost", "host": f"mx.r10.receivers.test:{server.port}", "tls": "required",
                          "timeouts": TIMEOUTS},
                stream={"retry": {"after": ["300ms"], "then": "700ms", "expire": "2s"}})  # fmt: skip
    id_ = one.send("shop@shop.test", "you@anywhere.test", message("c.1", 2000))
    assert one.ends(id_)[-1][0] == "expired"
    assert server.seen.messages == []
    assert any("certificate" in row.get("text", "") for row in one.events("attempted", "deferred"))
