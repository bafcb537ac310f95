"""Delivery status notifications, read back by a parser that is not ours."""

import re
from email import message_from_bytes
from email.policy import default
from email.utils import parsedate_to_datetime

import pytest

from relay.core.dsn import FULL_BYTES, HEADER_BYTES, Action, Report, Reported, build, date, decode_xtext

HEADER = (b"From: Ann <ann@example.com>\r\nTo: bob@example.net\r\nSubject: invoice\r\n"
          b"Message-ID: <1@example.com>\r\n")
BOB = Reported(
    final="bob@example.net", status="5.1.1", orcpt="rfc822;Bob+2BX@example.net",
    diagnostic="550 5.1.1 no such user here", remote_mta="mx.example.net", last_attempt_at=1763760000.0,
)


def report(*recipients, **changes):
    values = {
        "action": Action.FAILED, "reporting_mta": "relay.example.com", "to": "ann@example.com",
        "recipients": recipients or (BOB,), "arrived_at": 1763750000.9, "now": 1763760001.0,
        "message_id": "<abc@relay.example.com>", "boundary": "=_abc", "envid": "QQ+2B314", "header": HEADER,
    }
    return Report(**(values | changes))


def parsed(made):
    header, body = build(made)
    assert header.endswith(b"\r\n")
    assert body.endswith(b"\r\n")
    whole = header + b"\r\n" + body
    assert not re.search(rb"(?<!\r)\n|\r(?!\n)", whole), "only CRLF"
    assert max(map(len, whole.split(b"\r\n"))) <= 998
    message = message_from_bytes(whole, policy=default)
    assert not message.defects
    return message


def groups(message):
    """The fields of the second part: of the message, then of each recipient."""
    return [dict(group.items()) for group in message.get_payload()[1].get_payload()]


def test_a_failure_as_programs_read_it():
    message = parsed(report())
    assert message["From"] == "Mail Delivery System <MAILER-DAEMON@relay.example.com>"
    assert message["To"] == "ann@example.com"
    assert message["Auto-Submitted"] == "auto-replied"
    assert message["Date"].datetime.timestamp() == 1763760001
    assert message.get_content_type() == "multipart/report"
    assert message.get_param("report-type") == "delivery-status"
    assert [part.get_content_type() for part in message.get_payload()] == [
        "text/plain", "message/delivery-status", "text/rfc822-headers"]
    of_message, of_bob = groups(message)
    assert of_message == {
        "Original-Envelope-Id": "QQ+314", "Reporting-MTA": "dns; relay.example.com",
        "Arrival-Date": "Fri, 21 Nov 2025 18:33:20 +0000",
    }
    assert of_bob == {
        "Original-Recipient": "rfc822; Bob+X@example.net", "Final-Recipient": "rfc822; bob@example.net",
        "Action": "failed", "Status": "5.1.1", "Remote-MTA": "dns; mx.example.net",
        "Diagnostic-Code": "smtp; 550 5.1.1 no such user here",
        "Last-Attempt-Date": "Fri, 21 Nov 2025 21:20:00 +0000",
    }
    assert message.get_payload()[2].get_payload() == HEADER.decode()


def test_a_failure_as_people_read_it():
    text = parsed(report()).get_payload()[0].get_payload()
    assert "mail relay at relay.example.com" in text
    assert "could not be delivered" in text
    assert "<bob@example.net>" in text
    assert "The server mx.example.net said: 550 5.1.1 no such user here" in text
    assert "Check the address for typing mistakes" in text


@pytest.mark.parametrize(("action", "subject", "words"), [
    (Action.DELAYED, "Your message is delayed", "tried again by itself"),
    (Action.RELAYED, "Your message was passed on", "does not report deliveries"),
    (Action.DELIVERED, "Your message was delivered", "was delivered"),
])
def test_what_is_not_a_failure_gives_no_advice(action, subject, words):
    message = parsed(report(action=action))
    assert message["Subject"] == subject
    text = " ".join(message.get_payload()[0].get_payload().split())
    assert words in text
    assert "Check the address" not in text
    assert groups(message)[1]["Action"] == action.value


def test_a_delay_says_until_when():
    waiting = Reported("bob@example.net", "4.4.1", text="the host refused the connection",
                       retry_until=1763850000.0)
    message = parsed(report(waiting, action=Action.DELAYED))
    assert groups(message)[1] == {
        "Final-Recipient": "rfc822; bob@example.net", "Action": "delayed", "Status": "4.4.1",
        "Will-Retry-Until": "Sat, 22 Nov 2025 22:20:00 +0000"}
    text = message.get_payload()[0].get_payload()
    assert "Reason: the host refused the connection." in text
    assert "Sat, 22 Nov 2025 22:20:00 +0000" in text


def test_will_retry_until_is_for_delays_only():
    gone = Reported("bob@example.net", "4.4.7", retry_until=1763850000.0)
    assert "Will-Retry-Until" not in groups(parsed(report(gone)))[1]


@pytest.mark.parametrize(("status", "words"), [
    ("5.1.2", "no such mail domain"), ("5.2.2", "mailbox is full"), ("5.3.4", "smaller message"),
    ("4.4.7", "could not be reached"), ("5.7.26", "by its rules"), ("5.9.9", "If it matters")])
def test_advice_follows_the_status(status, words):
    made = report(Reported("b@example.net", status, diagnostic="550 no"))
    text = parsed(made).get_payload()[0].get_payload()
    assert words in " ".join(text.split())
    assert "The server said: 550 no" in text


def test_several_recipients_have_a_group_each():
    several = [Reported(f"r{index}@example.net", "5.0.0") for index in range(3)]
    message = parsed(report(*several, envid=""))
    assert len(groups(message)) == 4
    assert "Original-Envelope-Id" not in groups(message)[0]


EVIL = "550 no\r\nAction: delivered\r\n\r\n--=_abc\r\nX: y\n\r\x85\u2028\x00\x1b[1m\tend"
EVIL_ASCII = EVIL.encode("ascii", "ignore").decode()


def test_nothing_from_outside_adds_a_line():
    bad = Reported(EVIL_ASCII, EVIL, orcpt=f"rfc822{EVIL};a+0D+0AAction:+20delivered{EVIL}",
                   diagnostic=EVIL, text=EVIL, remote_mta=EVIL)
    message = parsed(report(bad, envid=f"x+0D+0AEvil:+20yes{EVIL}", reporting_mta=f"relay{EVIL}",
                            to=f"a{EVIL_ASCII}", message_id=f"<1>{EVIL}"))
    assert set(message.keys()) == {"From", "To", "Subject", "Date", "Message-ID", "Auto-Submitted",
                                   "MIME-Version", "Content-Type", "Content-Transfer-Encoding"}
    assert len(message.get_payload()) == 3
    of_message, of_recipient = groups(message)
    assert set(of_message) == {"Original-Envelope-Id", "Reporting-MTA", "Arrival-Date"}
    assert of_recipient["Action"] == "failed"
    assert set(of_recipient) == {"Original-Recipient", "Final-Recipient", "Action", "Status", "Remote-MTA",
                                 "Diagnostic-Code"}


def test_a_long_answer_is_folded_and_an_address_is_not():
    words = "550 " + "because " * 60 + "x" * 300
    address = '"a  b  ' + "c" * 150 + '"@example.net'
    of_bob = groups(parsed(report(Reported(address, "5.0.0", diagnostic=words))))[1]
    assert of_bob["Final-Recipient"] == f"rfc822; {address}"
    assert of_bob["Diagnostic-Code"].replace(" ", "") == f"smtp;{words}".replace(" ", "")


def test_a_field_of_any_length_is_a_legal_line():
    made = report(Reported("ö" * 2000, "5.0.0", orcpt="rfc822;" + "a" * 2000))
    assert max(map(len, build(made)[1].split(b"\r\n"))) <= 998


def test_words_that_are_not_ascii_become_question_marks_in_a_report_that_is():
    header, body = build(report(Reported("bob@example.net", "5.1.1", diagnostic="550 unbekannter Empfänger")))
    assert (header + body).isascii()
    assert b"550 unbekannter Empf?nger" in body


def test_an_address_that_is_not_ascii_takes_the_types_of_rfc_6533():
    made = report(Reported("jörg@example.net", "5.1.1", orcpt=r"utf-8;j\x{F6}rg@example.net",
                           diagnostic="550 wär"))
    assert made.utf8
    header, body = build(made)
    assert b"Content-Transfer-Encoding: 8bit" in header
    assert b"Content-Type: message/global-delivery-status\r\nContent-Transfer-Encoding: 8bit" in body
    assert "Final-Recipient: utf-8; jörg@example.net\r\n".encode() in body
    assert b"Original-Recipient: utf-8; j\\x{F6}rg@example.net\r\n" in body
    assert "smtp; 550 wär".encode() in body
    assert report(to="änn@example.com").utf8


def test_the_whole_message_comes_back_where_it_was_asked_for():
    whole = HEADER + b"\r\nbody of it\r\n"
    part = parsed(report(whole=whole)).get_payload()[2]
    assert part.get_content_type() == "message/rfc822"
    assert part.get_payload()[0].get_payload() == "body of it\r\n"


@pytest.mark.parametrize("whole", [HEADER + b"\r\n" + b"x" * FULL_BYTES, HEADER + b"\r\nk\xc3\xb6nnen\r\n"])
def test_what_is_large_or_8_bit_comes_back_as_header_only(whole):
    header, body = build(report(whole=whole))
    assert (header + body).isascii()
    assert b"text/rfc822-headers" in body


def test_an_8_bit_header_is_encoded():
    made = report(header=b"Subject: gr\xfc\xdfe\r\nTo: bob@example.net\r\n")
    part = parsed(made).get_payload()[2]
    assert part["Content-Transfer-Encoding"] == "quoted-printable"
    assert part.get_payload(decode=True) == b"Subject: gr\xfc\xdfe\r\nTo: bob@example.net\r\n"


def test_an_endless_header_is_cut_at_a_line():
    part = parsed(report(header=b"X-Filler: 0123456789\r\n" * 9000)).get_payload()[2].get_payload()
    assert HEADER_BYTES - 30 < len(part) <= HEADER_BYTES
    assert part.endswith("0123456789\r\n")


def test_dates_are_those_of_the_mail():
    assert date(0.0) == "Thu, 01 Jan 1970 00:00:00 +0000"
    assert parsedate_to_datetime(date(1763760000.7)).timestamp() == 1763760000


def test_xtext():
    assert decode_xtext("a+2Bb+3Dc+zz+3d") == "a+b=c+zz+3d"  # RFC 3461 §4: upper-case digits only
    assert decode_xtext("+00+0D+0A") == "?  "
