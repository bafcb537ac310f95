"""Delivery reports as mail: what a sender reads of its message's fate (RFC 3464), within what it asked for."""

from email import message_from_bytes

from relay.core.content import Content, MemoryBody
from relay.core.envelope import Envelope, Recipient
from relay.core.message import Prepared
from relay.core.outcome import Phase, Trouble, judge, judge_reply
from relay.core.reply import Reply
from relay.deliver.feed import Peer
from relay.deliver.reports import Reporter
from relay.queue.rows import places
from relay.queue.store import Stored
from tests.unit.delivery_stage import NOON, play

NOBODY = judge_reply(Phase.RCPT, Reply(550, "5.1.1", ("no such user",)))
PEER = Peer("t1", "mx.example.net", "192.0.2.1", "example.net", "everyone")


def original(*, ret="", body=b"secret\r\n", eight_bit=False, orcpt="rfc822;old+2Bbob@example.org") -> Stored:
    recipient = Recipient("bob@example.net", frozenset(), orcpt)
    message = Prepared(
        "m1", NOON - 100, NOON - 100, Envelope("shop@example.com", (recipient,), ret=ret, envid="order+2B7"),
        "b-verp@bounces.example.com", "transactional", "main", "all",
        content=Content(b"Subject: Order 7\r\n", MemoryBody(body), eight_bit=eight_bit),
    )  # fmt: skip
    return Stored(message, {0: recipient})


def report(stored, event="bounced", outcome=NOBODY, sign=None):
    kept = []

    async def put(message):
        kept.append(message)

    async def scenario():
        desk = Reporter("relay.example.com", put, clock=lambda: NOON, expires=lambda one: NOON + 500, sign=sign)
        (place,) = places(stored.message)
        told = desk.due(stored, place, event, outcome, PEER)
        assert told is not None
        await desk.send(stored, [told])

    play(scenario())
    (message,) = kept
    parsed = message_from_bytes(message.content.header + b"\r\n" + b"".join(message.content.body.chunks()))
    return message, parsed


def test_a_report_goes_to_the_sender_the_client_named_and_not_to_the_return_path():
    message, parsed = report(original())
    assert [one.address for one in message.envelope.recipients] == ["shop@example.com"]
    assert message.return_path == ""
    assert parsed["To"] == "<shop@example.com>"
    assert "MAILER-DAEMON" in parsed["From"].upper()
    assert parsed["Auto-Submitted"]


def test_a_report_repeats_envelope_id_and_original_recipient_and_quotes_the_host():
    _, parsed = report(original())
    of_message, of_recipient = parsed.get_payload()[1].get_payload()
    assert of_message["Original-Envelope-Id"] == "order+7"
    assert of_message["Reporting-MTA"] == "dns; relay.example.com"
    assert of_recipient["Original-Recipient"].replace(" ", "") == "rfc822;old+bob@example.org".replace(" ", "")
    assert of_recipient["Final-Recipient"] == "rfc822; bob@example.net"
    assert (of_recipient["Action"], of_recipient["Status"]) == ("failed", "5.1.1")
    assert of_recipient["Remote-MTA"] == "dns; mx.example.net"
    assert "550 5.1.1 no such user" in of_recipient["Diagnostic-Code"]


def test_the_whole_message_comes_back_only_where_it_was_asked_for_and_small_and_plain():  # RFC 3461 §4.3
    def returned(**more):
        return b"secret" in report(original(**more))[0].content.body.data

    assert returned(ret="FULL")
    assert not returned(ret="HDRS")
    assert not returned()
    assert not returned(ret="FULL", eight_bit=True)
    assert not returned(ret="FULL", body=b"secret\r\n" * 20_000)


def test_what_expired_has_failed_for_the_reason_it_waited():
    later = judge(Trouble.CONNECT_TIMEOUT, Phase.CONNECT)
    _, parsed = report(original(), "expired", later)
    status = parsed.get_payload()[1].get_payload()[1]
    assert (status["Action"], status["Status"]) == ("failed", "5.4.1")
    assert "given up" in parsed.get_payload()[0].get_payload()


def test_a_delay_says_until_when_the_relay_tries():
    _, parsed = report(original(), "delayed", judge(Trouble.CONNECT_TIMEOUT, Phase.CONNECT))
    status = parsed.get_payload()[1].get_payload()[1]
    assert (status["Action"], status["Status"]) == ("delayed", "4.4.1")
    assert status["Will-Retry-Until"]


def test_a_report_is_signed_like_other_mail_of_its_stream():
    async def sign(message):
        signed = Content(b"DKIM-Signature: x\r\n" + message.content.header, message.content.body)
        return Prepared(**{name: getattr(message, name) for name in message.__slots__} | {"content": signed})

    message, parsed = report(original(), sign=sign)
    assert parsed["DKIM-Signature"] == "x"
    assert message.route == "delivery report"
