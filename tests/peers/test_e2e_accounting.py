"""Nothing lost, nothing told twice: a relay process, receivers that break off at the worst moment, kills, and the
proof by `relay queue check` while it runs and after it died."""

import json
import re

import pytest

from tests.peers.receiver import DROP, HANG, Later

pytestmark = pytest.mark.peers

SENDER, YOU = "shop@shop.test", "you@r10.receivers.test"
MAIL = b"From: shop@shop.test\r\nTo: you@r10.receivers.test\r\nSubject: order 17\r\n\r\nThank you.\r\n"
HOLD = {"lost_after_dot": "hold"}


def checked(one, *more: str) -> dict:
    """What `relay queue check` finds; it must be nothing."""
    done = one.run("queue", "check", "--json", *more, check=False)
    found = json.loads(done.stdout)
    assert (done.returncode, found["problems"], found["gap"]) == (0, [], 0), done.stdout.decode() + done.stderr.decode()
    return found


def states(one) -> list[str]:
    return [row["state"] for row in one.waiting()]


def keyed(key: str, body: bytes = b"Thank you.\r\n", subject: bytes = b"order 17") -> bytes:
    head = b"From: shop@shop.test\r\nSubject: %s\r\nX-Relay-Idempotency-Key: %s\r\n\r\n"
    return head % (subject, key.encode()) + body


def test_lost_after_the_dot_is_sent_again_and_counted(relay, receive):
    server, one = receive(10, {"dot": [DROP]}), relay()
    message = one.send(SENDER, YOU, MAIL)
    assert [row[0] for row in one.ends(message)] == ["accepted", "deferred", "delivered"]
    deferred, delivered = one.events("deferred", "delivered")
    assert deferred["lost_after_dot"] == "resend"
    assert delivered["possible_duplicate"] is True
    assert len(server.seen.messages) == 2
    assert one.total("relay_duplicates_possible_total") == one.total("relay_lost_after_dot_total") == 1
    assert checked(one)["live"] is True


def test_lost_after_the_dot_may_wait_for_an_operator(relay, receive):
    server, one = receive(10, {"dot": [DROP, DROP, DROP]}), relay(stream=HOLD)
    first, second, third = (one.send(SENDER, YOU, MAIL) for _ in range(3))
    one.wait(lambda: states(one) == ["lost_held"] * 3, "three lost")
    assert one.total("relay_queue_lost_recipients") == 3
    said = one.run("explain", first).stdout.decode()
    assert "lost after the dot" in said
    assert f"relay queue release {first}" in said
    listed = json.loads(one.run("queue", "list", "--state", "lost", "--json").stdout)["rows"]
    assert {row["message"] for row in listed} == {first, second, third}
    one.run("queue", "delivered", "--yes", second)
    one.run("queue", "cancel", "--yes", third)
    one.run("queue", "release", first)
    assert [row[0] for row in one.ends(first)][-2:] == ["released", "delivered"]
    assert [row[0] for row in one.ends(second)] == ["accepted", "deferred", "delivered"]
    assert [row[0] for row in one.ends(third)] == ["accepted", "deferred", "cancelled"]
    assert len(server.accepted) == 1
    by_message = {row["message"]: row for row in one.events("delivered")}
    assert by_message[second]["by"] == "operator"
    assert by_message[first]["possible_duplicate"] is True
    assert checked(one)["ends"] == {"bounced": 0, "cancelled": 1, "delivered": 2, "expired": 0, "suppressed": 0}


def test_only_what_was_lost_can_be_said_to_have_arrived(relay, receive):
    receive(10, {"rcpt": [b"451 4.3.0 later\r\n"]})
    one = relay(stream={"retry": {"after": ["1h"], "then": "1h", "expire": "3h"}})
    message = one.send(SENDER, YOU, MAIL)
    one.wait(lambda: one.events("deferred"), "a deferral")
    assert one.run("queue", "delivered", "--yes", message, check=False).returncode == 1
    assert states(one) == ["queued"]


def test_cancelled_while_under_way_it_has_one_end(relay, receive):
    server = receive(10, {"dot": [Later(6.0, b"250 2.0.0 Ok\r\n")]})
    one = relay()
    message = one.send(SENDER, YOU, MAIL)
    server.wait(lambda me: me.seen.messages, "the body")
    one.run("queue", "cancel", "--yes", message)
    server.wait_accepted()
    one.wait(lambda: "'delivered' is not recorded: it has come to an end before" in one.program.tail(), "a log line")
    assert [row[0] for row in one.summary(message)] == ["accepted", "cancelled"]
    assert checked(one)["ends"]["cancelled"] == 1


def test_killed_while_under_way(relay, receive):
    server = receive(10, {"dot": [HANG]})
    one = relay()
    message = one.send(SENDER, YOU, MAIL)
    server.wait(lambda me: me.seen.messages, "the body")
    one.wait(lambda: one.events("accepted"), "the event log, which is written a moment later")
    one.kill()
    assert checked(one)["unclean"] is True
    one.start()
    assert [row[0] for row in one.ends(message)] == ["accepted", "deferred", "delivered"]
    [deferred] = one.events("deferred")
    assert (deferred["recovered"], deferred["lost_after_dot"]) == (True, "resend")
    assert one.total("relay_duplicates_possible_total") == 1
    one.wait(lambda: re.search(r"checked 1 messages .*: all is well|checked 0 messages", one.program.tail()), "a check")
    one.stop()
    assert checked(one)["unclean"] is False


def test_killed_while_under_way_where_an_operator_decides(relay, receive):
    server = receive(10, {"dot": [HANG]})
    one = relay(stream=HOLD)
    one.send(SENDER, YOU, MAIL)
    server.wait(lambda me: me.seen.messages, "the body")
    one.kill()
    one.start()
    one.wait(lambda: states(one) == ["lost_held"], "held")
    assert checked(one)["lost"] == 1


def test_the_same_key_is_accepted_once(relay, receive):
    server, one = receive(), relay()
    first = one.send(SENDER, YOU, keyed("order-17"))
    assert one.send(SENDER, YOU, keyed("order-17", subject=b"order 17, again")) == first
    one.ends(first)
    one.kill()
    one.start()
    assert one.send(SENDER, YOU, keyed("order-17")) == first
    other = one.send(SENDER, YOU, keyed("order-18"))
    assert other != first
    one.ends(other)
    with one.smtp() as smtp:
        smtp.ehlo()
        smtp.mail(SENDER)
        smtp.rcpt(YOU)
        code, words = smtp.data(keyed("order-17", b"Something else.\r\n"))
    assert code == 550
    assert f"idempotency key order-17 was used for message {first}".encode() in words
    assert len(server.accepted) == 2
    assert not any(b"idempotency" in arrived.data.lower() for arrived in server.accepted)
    assert [row["message"] for row in one.events("repeated")] == [first, first]
    assert one.total("relay_repeated_messages_total") == 1
    assert checked(one)["accepted"] == 2


def test_a_check_names_what_is_wrong_and_what_to_do(relay, receive):
    receive(10, {"rcpt": [b"451 4.3.0 later\r\n"] * 9})
    one = relay(stream={"retry": {"after": ["1h"], "then": "1h", "expire": "3h"}})
    large = one.send(SENDER, YOU, MAIL + b"y" * 70 * 3 + (b"y" * 70 + b"\r\n") * 4000)
    one.wait(lambda: one.events("deferred"), "a deferral")
    spool = one.home / "data" / "spool"
    (spool / large).write_bytes((spool / large).read_bytes()[:-1] + b"!")
    for _ in range(2):  # at work, and stopped
        done = one.run("queue", "check", check=False)
        assert done.returncode == 1
        assert f"message {large}: its body is not what was accepted" in done.stderr.decode()
        assert f"remedy: relay queue hold {large}" in done.stderr.decode()
        if one.program is not None:
            one.stop()
