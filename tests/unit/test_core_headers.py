"""Header blocks: what is not touched stays byte for byte, what is broken is named."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.core.headers import Field, Headers, decode_words, one_field, split_message

BLOCK = (
    b"Received: from a by b;\r\n\tMon, 02 Nov 2026 09:30:00 +0000\r\n"
    b"From: Anna <anna@example.com>\r\n"
    b"SUBJECT : \t Order  17 \r\n"
    b"received: from c by a;\r\n  Mon, 02 Nov 2026 09:29:59 +0000\r\n"
    b"X-Empty:\r\n"
)


def test_splits_at_the_empty_line():
    assert split_message(BLOCK + b"\r\nHello\r\n\r\nBye\r\n") == (BLOCK, b"Hello\r\n\r\nBye\r\n")


@pytest.mark.parametrize(
    ("data", "header", "body"),
    [
        (b"", b"", b""),
        (b"\r\n", b"", b""),
        (b"\r\nonly a body\r\n", b"", b"only a body\r\n"),
        (b"no header at all\r\n", b"", b"no header at all\r\n"),
        (b" A: begins with space\r\nB: 1\r\n", b"", b" A: begins with space\r\nB: 1\r\n"),
        (b"A: 1\r\nforgot the empty line\r\nB: 2\r\n", b"A: 1\r\n", b"forgot the empty line\r\nB: 2\r\n"),
        (b"A: 1\r\nB: 2\r\n", b"A: 1\r\nB: 2\r\n", b""),
        (b"A: cut", b"", b"A: cut"),
        (b"A: 1\r\n \r\n\r\nx\r\n", b"A: 1\r\n \r\n", b"x\r\n"),
        (b": no name\r\n\r\n", b"", b": no name\r\n\r\n"),
    ],
)
def test_splits_what_old_programs_send(data, header, body):
    assert split_message(data) == (header, body)


def test_an_mbox_line_on_top_does_not_hide_the_headers():
    header, body = split_message(b"From anna Mon Nov  2 09:30:00 2026\r\nSubject: x\r\n\r\nHello\r\n")
    assert header == b"X-Mailbox-Line: From anna Mon Nov  2 09:30:00 2026\r\nSubject: x\r\n"
    assert body == b"Hello\r\n"


def test_a_text_that_begins_with_from_is_a_body():
    assert split_message(b"From here on\r\nit is text\r\n") == (b"", b"From here on\r\nit is text\r\n")


def test_untouched_bytes_stay():
    assert Headers.parse(BLOCK).to_bytes() == BLOCK
    assert Headers.parse(b"").fields == []


def test_names_and_values():
    headers = Headers.parse(BLOCK)
    assert headers.first("subject") == "Order  17"
    assert headers.first("Received") == "from a by b;\tMon, 02 Nov 2026 09:30:00 +0000"
    assert len(headers.all("received")) == headers.count("RECEIVED") == 2
    assert headers.first("x-empty") == ""
    assert headers.first("to") is None
    assert headers.names() == {"received", "from", "subject", "x-empty"}


def test_bytes_that_are_no_utf8_survive_the_way_through_text():
    value = Headers.parse(b"X: caf\xe9\r\n").first("x")
    assert value is not None
    assert value.encode("utf-8", "surrogateescape") == b"caf\xe9"


def test_removing():
    headers = Headers.parse(BLOCK)
    assert headers.remove(["Received", "bcc"]) == 2
    assert headers.remove_if(lambda field: field.name.startswith(b"x-")) == 1
    assert [field.name for field in headers.fields] == [b"from", b"subject"]


def test_adding_above_and_below():
    headers = Headers.parse(b"A: 1\r\n")
    headers.prepend(b"Top: 0\r\n\tfolded\r\n")
    headers.append(b"Below: 2\r\n")
    assert headers.to_bytes() == b"Top: 0\r\n\tfolded\r\nA: 1\r\nBelow: 2\r\n"
    assert headers.fields[0] == Field(b"top", b"Top: 0\r\n\tfolded\r\n")


@pytest.mark.parametrize(
    "raw", [b"A: 1", b"A: 1\r\nB: 2\r\n", b"A: 1\r\n\r\n", b"no colon\r\n", b"A: 1\n\r\n", b" A: 1\r\n", b""]
)
def test_a_field_of_ours_cannot_bring_another(raw):
    with pytest.raises(ValueError, match="not one complete header field"):
        one_field(raw)


@pytest.mark.parametrize(("block", "bad"), [(b"A: 1\r\njunk\r\nB: 2\r\n", "junk"), (b" A: 1\r\n", " A: 1")])
def test_a_line_that_is_no_field_is_named(block, bad):
    with pytest.raises(ValueError, match=bad):
        Headers.parse(block)


LINES = st.lists(st.text("aB:- \t\0é", max_size=8).map(str.encode), max_size=8)


@given(LINES)
def test_nothing_is_lost_between_split_and_parse(lines):
    data = b"".join(line + b"\r\n" for line in lines)
    header, body = split_message(data)
    assert header + body == data or header + b"\r\n" + body == data
    assert Headers.parse(header).to_bytes() == header


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("plain", "plain"),
        ("=?utf-8?q?Gr=C3=BC=C3=9Fe_aus?= Wien", "Grüße aus Wien"),
        ("=?UTF-8?B?R3LDvMOfZQ?=", "Grüße"),  # padding forgotten
        ("a =?iso-8859-1?q?=FC?= b", "a ü b"),
        ("=?utf-8?q?a?= \t =?utf-8?q?b?=", "ab"),
        ("=?utf-8?q?=C3?= =?utf-8?q?=BC?=", "ü"),  # one character in two words
        ("=?utf-8?q?a?= =?iso-8859-1?q?=FC?=", "aü"),
        ("=?utf-8?q?a?= x =?utf-8?q?b?=", "a x b"),
        (" =?utf-8?q?a?=", " a"),
        ("=?utf-8*de?q?ja?=", "ja"),  # RFC 2231 §5
        ("=?no-such-charset?q?a?= b", "=?no-such-charset?q?a?= b"),
        ("=?utf-8?q?a?= =?nope?q?b?= =?utf-8?q?c?=", "a =?nope?q?b?= c"),
        ("=?utf-8?b?!?=", ""),
        ("=?utf-8?b?abcde?=", "=?utf-8?b?abcde?="),
        ("=?utf-8?q?ü?=", "=?utf-8?q?ü?="),
        ("=?\0?q?a?=", "=?\0?q?a?="),
        ("=?hex?q?41?=", "=?hex?q?41?="),
        ("=?idna?q?=FF?=", "\ufffd"),
        ("=?utf-8?q?=FF?=", "\ufffd"),
        ("=?utf-8?x?a?=", "=?utf-8?x?a?="),
        ("=?utf-8?q?not closed", "=?utf-8?q?not closed"),
    ],
)
def test_decodes_words(value, text):
    assert decode_words(value) == text


def test_a_huge_value_is_left_encoded():
    value = "=?utf-8?q?a?=" * 1000
    assert decode_words(value) == value


@pytest.mark.parametrize("hostile", ["=?" * 4000, "=?a?q?" * 1300, "=?utf-8?q?a" * 700, "=?a?q?b?= " * 800])
def test_decoding_hostile_words_takes_no_time(hostile):
    before = time.process_time()
    decode_words(hostile[:8000])
    assert time.process_time() - before < 0.05


@given(st.text(max_size=60))
def test_decoding_never_raises(text):
    decode_words("=?" + text)
    decode_words(f"=?utf-8?q?{text}?=")
    decode_words(f"=?{text}?b?AAAA?=")
