"""What is decided at the door, by a whole relay: quotas of streams, the guard, requirements, daily counts."""

from __future__ import annotations

import json
import smtplib
import time
from typing import Any

import pytest
import yaml

from tests.peers.place import free_port
from tests.peers.receiver import Receiver
from tests.peers.relay import RETRY

pytestmark = pytest.mark.peers
YOU = "you@elsewhere.example"
ONE_CLICK = b"List-Unsubscribe: <https://news.example/u/1>\r\nList-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n"


def letter(subject: str, more: bytes = b"", body: bytes = b"Hello\r\n") -> bytes:
    return b"From: Shop <shop@shop.test>\r\nTo: you@elsewhere.example\r\nSubject: %s\r\n%s\r\n%s" % (
        subject.encode(), more, body,
    )  # fmt: skip


def streams(marketing: dict[str, Any] | None = None, transactional: dict[str, Any] | None = None) -> dict[str, Any]:
    usual = {"pool": "main", "retry": RETRY, "dkim": [{"domain": "from", "selector": "t1"}]}
    return json.loads(json.dumps({
        "streams": {
            "transactional": {**usual, "priority": 100, **(transactional or {})},
            "marketing": {**usual, **(marketing or {})},
        },
        "routes": [
            {"name": "news", "when": {"header": {"X-Kind": "news"}}, "stream": "marketing"},
            {"name": "everything else", "stream": "transactional"},
        ],
    }))  # apart, as YAML would make aliases of what is shared


NEWS = b"X-Kind: news\r\n"


def answer(smtp: smtplib.SMTP, message: bytes, *recipients: str) -> tuple[int, str]:
    smtp.ehlo_or_helo_if_needed()
    smtp.mail("shop@shop.test")
    for one in recipients or (YOU,):
        assert smtp.rcpt(one)[0] == 250
    code, words = smtp.data(message)
    return code, words.decode()


def test_a_stream_at_its_quota_waits_while_the_others_come_in(relay):
    port = free_port()
    one = relay(
        policy=streams(marketing={"quota": {"messages": 5}}),
        delivery={"mode": "smarthost", "host": f"127.0.0.1:{port}", "allow_targets": []},
    )
    with one.smtp() as smtp:
        assert [answer(smtp, letter("news", NEWS))[0] for _ in range(7)] == [250] * 5 + [452] * 2
        code, words = answer(smtp, letter("news", NEWS))
        assert (code, words) == (
            452, "4.3.1 stream marketing has as many messages in the queue as it may, try again later",
        )  # fmt: skip
        assert answer(smtp, letter("your code"))[0] == 250
        server = Receiver("127.0.0.1", port)  # the smarthost comes back
        try:
            one.idle()
            assert answer(smtp, letter("news", NEWS))[0] == 250
            one.idle()
        finally:
            server.stop()
    assert [row["reason"] for row in one.events("refused")] == ["quota-messages"] * 3
    assert one.total("relay_refused_messages_total", 'reason="quota-messages"') == 3
    assert one.total("relay_queue_bytes") == 0


def test_what_lies_in_the_queue_counts_after_a_crash(relay):
    one = relay(
        policy=streams(marketing={"quota": {"bytes": "10k"}}),
        delivery={"mode": "smarthost", "host": f"127.0.0.1:{free_port()}", "allow_targets": []},
    )
    with one.smtp() as smtp:
        assert answer(smtp, letter("news", NEWS, b"x" * 70 + b"\r\n"))[0] == 250
        assert answer(smtp, letter("news", NEWS, (b"x" * 70 + b"\r\n") * 120))[0] == 250
    one.kill()
    one.start()
    with one.smtp() as smtp:
        assert answer(smtp, letter("news", NEWS, (b"x" * 70 + b"\r\n") * 30))[0] == 452
        assert answer(smtp, letter("your code"))[0] == 250
    one.run("queue", "cancel", "--stream", "marketing", "--yes")
    with one.smtp() as smtp:
        assert answer(smtp, letter("news", NEWS, (b"x" * 70 + b"\r\n") * 30))[0] == 250


def test_a_daily_quota_outlives_a_restart(relay):
    one = relay(delivery={"mode": "sandbox", "allow_targets": []}, policy=streams())
    text = one.config.read_text()
    one.config.write_text(text.replace("    networks:", "    daily: 3\n    networks:", 1))
    one.stop()
    one.start()
    with one.smtp() as smtp:
        assert answer(smtp, letter("your code"), YOU, "b@elsewhere.example")[0] == 250
        code, words = answer(smtp, letter("your code"), YOU, "b@elsewhere.example")
        assert code == 452
        assert words.startswith("4.7.1 listener apps may send to 3 recipients a day, and has or would have; again from")
    one.stop()
    one.start()
    with one.smtp() as smtp:
        assert answer(smtp, letter("your code"))[0] == 250
        assert answer(smtp, letter("your code"))[0] == 452


def test_bulk_mail_in_the_wrong_stream(relay):
    guard = {"bulk": "reroute", "to": "marketing", "recipients": 3}
    one = relay(
        delivery={"mode": "sandbox", "allow_targets": []},
        policy=streams({"require": ["list_unsubscribe", "aligned_dkim", "visible_address"]}, {"guard": guard}),
    )
    with one.smtp() as smtp:
        code, words = answer(smtp, letter("sale", b"List-Id: <news.shop.test>\r\n"))
        assert code == 550
        assert words == (
            "5.7.1 stream marketing requires a List-Unsubscribe header with an https URI (RFC 8058); the header"
            " List-Unsubscribe-Post: List-Unsubscribe=One-Click (RFC 8058)"
        )
        assert answer(smtp, letter("sale", ONE_CLICK))[0] == 250
        assert answer(smtp, letter("your code"))[0] == 250
    one.wait(lambda: len(one.events("accepted")) == 2, "both taken")
    assert [(row["stream"], row.get("tags")) for row in one.events("accepted")] == [
        ("marketing", {"guard": "headers"}), ("transactional", None),
    ]  # fmt: skip
    [first, second] = one.events("guarded")
    assert first["guard"] == second["guard"] == "headers"
    assert second["to"] == "marketing"


def test_a_crowd_of_newsletters_is_sent_away_and_codes_come_in(relay, receive):
    receive(10)
    one = relay(policy=streams(marketing={"quota": {"share_of_accepts": "60%"}}))
    to = "you@r10.receivers.test"
    settings = yaml.safe_load(one.config.read_text())
    settings["listeners"]["apps"]["max_connections_per_client"] = 500
    one.config.write_text(yaml.safe_dump(settings))
    one.run("reload")

    def at_the_dot(message: bytes) -> smtplib.SMTP:
        """A client that has said everything but the last dot."""
        smtp = one.smtp()
        smtp.ehlo()
        smtp.mail("shop@shop.test")
        smtp.rcpt(to)
        assert smtp.docmd("DATA")[0] == 354
        smtp.send(message)
        return smtp

    def all_at_once(crowd: list[smtplib.SMTP]) -> list[int]:
        for smtp in crowd:
            smtp.send(b".\r\n")
        return [smtp.getreply()[0] for smtp in crowd]

    for _ in range(5):  # on a slow machine the dots may come one by one
        crowd = [at_the_dot(letter("news", NEWS)) for _ in range(180)]
        codes = [at_the_dot(letter("your code")) for _ in range(10)]
        said = all_at_once([*crowd, *codes])
        for smtp in (*crowd, *codes):
            smtp.close()
        assert said[180:] == [250] * 10
        assert said[:180].count(250) + said[:180].count(451) == 180
        if 451 in said:
            break
    assert said[:180].count(250) >= 100 - len(codes)  # of the hundred that make it busy some may be codes
    assert one.total("relay_refused_messages_total", 'reason="quota-accepts"') == said.count(451) > 0
    with one.smtp() as smtp:
        assert answer(smtp, letter("news", NEWS), to)[0] == 250  # the crowd is gone
    one.idle()


def test_a_message_for_later_is_sent_then_also_after_a_restart(relay, receive):
    server = receive(10)
    one = relay(policy=streams(transactional={"objective": {"within": "10s", "for": "99%"}}))
    settings = yaml.safe_load(one.config.read_text())
    settings["listeners"]["apps"]["send_ahead"] = "1h"
    one.config.write_text(yaml.safe_dump(settings))
    one.run("reload")
    to, at = "you@r10.receivers.test", time.time() + 12
    later = one.send("shop@shop.test", to, letter("later", b"X-Relay-Send-At: %.3f\r\n" % at))
    now = one.send("shop@shop.test", to, letter("now"))
    one.ends(now)
    [row] = one.waiting()
    assert (row["message"], row["state"], row["due_at"]) == (later, "queued", pytest.approx(at, abs=0.01))
    explained = one.run("explain", later).stdout.decode()
    assert "its client asked to send at" in explained
    with one.smtp() as smtp:
        code, words = answer(smtp, letter("too late", b"X-Relay-Send-At: %d\r\n" % (time.time() + 7200)), to)
    assert (code, words) == (550, "5.7.1 X-Relay-Send-At is 2.0 h ahead; listener apps may ask for 1.0 h")
    one.kill()
    one.start()
    one.ends(later)
    assert b"Send-At" not in server.accepted[-1].data
    [accepted] = [row for row in one.events("accepted") if "due_at" in row]
    [delivered] = [row for row in one.events("delivered") if row["message"] == later]
    assert (accepted["message"], delivered["attempt"]) == (later, 1)
    assert delivered["time"] >= at
    assert 0 <= delivered["delay_s"] < 10
    one.idle()
    assert one.total("relay_objective_good_total") == one.total("relay_objective_total") == 1
