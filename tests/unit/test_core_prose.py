"""The text of a message, as far as it is compared."""

from __future__ import annotations

import base64
import quopri

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.core.prose import TEXT_BYTES, prose

TEXT = b"Hello Anna,\r\nthe workshop is open. Gr\xc3\xbc\xc3\x9fe\r\n"
PLAIN = b"From: a@b.example\r\nContent-Type: text/plain\r\n"


def test_plain_text_as_it_is():
    assert prose(PLAIN, TEXT) == TEXT


def test_quoted_printable():
    assert prose(PLAIN + b"Content-Transfer-Encoding: quoted-printable\r\n", quopri.encodestring(TEXT)) == TEXT


def test_base64():
    encoded = base64.encodebytes(TEXT * 9).replace(b"\n", b"\r\n")
    assert prose(PLAIN + b"content-transfer-encoding:BASE64\r\n", encoded) == (TEXT * 9)


def test_base64_that_is_none_is_no_text():
    assert prose(PLAIN + b"Content-Transfer-Encoding: base64\r\n", b"A") == b""
    assert prose(PLAIN + b"Content-Transfer-Encoding: base64\r\n", b"A---") == b""


def test_links_are_left_out():
    assert prose(PLAIN, b"see https://a.example/?t=123 and http://b.example\r\n") == b"see  and \r\n"


def test_a_signature_is_left_out():
    assert prose(PLAIN, b"Hello\r\n-- \r\nThe shop\r\n") == b"Hello\r"


def test_html_without_style_sheet_and_tags():
    page = b"<html><head><style>p { margin: 0 }</style></head><body><p class='x'>Hello&nbsp;Anna</p>\r\n<p>you</p>"
    text = prose(b"Content-Type: text/html\r\n", page)
    assert text.split() == [b"Hello", b"Anna", b"you"]
    assert prose(b"Content-Type: text/html\r\n", b"<BODY><b>Hi</b>").split() == [b"Hi"]


def part(kind: bytes, body: bytes) -> bytes:
    return b"--=_b\r\nContent-Type: " + kind + b"\r\n\r\n" + body


MULTIPART = b"Content-Type: multipart/mixed; boundary=\"=_b\"\r\n"


def test_the_first_part():
    html = part(b"text/html", b"<p>no")
    body = b"This is MIME.\r\n" + part(b"text/plain", TEXT) + b"\r\n" + html + b"\r\n--=_b--\r\n"
    assert prose(MULTIPART, body) == TEXT


def test_parts_in_parts():
    inner = b"--=_b\r\nContent-Type: multipart/alternative; boundary=in\r\n\r\n--in\r\nContent-Type: text/plain\r\n\r\n"
    assert prose(MULTIPART, inner + TEXT + b"\r\n--in--\r\n--=_b--\r\n") == TEXT


def test_too_many_parts_in_parts():
    assert prose(MULTIPART, part(b"multipart/mixed; boundary=x", b"") * 9) == b""


def test_a_part_without_end():
    assert prose(MULTIPART, b"--=_b\r\nContent-Type: text/plain") == b""
    assert prose(MULTIPART, b"no boundary at all") == b""


def test_a_line_of_hyphens_is_no_boundary():
    text = b"Order\r\n------\r\n3 shirts"
    assert prose(MULTIPART, part(b"text/plain", text)) == text


def test_length_is_bounded():
    assert len(prose(PLAIN, TEXT * 1000)) == TEXT_BYTES


@pytest.mark.parametrize("kind", [b"text/plain", b"text/html", b"multipart/mixed"])
@given(body=st.binary(max_size=2000), encoding=st.sampled_from([b"7bit", b"base64", b"quoted-printable"]))
def test_any_bytes(kind, body, encoding):
    header = b"Content-Type: " + kind + b"\r\nContent-Transfer-Encoding: " + encoding + b"\r\n"
    assert len(prose(header, body)) <= TEXT_BYTES
