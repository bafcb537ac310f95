"""Complaints about a campaign come in by SMTP and stop it; one-time codes go on. Forged ones stop nothing."""

import smtplib

import pytest

from tests.peers.place import free_port
from tests.peers.relay import submit
from tests.peers.test_e2e_shaping import CODE, DOMAIN, ROUTES, brakes_of, newsletter, streams
from tests.unit.reports import arf, dsn

pytestmark = pytest.mark.peers
FBL = "fbl@shop.test"
BRAKE = {"when": "complaint_rate > 10%", "over": "24h", "at_least": 20, "do": "hold"}


@pytest.fixture
def scene(relay, receive):
    """A relay with a listener for bounces, its receiver, and a newsletter to twenty people."""
    server, port = receive(10), free_port()
    policy = {"streams": streams([BRAKE]), "routes": ROUTES}
    policy["streams"]["marketing"]["return_path"] = "bounces.shop.test"
    listening = {"bind": f"127.0.0.1:{port}", "accepts": "bounces", "feedback": [FBL]}
    smtp_port = free_port()
    apps = {"bind": f"127.0.0.1:{smtp_port}", "networks": ["127.0.0.0/8"]}
    one = relay(policy=policy, config={"listeners": {"apps": apps, "bounces": listening}})
    one.smtp_port, one.bounces_port = smtp_port, port
    with one.smtp() as smtp:
        one.sent = [submit(smtp, "news@shop.test", f"you{n}@{DOMAIN}", newsletter("autumn")) for n in range(20)]
    one.idle()
    assert len(server.accepted) == 20
    return one, [message.sender for message in server.accepted]


def report(one, made, to, sender=""):
    """What the relay answers at the end of a report, or before."""
    with smtplib.SMTP("127.0.0.1", one.bounces_port, local_hostname="mx.example.net", timeout=30) as smtp:
        smtp.ehlo()
        smtp.mail(sender)
        code, words = smtp.rcpt(to)
        if code == 250:
            code, words = smtp.data(b"\r\n".join(made))
    return code, words.decode()


def test_complaints_hold_the_campaign_and_no_code(scene):
    one, paths = scene
    for path in paths[:2]:  # 10 % is not more than 10 %
        assert report(one, arf(mail_from=path), FBL, "fbl@isp.test")[0] == 250
    assert report(one, arf(), paths[0]) == (250, "2.0.0 Ok: not counted, told before")
    assert report(one, arf(mail_from="b-forged@bounces.shop.test"), FBL)[0] == 550
    assert report(one, arf(), "victim@r10.receivers.test") == (
        550, "5.1.1 no mailbox victim@r10.receivers.test here: only reports on mail of ours are taken")  # fmt: skip
    assert one.events("stream_paused") == []
    assert report(one, arf(), paths[2])[0] == 250

    [told] = one.wait(lambda: one.events("stream_paused"), "the brake")
    assert (told["stream"], told["seen"]) == ("marketing", "3 of 20")
    complaints = one.events("complained")
    assert [row["proof"] for row in complaints] == ["return path in the report"] * 2 + ["return path"]
    assert {(row["stream"], row["provider"], row["tags"]["campaign"]) for row in complaints} == {
        ("marketing", "everyone", "autumn")
    }
    assert {row["message"] for row in complaints} < set(one.sent)
    assert one.total("relay_complaints_total", 'provider="everyone",stream="marketing"') == 3

    held = one.send("news@shop.test", f"you@{DOMAIN}", newsletter("spring"))
    code = one.send("login@shop.test", f"you@{DOMAIN}", CODE)
    assert one.ends(code)[-1][0] == "delivered"
    assert {row["message"]: row["state"] for row in one.waiting()} == {held: "held"}
    assert one.total("relay_accounting_gap") == 0

    one.stop()
    one.start()  # neither what was counted nor the brake is forgotten
    assert report(one, arf(), paths[1])[1].endswith("told before")
    [brake] = brakes_of(one)
    one.run("brakes", "release", brake["id"])
    assert one.ends(held)[-1][0] == "delivered"


def test_a_late_bounce_is_told_and_the_accounts_stay_right(scene):
    one, paths = scene
    head, body = dsn()
    assert report(one, (head, body + b"large\r\n" * 50_000), paths[5])[0] == 250  # it came through the spool
    assert report(one, dsn("delayed", "4.4.1"), paths[6])[0] == 250
    assert report(one, (b"Subject: hello\r\n", b"a letter\r\n"), paths[7], "you@isp.test")[0] == 550
    [row] = one.wait(lambda: one.events("bounced_late"), "the late bounce")
    assert (row["class"], row["enhanced"], row["stream"]) == ("InvalidRecipient", "5.1.1", "marketing")
    assert row["recipient"] == next(event["recipient"] for event in one.events("delivered")
                                    if event["message"] == row["message"])  # fmt: skip
    assert one.total("relay_late_bounces_total") == 1
    assert one.total("relay_ignored_reports_total") == 1
    assert one.total("relay_recipients_total", 'outcome="delivered"') == 20
    assert one.total("relay_recipients_total", 'outcome="bounced"') == 0
    assert one.total("relay_accounting_gap") == 0
    assert [path for path in (one.home / "data" / "spool").rglob("*") if path.is_file()] == []
