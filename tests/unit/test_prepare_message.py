"""Preparation: what is added, taken out, repaired, refused, and what stays byte for byte."""

import re
from email import message_from_bytes
from email.utils import parsedate_to_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.core.content import Content, MemoryBody
from relay.core.envelope import Client, Envelope, Recipient, Submission
from relay.core.headers import Headers, split_message
from relay.prepare.message import NO_EDITS, Edits, Preparer, Refusal

ID = "01jbjw3k5v00000000a"
HEAD = (
    b"From: Shop <shop@example.com>\r\nTo: anna@example.net\r\nSubject: Your order\r\n"
    b"Date: Mon, 02 Nov 2026 10:29:58 +0100\r\nMessage-ID: <1@example.com>\r\n"
)
PREPARER = Preparer("relay.example.com")


def submission(
    message: bytes,
    *,
    recipients=("anna@example.net",),
    sender="shop@example.com",
    utf8=False,
    helo="app.example.com",
    address="192.0.2.1",
    credential="",
    tls="",
) -> Submission:
    header, body = split_message(message)
    return Submission(
        id=ID,
        received_at=1_793_611_800.25,
        client=Client(address, 40000, helo, "apps", credential, tls, "ESMTP"),
        envelope=Envelope(sender, tuple(map(Recipient, recipients)), utf8=utf8),
        content=Content(
            header,
            MemoryBody(body),
            eight_bit=not message.isascii(),
            long_lines=max(map(len, message.split(b"\r\n"))) > 998,
        ),
    )


def prepare(message: bytes, *, preparer=PREPARER, edits=NO_EDITS, legacy=False, eight_bit="keep", **facts):
    given = submission(message, **facts)
    headers = Headers.parse(given.content.header)
    result = preparer.prepare(given, headers, edits=edits, legacy=legacy, eight_bit=eight_bit)
    if isinstance(result, Content):
        assert headers.to_bytes() == result.header  # what the signer will read
    return result


def header_of(message: bytes, **options) -> bytes:
    """The finished header block without our Received."""
    result = prepare(message, **options)
    assert isinstance(result, Content), result
    return re.sub(rb"\AReceived: (?:.*\r\n)(?:[ \t].*\r\n)*", b"", result.header)


def refusal(message: bytes, **options) -> tuple[str, str]:
    result = prepare(message, **options)
    assert isinstance(result, Refusal)
    return result.reason, str(result.reply)


# --- the ordinary message


def test_an_ordinary_message_only_gets_received():
    given = submission(HEAD + b"\r\nHello\r\n")
    headers = Headers.parse(given.content.header)
    result = PREPARER.prepare(given, headers)
    assert result.header.endswith(b"+0000\r\n" + HEAD)
    assert result.body is given.content.body
    assert not result.eight_bit
    assert not result.long_lines


def test_received():
    assert prepare(HEAD + b"\r\n").header.removesuffix(HEAD) == (
        b"Received: from app.example.com ([192.0.2.1])\r\n"
        b"\tby relay.example.com with ESMTP id 01jbjw3k5v00000000a\r\n"
        b"\tfor <anna@example.net>;\r\n\tMon, 02 Nov 2026 09:30:00 +0000\r\n"
    )


def test_received_says_how_the_client_proved_itself_only_when_asked():
    public = prepare(HEAD + b"\r\n", credential="shop", tls="TLSv1.3").header
    assert b"(using TLSv1.3)" in public
    assert b"Authenticated" not in public
    named = Preparer("relay.example.com", show_credential=True)
    assert (
        b"(Authenticated sender: shop)" in prepare(HEAD + b"\r\n", preparer=named, credential="shop").header
    )
    assert b"Authenticated" not in prepare(HEAD + b"\r\n", preparer=named).header


@pytest.mark.parametrize(
    ("address", "literal"),
    [
        ("192.0.2.1", b"([192.0.2.1])"),
        ("2001:db8:0::1", b"([IPv6:2001:db8::1])"),
        ("::ffff:192.0.2.1", b"([192.0.2.1])"),
        ("fe80::1%eth0", b"([IPv6:fe80::1])"),
        ("::nonsense", b"([unknown])"),
    ],
)
def test_address_literals(address, literal):  # RFC 5321 §4.1.3
    assert literal in prepare(HEAD + b"\r\n", address=address).header


@pytest.mark.parametrize(
    ("helo", "shown"),
    [
        ("WIN_PC-1", b"from WIN_PC-1 ("),
        ("[192.0.2.7]", b"from [192.0.2.7] ("),
        ("", b"from unknown ("),
        ("a\r\nBcc: x", b"from a??Bcc:?x ("),
        ("a (b\0", b"from a??b? ("),
        ("müller", b"from m?ller ("),
        ("x" * 5000, b"from " + b"x" * 100 + b" ("),
    ],
)
def test_a_helo_brings_nothing_into_the_header(helo, shown):
    result = prepare(HEAD + b"\r\n", helo=helo)
    assert shown in result.header
    assert Headers.parse(result.header).count("received") == 1


def test_for_is_said_of_one_recipient_only():
    assert b"for <" not in prepare(HEAD + b"\r\n", recipients=("a@example.net", "b@example.net")).header
    assert b"for <" not in prepare(HEAD + b"\r\n", recipients=("a\r\nX: y@example.net",)).header
    assert b"for <" not in prepare(HEAD + b"\r\n", recipients=("ä@example.net",)).header
    with_utf8 = prepare(HEAD + b"\r\n", recipients=("ä@example.net",), utf8=True)
    assert "for <ä@example.net>".encode() in with_utf8.header
    assert with_utf8.eight_bit


def test_long_names_are_folded():
    result = prepare(HEAD + b"\r\n", recipients=("a" * 64 + "@" + "b" * 180,), helo="c" * 100)
    assert max(map(len, result.header.split(b"\r\n"))) < 300


def test_credentials_and_tls_cannot_end_their_comment():
    named = Preparer("relay.example.com", show_credential=True)
    header = prepare(HEAD + b"\r\n", preparer=named, credential="a)\r\nX: (b", tls="TLS)\r\n(").header
    assert b"(Authenticated sender: a???X: ?b)" in header
    assert b"(using TLS)" in header


def test_dates_change_with_the_second():
    preparer = Preparer("relay.example.com")
    first = preparer._dates.text(1_793_611_800.9)
    assert first == preparer._dates.text(1_793_611_800.1) == "Mon, 02 Nov 2026 09:30:00 +0000"
    assert preparer._dates.text(1_793_611_801.0) == "Mon, 02 Nov 2026 09:30:01 +0000"


@given(st.floats(0, 4_000_000_000))
def test_dates_are_read_back(time_s):
    assert parsedate_to_datetime(PREPARER._dates.text(time_s)).timestamp() == int(time_s)


# --- what is added (RFC 6409 §8)


def test_missing_date_and_message_id_are_added():
    header = header_of(b"From: a@example.com\r\n\r\nx\r\n")
    assert header == (
        b"From: a@example.com\r\nDate: Mon, 02 Nov 2026 09:30:00 +0000\r\n"
        b"Message-ID: <01jbjw3k5v00000000a@relay.example.com>\r\n"
    )


def test_what_is_there_is_never_altered():
    odd = b"FROM:a@example.com\r\nDATE:yesterday\r\nMessage-id:none\r\n"
    assert header_of(odd + b"\r\nx\r\n") == odd


def test_no_from_is_refused():
    assert refusal(b"Subject: x\r\n\r\n") == (
        "no-from",
        "550 5.6.0 no From header (RFC 5322 section 3.6.2); say who the message is from",
    )
    assert "no address in the From" in refusal(b"From: root\r\n\r\n")[1]


@pytest.mark.parametrize(
    ("head", "sender", "line"),
    [
        (b"", "cron@example.com", b"From: <cron@example.com>\r\n"),
        (b"", "", b'From: "MAILER-DAEMON" <postmaster@relay.example.com>\r\n'),
        (b"From: root\r\n", "cron@example.com", b'From: "root" <cron@example.com>\r\n'),
        (b'From: "x\\y"\r\n', "cron@example.com", b'From: "\\"x\\\\y\\"" <cron@example.com>\r\n'),
        ("From: Jörg\r\n".encode(), "a@example.com", b"From: =?utf-8?q?J=C3=B6rg?= <a@example.com>\r\n"),
    ],
)
def test_a_legacy_client_without_from_gets_the_envelopes(head, sender, line):
    assert line in header_of(head + b"\r\nx\r\n", sender=sender, legacy=True)


# --- what is taken out


def test_what_may_not_leave():
    message = (
        b"Return-Path: <a@b>\r\nBcc: secret@example.org,\r\n other@example.org\r\n"
        b"RESENT-BCC: x@y\r\nbcc : z@y\r\n"
        b"X-Relay-Stream: marketing\r\nx-relay-tag: a=b\r\nX-Relayed: stays\r\n"
    )
    assert header_of(message + HEAD + b"\r\n") == b"X-Relayed: stays\r\n" + HEAD


@pytest.mark.parametrize(
    "value",
    [
        "relay.example.com; spf=pass smtp.mailfrom=evil.example",
        "RELAY.Example.COM; none",
        " (hello) relay.example.com 1; dkim=pass",
        "\r\n\trelay.example.com;\r\n\tdkim=pass header.d=evil.example",
        '"relay.example.com"; none',
        '"re\\lay.example.com"; none',
        "relay.example.com",
        "relay.example.com; broken=",
        "(" * 5000 + " relay.example.com; none",
        "relay.example.com; " + "spf=pass; " * 1000,
        "()()" * 30 + "relay.example.com; none",
    ],
)
def test_results_in_our_name_are_forged(value):
    forged = b"Authentication-Results: " + value.encode() + b"\r\n"
    assert header_of(forged + HEAD + b"\r\n") == HEAD


@pytest.mark.parametrize(
    "value",
    [
        "mx.example.net; spf=pass (relay.example.com) smtp.mailfrom=a@example.com",
        "other.example.com; none",
        "(" * 60,
        "",
    ],
)
def test_results_of_others_stay(value):
    theirs = b"Authentication-Results: " + value.encode() + b"\r\n"
    assert header_of(theirs + HEAD + b"\r\n") == theirs + HEAD


# --- the policy's edits


def test_a_policys_edits():
    edits = Edits(
        remove=("x-mailer", "Organization"), add=(("X-Campaign", "spring"), ("Reply-To", "help@example.com"))
    )
    message = b"X-Mailer: a\r\nOrganization: b\r\nReply-To: old@example.com\r\n" + HEAD
    assert header_of(message + b"\r\n", edits=edits) == (
        HEAD + b"X-Campaign: spring\r\nReply-To: help@example.com\r\n"
    )


def test_an_edits_value_stays_in_its_field():
    edits = Edits(
        add=(("X-A", "a\r\nBcc: b@example.org\r\n\r\nbody\0"), ("X-B", "Grüße " * 30), ("X-C", "word " * 60))
    )
    header = header_of(HEAD + b"\r\n", edits=edits)
    assert b"X-A: a Bcc: b@example.org body\r\n" in header
    assert header.isascii()
    assert max(map(len, header.split(b"\r\n"))) <= 78
    assert Headers.parse(header).first("x-c") == ("word " * 60).strip()


@pytest.mark.parametrize("name", ["", "X A", "X:", "X\r\n", "Ä"])
def test_an_edits_name_must_be_one(name):
    with pytest.raises(ValueError, match="not a header name"):
        prepare(HEAD + b"\r\n", edits=Edits(add=((name, "x"),)))


# --- repairs


def test_obsolete_space_before_the_colon_goes():
    assert (
        header_of(b"X-A\t : 1 : 2\r\n" + HEAD.replace(b"Subject:", b"Subject :") + b"\r\n")
        == b"X-A: 1 : 2\r\n" + HEAD
    )


def test_lines_of_nothing_but_space_go():
    assert header_of(b"X-A: 1\r\n \t\r\n 2\r\n \r\n" + HEAD + b"\r\n") == b"X-A: 1\r\n 2\r\n" + HEAD


def test_what_came_signed_is_not_rewritten():
    head = b"DKIM-Signature: v=1\r\nX-A : gr\xc3\xbcn\r\n \r\n" + HEAD
    assert header_of(head + b"\r\n") == head


@pytest.mark.parametrize("name", ["From", "Subject", "Date", "Message-ID", "To", "Content-Type", "Reply-To"])
def test_what_may_occur_once_may_not_occur_twice(name):
    line = name.encode() + b": a@example.com\r\n"
    reason, text = refusal(line * 2 + b"X-Y: 1\r\n" * 2 + b"From: b@example.com\r\n\r\n")
    assert reason == "duplicate-header"
    assert text.startswith(f"550 5.6.0 more than one {name.title()} header (RFC 5322 section 3.6)")


def test_a_legacy_client_may_say_the_same_twice():
    message = (
        b"From: a@example.com\r\nSubject: x\r\nfrom:a@example.com\r\nTo: b@y\r\n"
        b"SUBJECT:  x\r\nTo: c@y,\r\n d@y\r\nX: 1\r\n"
    )
    header = header_of(message + b"\r\n", legacy=True)
    assert header.startswith(
        b"From: a@example.com\r\nSubject: x\r\nTo: b@y,\r\n c@y,\r\n d@y\r\nX: 1\r\nDate:"
    )
    assert (
        refusal(b"From: a@example.com\r\nFrom: b@example.com\r\n\r\n", legacy=True)[0] == "duplicate-header"
    )


def test_nul_bytes():
    assert refusal(b"X: a\0b\r\n" + HEAD + b"\r\n")[0] == "malformed-header"
    assert header_of(b"X: a\0b\r\n" + HEAD + b"\r\n", legacy=True) == b"X: ab\r\n" + HEAD


def test_long_header_lines_are_folded_at_white_space():
    line = b"X-Long:" + b" word" * 300 + b"\r\n"
    header = header_of(line + HEAD + b"\r\n")
    assert max(map(len, header.split(b"\r\n"))) <= 78
    assert header.replace(b"\r\n ", b" ") == line + HEAD


def test_a_long_folded_field_with_short_lines_is_left():
    line = b"References:" + b"\r\n <some-message-id@example.com>" * 50 + b"\r\n"
    assert header_of(line + HEAD + b"\r\n") == line + HEAD


def test_a_long_header_line_without_white_space_is_refused():
    reason, text = refusal(b"X-Long: " + b"x" * 998 + b"\r\n" + HEAD + b"\r\n")
    assert reason == "long-header"
    assert (
        "a line of the X-Long header has 999 bytes without white space to fold it at; 998 are allowed" in text
    )


@pytest.mark.parametrize(
    ("raw", "fixed"),
    [
        ("Subject: Grüße aus Wien\r\n", b"Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?= aus Wien\r\n"),
        (
            "From: Jörg Müller <j@example.com>\r\n",
            b"From: =?utf-8?q?J=C3=B6rg_M=C3=BCller?= <j@example.com>\r\n",
        ),
        (
            'Content-Disposition: attachment; filename="ü 1.pdf"\r\n',
            b"Content-Disposition: attachment; filename*=utf-8''%C3%BC%201.pdf\r\n",
        ),
    ],
)
@pytest.mark.parametrize("legacy", [False, True])
def test_raw_eight_bit_headers_are_encoded(raw, fixed, legacy):
    base = b"" if raw.startswith("From") else b"From: a@example.com\r\n"
    result = prepare(base + raw.encode() + b"\r\nx\r\n", legacy=legacy)
    assert fixed in result.header
    assert not result.eight_bit


def test_eight_bit_is_still_said_of_the_body():
    assert prepare("From: a@b\r\nSubject: ü\r\n\r\nü\r\n".encode()).eight_bit
    assert prepare(HEAD + "\r\nü\r\n".encode()).eight_bit


def test_raw_eight_bit_headers_of_another_charset():
    head = b'From: a@example.com\r\nSubject: \xc4\xf6\r\nContent-Type: text/plain; charset="%s"\r\n\r\n'
    assert (
        b"=?utf-8?q?=C4=8D=C4=9B?=" in prepare(head.replace(b"\xc4\xf6", b"\xe8\xec") % b"iso-8859-2").header
    )
    assert b"=?utf-8?q?=C3=84=C3=B6?=" in prepare(head % b"no-such").header
    assert b"=?utf-8?q?=C3=84=C3=B6?=" in prepare(head.replace(b"Content-Type", b"X-Other") % b"x").header


def test_smtputf8_keeps_its_headers():
    head = "From: jörg@example.com\r\nSubject: Grüße\r\n".encode()
    result = prepare(head + b"\r\nx\r\n", utf8=True)
    assert head in result.header
    assert result.eight_bit


def test_eight_bit_where_no_text_is():
    message = "Message-ID: <ü@example.com>\r\nFrom: a@example.com\r\n\r\n".encode()
    assert refusal(message) == (
        "eight-bit-header",
        "550 5.6.7 8-bit characters in the Message-Id header, where only SMTPUTF8 may have them (RFC 6532)",
    )
    assert "<ü@example.com>".encode() in header_of(message, legacy=True)
    assert refusal("From: jörg@example.com\r\n\r\n".encode())[0] == "eight-bit-header"
    assert refusal("From: a@b\r\nContent-Type: ü; a=b\r\n\r\n".encode())[0] == "eight-bit-header"


# --- the body


def test_long_body_lines_are_encoded_and_the_rest_kept():
    result = prepare(HEAD + b"\r\nshort\r\n" + b"x" * 1200 + b"\r\n")
    assert result.body.data.startswith(b"short\r\n" + b"x" * 75 + b"=\r\n")
    assert result.header.endswith(
        HEAD + b"MIME-Version: 1.0\r\nContent-Type: text/plain; charset=us-ascii\r\n"
        b"Content-Transfer-Encoding: quoted-printable\r\n"
    )
    assert (
        message_from_bytes(b"".join(result.chunks())).get_payload(decode=True)
        == b"short\r\n" + b"x" * 1200 + b"\r\n"
    )


def test_a_long_line_in_a_signed_message_is_refused_by_its_number():
    reason, text = refusal(b"DKIM-Signature: v=1\r\n" + HEAD + b"\r\na\r\n\r\n" + b"x" * 1200 + b"\r\n")
    assert reason == "long-line"
    assert "line 3 of the body has 1200 bytes and the message is signed; 998 are allowed" in text


def test_eight_bit_bodies_are_encoded_where_the_stream_asks():
    message = HEAD + b"\r\n" + "Ein Gruß aus der Küche an alle, die dies lesen.\r\n".encode()
    assert prepare(message).body.data.endswith(b"lesen.\r\n")
    result = prepare(message, eight_bit="encode")
    assert not result.eight_bit
    assert b"".join(result.chunks()).isascii()
    assert b"charset=utf-8" in result.header


def test_what_takes_long_is_known_before():
    small = Content(b"", MemoryBody(b"x"), eight_bit=True, long_lines=True)
    large = Content(b"", MemoryBody(b"x" * 200_000), eight_bit=True)
    assert not PREPARER.takes_long(small)
    assert not PREPARER.takes_long(large)
    assert PREPARER.takes_long(large, "encode")
    assert PREPARER.takes_long(Content(b"", large.body, long_lines=True))


PIECES = st.sampled_from(
    [
        *(b"From: a@b\r\n", b"From:\r\n", b"To : x\r\n", b" \r\n", b"\tfold\r\n", b"Bcc: s@t\r\n"),
        *(b"X: \xff\xfe\r\n", b"Subject: \xc3\xbc =?utf-8?q?a?=\r\n", b"Cc: \xc3\xbc <a@b>\r\n", b"\r\n"),
        *(b"Content-Type: multipart/mixed; boundary=b\r\n", b"Content-Type: text/plain\r\n"),
        *(b"Authentication-Results: relay.example.com\r\n", b"X-Relay-A: 1\r\n", b"DKIM-Signature: x\r\n"),
        *(b"--b\r\n", b"--b--\r\n", b"y" * 1000 + b"\r\n", b"z z" * 400 + b"\r\n"),
        *(b"X-Long:" + b" long" * 300 + b"\r\n", b"X-Longer:" + b"long" * 300 + b"\r\n"),
    ]
)


@given(st.lists(PIECES, max_size=14).map(b"".join), st.booleans(), st.sampled_from(["keep", "encode"]))
def test_whatever_comes_something_legal_leaves(message, legacy, eight_bit):
    result = prepare(message, legacy=legacy, eight_bit=eight_bit)
    if isinstance(result, Refusal):
        assert result.reply.code == 550
        return
    whole = b"".join(result.chunks())
    headers = Headers.parse(result.header)
    assert max(map(len, whole.split(b"\r\n"))) <= 998
    assert headers.count("from") == headers.count("date") == headers.count("message-id") == 1
    assert not headers.names() & {"bcc", "x-relay-a"}
    assert headers.fields[0].name == b"received"
    assert result.eight_bit == (not whole.isascii())
