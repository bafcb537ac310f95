"""What becomes of mail when receivers are slow, strict, broken or gone: a relay process, scripted receivers,
a real name server. Each scenario compares the summary of events: what happened to whom, with which code."""

import pytest

from tests.peers.certificates import server_context
from tests.peers.receiver import DROP, HANG, Later, always, drip

pytestmark = pytest.mark.peers

SENDER, YOU = "shop@shop.test", "you@r10.receivers.test"
MAIL = b"From: shop@shop.test\r\nTo: you@r10.receivers.test\r\nSubject: order 17\r\n\r\nThank you.\r\n.dots\r\n"
PHASES = ("connect", "banner", "ehlo", "mail", "rcpt", "data", "body", "dot", "quit", "tls")
SHORT = {"timeouts": dict.fromkeys(PHASES, "1s")}


def test_mail_is_delivered_signed_and_whole(relay, receive):
    server, one = receive(), relay()
    message = one.send(SENDER, YOU, MAIL)
    assert one.ends(message) == [("accepted", "", None), ("delivered", YOU, 250)]
    arrived, = server.accepted
    assert (arrived.sender, arrived.recipients) == (SENDER, [YOU])
    assert arrived.data.endswith(b"\r\n\r\nThank you.\r\n.dots\r\n")
    assert arrived.data.count(b"DKIM-Signature:") == 2
    assert message.encode() in arrived.data.partition(b"\r\n\r\n")[0]
    one.idle()


def test_deferred_twice_then_delivered(relay, receive):
    receive(10, {"dot": [b"451 4.3.0 later\r\n", b"452 4.2.2 full\r\n"]})
    one = relay()
    message = one.send(SENDER, YOU, MAIL)
    assert one.ends(message) == [
        ("accepted", "", None), ("deferred", YOU, 451), ("deferred", YOU, 452), ("delivered", YOU, 250)
    ]


def test_greylisting_is_waited_out(relay, receive):
    server, one = receive(10, {"rcpt": [b"451 4.7.1 Greylisted, try again\r\n"]}), relay()
    message = one.send(SENDER, YOU, MAIL)
    assert [row[0] for row in one.ends(message)] == ["accepted", "deferred", "delivered"]
    assert len(server.accepted) == 1


def test_one_of_three_is_rejected_and_the_sender_is_told(relay, receive):
    server = receive(10, {"rcpt no@r10.receivers.test": always(b"550 5.1.1 no such user\r\n")})
    reports, one = receive(11), relay()
    people = ["a@r10.receivers.test", "no@r10.receivers.test", "c@r10.receivers.test"]
    message = one.send("shop@r11.receivers.test", people, MAIL)
    assert sorted(one.ends(message, 3)) == [
        ("accepted", "", None), ("bounced", people[1], 550),
        ("delivered", people[0], 250), ("delivered", people[2], 250),
    ]
    assert server.accepted[0].recipients == [people[0], people[2]]
    report, = reports.wait_accepted()
    assert (report.sender, report.recipients) == ("", ["shop@r11.receivers.test"])
    assert b"multipart/report" in report.data
    assert b"Final-Recipient: rfc822;no@r10.receivers.test" in report.data.replace(b"; ", b";")
    assert b"Status: 5.1.1" in report.data


def test_a_report_that_bounces_is_dropped(relay, receive):
    receive(10, {"rcpt": always(b"550 5.1.1 no such user\r\n")})
    one = relay()
    message = one.send(SENDER.replace("shop.test", "r10.receivers.test"), YOU, MAIL)
    one.ends(message)
    one.idle()
    assert [row[0] for row in one.summary() if row[0] != "accepted"] == ["bounced", "bounced"]


def test_a_null_sender_gets_no_report(relay, receive):
    server, one = receive(10, {"rcpt": always(b"550 5.1.1 no such user\r\n")}), relay()
    one.ends(one.send("", YOU, MAIL))
    one.idle()
    assert [row for row in one.summary() if row[0] == "accepted"] == [("accepted", "", None)]
    assert server.accepted == []


def test_dropped_after_the_dot_is_sent_again(relay, receive):
    server, one = receive(10, {"dot": [DROP]}), relay()
    message = one.send(SENDER, YOU, MAIL)
    assert one.ends(message) == [("accepted", "", None), ("deferred", YOU, None), ("delivered", YOU, 250)]
    first, second = server.seen.messages  # RFC 1047: it may have been delivered the first time
    assert (first.answered, second.accepted) == (None, True)
    assert [row["phase"] for row in one.events("deferred")] == ["dot"]


def first_deferral(one, message):
    """(phase, code) of the first deferral; the message must not have come to an end by it."""
    one.wait(lambda: one.events("deferred"), "a deferral")
    assert [row[0] for row in one.summary(message)][:2] == ["accepted", "deferred"]
    row = one.events("deferred")[0]
    return row["phase"], row.get("code")


@pytest.mark.parametrize("phase", ["banner", "ehlo", "mail", "rcpt", "data", "dot"])
def test_a_receiver_that_hangs_is_given_up(relay, receive, phase):
    receive(10, {phase: [HANG]})
    one = relay(delivery=SHORT)
    assert first_deferral(one, one.send(SENDER, YOU, MAIL)) == (phase, None)


@pytest.mark.parametrize("phase", ["mail", "rcpt", "data", "dot"])
def test_a_receiver_that_hung_once_gets_it_at_the_next_attempt(relay, receive, phase):
    server, one = receive(10, {phase: [HANG]}), relay(delivery=SHORT)
    message = one.send(SENDER, YOU, MAIL)
    assert [row[0] for row in one.ends(message)] == ["accepted", "deferred", "delivered"]
    assert len(server.seen.connections) == 2


def test_a_host_that_turned_everyone_away_is_tried_again_after_a_pause(relay, receive):
    server, one = receive(10, {"banner": [b"421 4.3.2 busy\r\n"]}), relay(stream={"retry": {
        "after": ["18s"], "then": "18s", "expire": "2m", "jitter": "0%"}})
    message = one.send(SENDER, YOU, MAIL)
    rows = one.ends(message, timeout_s=60)
    assert rows == [("accepted", "", None), ("deferred", YOU, 421), ("delivered", YOU, 250)]
    assert len(server.seen.connections) == 2


@pytest.mark.parametrize(
    ("answers", "phase", "code"),
    [
        ({"banner": [b"554 5.7.1 go away\r\n"]}, "banner", 554),
        ({"banner": [b"421 4.3.2 busy\r\n"]}, "banner", 421),
        ({"banner": [b"220-" + b"x" * 100_000 + b"\r\n"]}, "banner", None),
        ({"banner": [b"220-more\r\n" * 100_000]}, "banner", None),
        ({"banner": [b"199 what\r\n"]}, "banner", None),
        ({"banner": [b"600 what\r\n"]}, "banner", None),
        ({"banner": [drip(0.2, b"220 one byte at a time\r\n")]}, "banner", None),
        ({"mail": [b"421 4.3.2 closing\r\n"]}, "mail", 421),
        ({"rcpt": [b"421 4.3.2 closing\r\n"]}, "rcpt", 421),
        ({"data": [b"421 4.3.2 closing\r\n"]}, "data", 421),
        ({"dot": [b"421 4.3.2 closing\r\n"]}, "dot", 421),
        ({"mail": [DROP]}, "mail", None),
        ({"rcpt": [DROP]}, "rcpt", None),
        ({"data": [DROP]}, "data", None),
        ({"dot": [b"199 what\r\n"]}, "dot", None),
        ({"dot": [b"600 what\r\n"]}, "dot", None),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_trouble_of_every_kind_is_deferred(relay, receive, answers, phase, code):
    receive(10, answers)
    one = relay(delivery=SHORT)
    assert first_deferral(one, one.send(SENDER, YOU, MAIL)) == (phase, code)


@pytest.mark.parametrize(
    ("answers", "code"),
    [
        ({"mail": always(b"550 5.7.1 not you\r\n")}, 550),
        ({"rcpt": always(b"553 5.1.3 bad address\r\n")}, 553),
        ({"data": always(b"554 5.7.1 not this\r\n")}, 554),
        ({"dot": always(b"554 5.7.1 spam\r\n")}, 554),
    ],
    ids=["mail", "rcpt", "data", "dot"],
)
def test_a_refusal_for_good_bounces_at_once(relay, receive, answers, code):
    receive(10, answers)
    one = relay()
    message = one.send("", YOU, MAIL)
    assert one.ends(message) == [("accepted", "", None), ("bounced", YOU, code)]


def test_a_receiver_without_esmtp_gets_plain_smtp(relay, receive):
    server, one = receive(10, {"ehlo": always(b"502 5.5.1 unknown\r\n")}), relay()
    message = one.send(SENDER, YOU, MAIL)
    assert one.ends(message)[-1] == ("delivered", YOU, 250)
    assert server.accepted[0].mail == f"MAIL FROM:<{SENDER}>"


def test_a_receiver_without_pipelining_is_asked_one_by_one(relay, receive):
    server, one = receive(10, features=("8BITMIME",)), relay()
    for _ in range(2):
        one.ends(one.send(SENDER, YOU, MAIL))
    assert len(server.accepted) == 2


def test_recipients_on_one_site_share_a_transaction(relay, receive):
    server, one = receive(), relay()
    people = [f"{number}@r10.receivers.test" for number in range(5)]
    for _ in range(3):  # on a new connection, then on the kept one
        one.ends(one.send(SENDER, people, MAIL), 5)
    assert [message.recipients for message in server.accepted] == [people] * 3


BROKEN_TLS = {"refused": b"454 4.7.0 not now\r\n", "rubbish": Later(0.1, b"220 go\r\nrubbish\r\n", by=8)}


@pytest.mark.parametrize("answer", BROKEN_TLS.values(), ids=BROKEN_TLS)
def test_a_broken_starttls_does_not_stop_mail(relay, receive, answer):
    server = receive(10, {"starttls": always(answer)}, features=("STARTTLS",))
    one = relay(delivery=SHORT)
    message = one.send(SENDER, YOU, MAIL)
    assert one.ends(message)[-1] == ("delivered", YOU, 250)
    assert server.accepted[0].tls == ""


def test_any_certificate_will_do_unless_tls_is_required(relay, receive, tmp_path):
    server, one = receive(10, tls=server_context(tmp_path, "another.test")), relay()
    message = one.send(SENDER, YOU, MAIL)
    assert one.ends(message)[-1] == ("delivered", YOU, 250)
    assert server.accepted[0].tls == "TLSv1.3"
    assert one.events("delivered")[0]["tls"] == "TLSv1.3"


def test_required_tls_is_waited_for(relay, receive):
    server, one = receive(10), relay(provider={"tls": "required"}, stream={"retry": {
        "after": ["200ms"], "then": "200ms", "expire": "1s"}})
    message = one.send("", YOU, MAIL)
    rows = one.ends(message)
    assert rows[1][0] == "deferred"
    assert rows[-1][:2] == ("expired", YOU)
    assert server.seen.messages == []


@pytest.mark.parametrize(
    ("domain", "status"),
    [("null.odd.test", "5.1.10"), ("nowhere.odd.test", "5.1.2"), ("nothing.odd.test", "5.1.2"),
     ("unaddressed.odd.test", "5.4.4"), ("literal.odd.test", "5.4.4"), ("self.odd.test", "5.4.6")],
)
def test_a_domain_that_takes_no_mail_bounces_at_once(relay, receive, domain, status):
    reports, one = receive(11), relay()
    message = one.send("shop@r11.receivers.test", f"you@{domain}", MAIL)
    assert [row[:2] for row in one.ends(message)] == [("accepted", ""), ("bounced", f"you@{domain}")]
    report, = reports.wait_accepted()
    assert f"Status: {status}".encode() in report.data


LATER = ["a.broken.test", "halfbroken.odd.test", "private.odd.test", "mapped.odd.test", "unreachable.odd.test"]


@pytest.mark.parametrize("domain", LATER)
def test_what_may_pass_is_deferred(relay, domain):
    one = relay()
    message = one.send(SENDER, f"you@{domain}", MAIL)
    first_deferral(one, message)
    assert one.run("queue", "list", "--json").stdout.count(message.encode()) >= 1


def test_no_connection_is_made_to_an_address_that_is_not_listed(relay, receive, place):
    server, one = receive(), relay(delivery={"allow_targets": [f"{place.address(11)}/32"]})
    one.send(SENDER, YOU, MAIL)
    row = one.wait(lambda: one.events("deferred"), "a deferral")[0]
    assert (row["phase"], "allow_targets" in row["text"]) == ("resolve", True)
    assert server.seen.connections == []


ODD = ["backup.odd.test", "implicit.odd.test", "alias.odd.test", "aliasmx.odd.test", "many.odd.test"]


@pytest.mark.parametrize("domain", ODD)
def test_odd_domains_that_do_take_mail(relay, receive, domain):
    server, one = receive(), relay()
    message = one.send(SENDER, f"you@{domain}", MAIL)
    assert one.ends(message)[-1] == ("delivered", f"you@{domain}", 250)
    assert len(server.accepted) == 1


def test_connections_are_kept_for_the_next_message(relay, receive):
    server, one = receive(), relay(provider={"connections": 1})
    with one.smtp() as smtp:
        for _ in range(20):
            smtp.sendmail(SENDER, [YOU], MAIL)
    one.idle()
    assert len(server.accepted) == 20
    assert len(server.seen.connections) == 1


def test_dsn_parameters_reach_the_receiver(relay, receive):
    server, one = receive(), relay()
    one.ends(one.send(SENDER, YOU, MAIL, mail=["RET=HDRS", "ENVID=QQ+2B314"],
                      rcpt=["NOTIFY=SUCCESS,FAILURE", "ORCPT=rfc822;You+2B@r10.receivers.test"]))
    arrived, = server.accepted
    assert "RET=HDRS" in arrived.mail
    assert "ENVID=QQ+2B314" in arrived.mail
    assert "ORCPT=rfc822;You+2B@r10.receivers.test" in arrived.rcpts[0]


def test_what_is_queued_at_the_stop_is_delivered_after_the_start(relay, receive):
    one = relay()
    message = one.send(SENDER, YOU, MAIL)
    one.wait(lambda: one.events("deferred"), "a deferral, as nobody listens")
    one.stop()
    server = receive()
    one.start()
    assert one.ends(message)[-1] == ("delivered", YOU, 250)
    assert len(server.accepted) == 1


def test_mail_leaves_from_the_address_of_its_pool(relay, receive, place):
    address = place.address(50)
    source = {"name": "m1", "address": address, "helo": "m1.shop.test"}
    server, one = receive(), relay(policy={"pools": {"main": {"sources": [source]}}})
    one.ends(one.send(SENDER, YOU, MAIL))
    assert server.seen.peers == [address]
    assert server.seen.commands[0] == (0, "EHLO m1.shop.test")
    assert one.events("delivered")[0]["source"] == "m1"


def test_a_reply_sent_before_tls_does_not_count_after_it(relay, receive, tmp_path):
    """RFC 3207 §6; CVE-2021-38371: what a stranger puts in before the handshake must not be believed."""
    injected = b"220 go\r\n250-mx\r\n250 SIZE 1\r\n"
    server = receive(10, {"starttls": always(injected)}, tls=server_context(tmp_path, "mx.test"))
    one = relay(delivery=SHORT)
    phase, code = first_deferral(one, one.send(SENDER, YOU, MAIL))
    assert (phase in {"starttls", "tls"}, code) == (True, None)
    assert server.seen.messages == []


def test_one_slow_destination_does_not_hold_up_another(relay, receive):
    slow, quick = receive(10, {"dot": always(drip(1, b"250 2.0.0 Ok\r\n"))}), receive(11)
    one = relay(provider={"connections": 2})
    for _ in range(20):
        one.send(SENDER, YOU, MAIL)
    slow.wait(lambda me: me.seen.messages, "a message under way")
    message = one.send(SENDER, "you@r11.receivers.test", MAIL)
    assert one.ends(message, timeout_s=5)[-1] == ("delivered", "you@r11.receivers.test", 250)
    assert len(quick.accepted) == 1
    assert slow.accepted == [] or len(slow.accepted) < 20
    assert len(slow.seen.connections) <= 2
