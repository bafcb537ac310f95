"""Text made fit for a header, read back by the standard library."""

import time
from email.header import decode_header, make_header
from email.utils import getaddresses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.core.headers import decode_words
from relay.prepare.words import (
    encode_addresses,
    encode_parameters,
    encode_text,
    encoded_words,
    fold,
    new_field,
    text_of,
)


@pytest.mark.parametrize(
    ("octets", "charset", "text"),
    [
        ("ü".encode(), "iso-8859-1", "ü"),  # valid UTF-8 is UTF-8, whatever it claims
        (b"\xfc", "iso-8859-1", "ü"),
        (b"\x80", "", "€"),
        (b"\xe8", "iso-8859-2", "č"),
        (b"\xfc", "no-such", "ü"),
        (b"\xfc", "base64", "ü"),
        (b"\xfc", "a\0b", "ü"),
        (b"\xfc", "ascii", "ü"),
        (b"\x81", "", "\ufffd"),
    ],
)
def test_what_octets_were_meant_to_be(octets, charset, text):
    assert text_of(octets, charset) == text


@pytest.mark.parametrize(
    ("text", "encoded"),
    [
        ("plain", "plain"),
        ("Grüße", "=?utf-8?q?Gr=C3=BC=C3=9Fe?="),
        ("a ü b", "a =?utf-8?q?=C3=BC?= b"),
        ("ü  é", "=?utf-8?q?=C3=BC__=C3=A9?="),
        ("Привет", "=?utf-8?b?0J/RgNC40LLQtdGC?="),
        ("=?utf-8?q?x?= ü", "=?utf-8?q?x?= =?utf-8?q?_=C3=BC?="),
        ("ü =?utf-8?q?x?=", "=?utf-8?q?=C3=BC_?= =?utf-8?q?x?="),
    ],
)
def test_text(text, encoded):
    assert encode_text(text) == encoded
    assert decode_words(encoded) == decode_words(text)


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=120))
def test_words_are_short_and_read_back(text):
    words = encoded_words(text)
    assert all(len(word) <= 75 for word in words.split(" "))  # RFC 2047 §2
    assert str(make_header(decode_header(words))) == text


@given(st.lists(st.sampled_from(["a", "ü", "日本", " ", "  ", "=?utf-8?q?x?="]), max_size=12).map("".join))
def test_text_is_read_back(text):
    encoded = encode_text(text)
    assert encoded.isascii()
    if "=?" not in text:
        assert decode_words(encoded) == text


@pytest.mark.parametrize(
    ("value", "encoded"),
    [
        ("Jörg <a@b>", "=?utf-8?q?J=C3=B6rg?= <a@b>"),
        ('"Müller, Jörg" <a@b>, c@d', "=?utf-8?q?M=C3=BCller=2C_J=C3=B6rg?= <a@b>, c@d"),
        ('Dr. "Jörg" Ö. x <a@b>', "Dr. =?utf-8?q?J=C3=B6rg_=C3=96=2E?= x <a@b>"),
        ("a@b (Jörg (nö))", "a@b (=?utf-8?q?J=C3=B6rg?= (=?utf-8?q?n=C3=B6?=))"),
        ("a@b (Jörg \\) x)", "a@b (=?utf-8?q?J=C3=B6rg_=29_x?=)"),
        ("Grüppe: a@b, c@d;", "=?utf-8?q?Gr=C3=BCppe?=: a@b, c@d;"),
        ("a@b, Jörg", "a@b, =?utf-8?q?J=C3=B6rg?="),
        ("jörg@b", None),
        ('"jörg"@b', None),
        ("x <jörg@b>", None),
        ("a@bücher.example", None),
        ("", ""),
    ],
)
def test_addresses(value, encoded):
    assert encode_addresses(value) == encoded


@given(st.text('aü ",<>()@:;\\', max_size=40))
def test_an_address_list_is_ascii_or_none(value):
    encoded = encode_addresses(value)
    assert encoded is None or encoded.isascii()


def test_names_are_read_back():
    encoded = encode_addresses('Jörg Müller <a@b>, "Ünal, Çelik" <c@d>')
    names = [str(make_header(decode_header(name))) for name, _ in getaddresses([encoded])]
    assert names == ["Jörg Müller", "Ünal, Çelik"]


@pytest.mark.parametrize(
    ("value", "encoded"),
    [
        ('attachment; filename="ü.pdf"; size=1', "attachment; filename*=utf-8''%C3%BC.pdf; size=1"),
        ("text/plain;name=ü", "text/plain; name*=utf-8''%C3%BC"),
        ('a/b; name="\\"ü\\""', "a/b; name*=utf-8''%22%C3%BC%22"),
        ("ü/b; name=x", None),
    ],
)
def test_parameters(value, encoded):
    assert encode_parameters(value) == encoded


@given(
    st.lists(st.sampled_from([b"a", b" ", b"\t", b"\r\n b", b"word" * 10, b"x" * 90]), max_size=40).map(
        b"".join
    )
)
def test_folding_adds_nothing_but_line_ends(value):
    raw = b"Subject: " + value + b"\r\n"
    folded = fold(raw)
    assert folded.replace(b"\r\n", b"") == raw.replace(b"\r\n", b"")
    for line in folded.split(b"\r\n")[:-1]:
        assert len(line) <= 78 or b" " not in line.strip()[9:] or max(map(len, line.split())) >= 68


def test_folding_keeps_the_first_word_beside_the_name():
    assert fold(b"X: " + b"a" * 100 + b" b\r\n") == b"X: " + b"a" * 100 + b"\r\n b\r\n"
    assert fold(b"X-Long: " + b"a" * 995 + b"\r\n") == b"X-Long:\r\n " + b"a" * 995 + b"\r\n"
    assert fold(b"X: " + b" " * 100 + b"\r\n") == b"X: " + b" " * 100 + b"\r\n"


def test_a_new_field():
    assert new_field("X-A", " a\r\nB: c\0 ") == b"X-A: a B: c\r\n"
    assert new_field("X-A", "") == b"X-A: \r\n"


@pytest.mark.parametrize("work", [encode_text, encode_addresses, encode_parameters, encoded_words])
@pytest.mark.parametrize("unit", ["a", "ü", " ", "ü ", '"', "(", "<", ";a=", ";", "\\", "ü=?", "?= "])
def test_hostile_values_take_no_time(work, unit):
    before = time.process_time()
    work(unit * (20_000 // len(unit)) + "ü")
    assert time.process_time() - before < 1
