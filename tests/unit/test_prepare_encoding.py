"""Body parts re-encoded: the part that needs it, and not a byte around it."""

import time
from email import message_from_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.core.content import MemoryBody
from relay.core.headers import Headers, split_message
from relay.prepare.encoding import leaves, reencoded
from relay.prepare.repair import Refusal

LONG = b"word " * 300
TOP = b"MIME-Version: 1.0\r\n"


def encode(message: bytes, *, eight_bit: bool = False, signed: bool = False) -> bytes | Refusal:
    """The whole message again."""
    header, body = split_message(message)
    headers = Headers.parse(header)
    result = reencoded(headers, MemoryBody(body), eight_bit=eight_bit, signed=signed)
    if isinstance(result, Refusal):
        return result
    return headers.to_bytes() + b"\r\n" + b"".join(result.chunks())


def payload(message: bytes, *path: int) -> bytes:
    part = message_from_bytes(message)
    for index in path:
        part = part.get_payload(index)
    return part.get_payload(decode=True)


def longest(message: bytes) -> int:
    return max(map(len, message.split(b"\r\n")))


def mixed(*parts: bytes, boundary: bytes = b"b 1", kind: bytes = b"mixed") -> bytes:
    head = TOP + b'Content-Type: multipart/%s; boundary="%s"\r\n\r\n' % (kind, boundary)
    return head + b"".join(b"--%s\r\n%s\r\n" % (boundary, part) for part in parts) + b"--%s--\r\n" % boundary


def test_a_body_that_fits_is_the_same_object():
    body = MemoryBody(b"Hello\r\n" + b"x" * 998 + b"\r\n")
    assert reencoded(Headers.parse(TOP), body, eight_bit=True, signed=False) is body


@pytest.mark.parametrize("length", [999, 1000, 5000])
@pytest.mark.parametrize("place", [b"%s", b"a\r\n%s\r\n", b"\r\n%s"])
def test_long_lines_become_quoted_printable(length, place):
    text = place % (b"x" * length)
    message = encode(TOP + b"\r\n" + text)
    assert longest(message) <= 76
    assert b"Content-Transfer-Encoding: quoted-printable\r\n" in message
    assert payload(message) == text


def test_what_quoted_printable_must_guard():
    text = LONG + b"\r\nends in space \r\nends in tab\t\r\n.\r\n=3D is no code\r\nFrom me\r\n\r\n"
    message = encode(TOP + b"\r\n" + text)
    assert payload(message) == text
    assert not any(line.endswith((b" ", b"\t")) or line == b"." for line in message.split(b"\r\n"))


def test_an_encoding_that_was_said_is_replaced():
    message = encode(TOP + b"Content-Type: text/html\r\ncontent-transfer-encoding: 8BIT (raw)\r\n\r\n" + LONG)
    assert message.startswith(
        TOP + b"Content-Type: text/html\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"
    )


@pytest.mark.parametrize(
    ("text", "charset"), [("ü".encode(), b"utf-8"), (b"\xfc", b"windows-1252"), (b"u", b"us-ascii")]
)
def test_a_text_without_a_type_is_given_one(text, charset):
    assert b"Content-Type: text/plain; charset=%s\r\n" % charset in encode(b"\r\n" + LONG + text)


def test_mostly_eight_bit_becomes_base64():
    text = "Привет, как дела?\r\n".encode() * 20
    message = encode(TOP + b"Content-Type: text/plain; charset=utf-8\r\n\r\n" + text, eight_bit=True)
    assert b"Content-Transfer-Encoding: base64\r\n" in message
    assert longest(message) <= 76
    assert payload(message) == text


def test_eight_bit_stays_unless_asked():
    message = TOP + b"\r\n" + "Grüße\r\n".encode()
    assert encode(message) == message
    assert encode(message, eight_bit=True).isascii()


def test_base64_on_one_line_is_wrapped():
    text = b"QUJD" * 600
    for end in (b"", b"\r\n"):
        message = encode(TOP + b"Content-Transfer-Encoding: BASE64\r\n\r\n" + text + end)
        assert longest(message) == 76
        assert message.endswith(b"\r\n") == bool(end)
        assert payload(message) == b"ABC" * 600


def test_quoted_printable_with_long_lines_gets_soft_breaks():
    text = b"x" * 200 + b"a=C3=BC" * 300 + b"\xfc\r\nshort=\r\n\r\n"
    message = encode(TOP + b"Content-Transfer-Encoding: quoted-printable\r\n\r\n" + text)
    assert longest(message) <= 76
    assert payload(message) == b"x" * 200 + "aü".encode() * 300 + b"\xfc\r\nshort\r\n"


def test_only_the_part_in_trouble_is_touched():
    parts = [
        b"Content-Type: text/plain\r\n\r\nshort  \r\n.\r\n",
        b"Content-Type: text/html\r\nX-ODD:  kept \r\n\r\n" + LONG,
        b"Content-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n\r\nAAAA\r\n",
    ]
    message = mixed(*parts)
    result = encode(message)
    before, after = message.split(parts[1])
    assert result.startswith(before)
    assert result.endswith(after)
    changed = result[len(before) : -len(after)]
    assert changed.startswith(
        b"Content-Type: text/html\r\nX-ODD:  kept \r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"
    )
    assert payload(result, 1) == LONG


def test_the_fields_of_a_part_are_made_legal_too():
    name = 'Content-Disposition: attachment; filename="grün.txt"\r\n'.encode()
    result = encode(mixed(name + b"X-Long:" + b" word" * 300 + b"\r\n\r\nshort"), eight_bit=True)
    assert result.isascii()
    assert longest(result) <= 78
    assert b"\r\n\r\nshort\r\n--b 1--" in result
    assert message_from_bytes(result).get_payload(0).get_filename() == "grün.txt"
    assert encode(mixed(name + b"\r\nshort")) == mixed(name + b"\r\nshort")
    damaged = b"Content-ID: <\xfc>\r\n\r\nshort"
    assert encode(mixed(damaged), eight_bit=True) == mixed(damaged)


def test_a_part_whose_field_cannot_be_folded_is_refused():
    field = b"X-Long: " + b"x" * 1200 + b"\r\n"
    assert "line 2 of the body has 1208 bytes" in encode(mixed(field + b"\r\nshort")).reply.text
    inner = field + mixed(b"\r\nx", boundary=b"in").removeprefix(TOP)
    assert "line 2 of the body" in encode(mixed(inner)).reply.text
    assert encode(mixed(field + b"Content-Type: message/rfc822\r\n\r\nx")).reason == "long-line"


def test_parts_inside_parts():
    inner = mixed(b"\r\n" + LONG, b"\r\n" + "Grüße".encode(), boundary=b"in").removeprefix(TOP)
    result = encode(mixed(inner, b"\r\nx", kind=b"alternative"), eight_bit=True)
    assert longest(result) <= 78
    assert result.isascii()
    assert payload(result, 0, 0) == LONG
    assert payload(result, 0, 1) == "Grüße".encode()


def test_a_part_that_forgot_its_empty_line():
    result = encode(mixed(LONG))
    assert payload(result, 0) == LONG


@pytest.mark.parametrize("kind", ["signed; protocol=x", "encrypted", "SIGNED"])
def test_what_is_sealed_stays_or_is_refused(kind):
    message = TOP + b"Content-Type: multipart/%s; boundary=b\r\n\r\n" % kind.encode()
    eight_bit = message + "--b\r\n\r\nGrüße\r\n--b--\r\n".encode()
    assert encode(eight_bit, eight_bit=True) == eight_bit
    refused = encode(message + b"--b\r\n\r\n" + LONG + b"\r\n--b--\r\n")
    assert "line 3 of the body has 1500 bytes and that part may not be re-encoded" in refused.reply.text


def test_what_came_signed_stays_or_is_refused():
    eight_bit = TOP + b"\r\n" + "Grüße\r\n".encode()
    assert encode(eight_bit, eight_bit=True, signed=True) == eight_bit
    refused = encode(TOP + b"\r\n\r\n" + LONG, signed=True)
    assert str(refused.reply).startswith(
        "550 5.6.0 line 2 of the body has 1500 bytes and the message is signed"
    )


@pytest.mark.parametrize(
    "part",
    [
        b"Content-Type: message/rfc822\r\n\r\nSubject: x\r\n\r\n",
        b"Content-Transfer-Encoding: x-uuencode\r\n\r\n",
        b"Content-Type: multipart/mixed\r\n\r\n",
        b"Content-Type: multipart/mixed; boundary=never\r\n\r\n",
        b"Content-Type: text/plain; x=" + b'"' * 2500 + b"\r\n\r\n",
    ],
)
def test_what_may_not_be_encoded_is_refused(part):
    assert encode(mixed(part + LONG)).reason == "long-line"
    assert encode(TOP + part + LONG).reason == "long-line"


def test_a_digest_holds_messages():
    assert encode(mixed(b"\r\nSubject: x\r\n\r\n" + LONG, kind=b"digest")).reason == "long-line"


@pytest.mark.parametrize(
    "where",
    [b"%s--b\r\n\r\nx\r\n--b--\r\n", b"--b\r\n\r\nx\r\n--b--\r\n%s", b"--b\r\n\r\nx\r\n--b--\r\n--b\r\n%s"],
)
def test_preamble_and_epilogue_are_nobodys(where):
    head = TOP + b"Content-Type: multipart/mixed; boundary=b\r\n\r\n"
    assert encode(head + where % (LONG + b"\r\n")).reason == "long-line"
    short = head + where % b"for old readers\r\n" + LONG[:0]
    assert encode(short) == short


def test_a_delimiter_is_a_whole_line():
    text = b"--b2\r\nx --b\r\n--bb--\r\n" + LONG
    head = TOP + b"Content-Type: multipart/mixed; boundary=b\r\n\r\n"
    result = encode(head + b"--b \t\r\n\r\n" + text + b"\r\n--b--\t")
    assert payload(result, 0) == text


def test_a_multipart_that_never_ends():
    result = encode(TOP + b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\n" + LONG + b"\r\n")
    assert payload(result, 0).strip() == LONG.strip()


def test_hostile_nesting_is_bounded():
    message = b"x"
    for depth in range(300):
        message = mixed(message, boundary=b"b%d" % depth)
    before = time.process_time()
    header, body = split_message(message)
    found = list(leaves(Headers.parse(header), body, signed=False))
    assert len(found) < 100
    assert any(part.fixed for part in found)
    assert time.process_time() - before < 0.5


def test_a_hundred_thousand_parts_are_bounded():
    before = time.process_time()
    message = mixed(*[b"\r\nx"] * 100_000)
    assert encode(message + b"\r\n") == message + b"\r\n"
    refused = encode(mixed(*[b"\r\nx"] * 2000, b"\r\n" + LONG))
    assert refused.reason == "long-line"
    assert time.process_time() - before < 3


@pytest.mark.parametrize("line", [b"--b" + b" " * 900 + b"x\r\n", b"--", b"--b--b", b"\r\n--b"])
def test_hostile_delimiters_take_no_time(line):
    before = time.process_time()
    encode(TOP + b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + line * (300_000 // len(line)))
    assert time.process_time() - before < 1.5


TEXT = st.lists(
    st.sampled_from(
        [b"a", b" ", b"\t", b"=", b".", b"=C3", b"\xfc", "ü".encode(), b"\r\n", b"x" * 400, b"From "]
    ),
    max_size=30,
).map(b"".join)


@given(TEXT, st.booleans())
def test_every_text_is_read_back(text, eight_bit):
    result = encode(TOP + b"Content-Type: application/x\r\n\r\n" + text, eight_bit=eight_bit)
    assert longest(result) <= 998
    assert payload(result) == text
    assert result.isascii() or not eight_bit


@given(st.lists(TEXT, min_size=1, max_size=4))
def test_every_part_is_read_back(texts):
    result = encode(mixed(*[b"\r\n" + text for text in texts]), eight_bit=True)
    assert result.isascii()
    assert longest(result) <= 998
    for index, text in enumerate(texts):
        assert payload(result, index) == text
