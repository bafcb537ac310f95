"""Replies out of any bytes, and messages in the form the wire wants."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.core.reply import Reply
from relay.smtp.wire import LINE_BYTES, REPLY_BYTES, REPLY_LINES, TEXT_CHARS, ReplyReader, _whole, stuff, stuffed


def read(data: bytes) -> tuple[list[Reply], str]:
    reader = ReplyReader()
    return reader.feed(data), reader.trouble


@pytest.mark.parametrize(("line", "reply"), [
    (b"250 ok\r\n", Reply(250, "", ("ok",))),
    (b"250\r\n", Reply(250, "", ("",))),
    (b"250 \r\n", Reply(250, "", ("",))),
    (b"250 ok\n", Reply(250, "", ("ok",))),
    (b"250 ok\r\r\n", Reply(250, "", ("ok",))),
    (b"250 2.1.0\r\n", Reply(250, "2.1.0", ("",))),  # CVE-2026-43964: enhanced code without text
    (b"250 2.1.0 \r\n", Reply(250, "2.1.0", ("",))),
    (b"550 5.1.1 no such user\r\n", Reply(550, "5.1.1", ("no such user",))),
    (b"550 4.1.1 liar\r\n", Reply(550, "", ("4.1.1 liar",))),  # RFC 2034 §4: class is the first digit
    (b"550 5.1 short\r\n", Reply(550, "", ("5.1 short",))),
    (b"550 5.1.1001 long\r\n", Reply(550, "", ("5.1.1001 long",))),
    (b"550 5.01.1 zero\r\n", Reply(550, "", ("5.01.1 zero",))),
    (b"550 5.1.1: colon\r\n", Reply(550, "", ("5.1.1: colon",))),
    (b"550-5.1.1 one\r\n550 5.1.1 two\r\n", Reply(550, "5.1.1", ("one", "two"))),
    (b"550-no\r\n550 5.1.1 two\r\n", Reply(550, "5.1.1", ("no", "two"))),
    (b"250-a\r\n251 b\r\n", Reply(251, "", ("a", "b"))),
    (b"250 gr\xc3\xbc\xc3\x9fe\r\n", Reply(250, "", ("grüße",))),
    (b"250 \xff\r\n", Reply(250, "", ("\N{REPLACEMENT CHARACTER}",))),
    (b"250 a\x00b\x1b[1m\tc\rd\xc2\xa0e\r\n", Reply(250, "", ("a?b?[1m c?d e",))),
    ("250 a\N{LINE SEPARATOR}b\r\n".encode(), Reply(250, "", ("a?b",))),
])
def test_replies_as_servers_send_them(line, reply):
    assert read(line) == ([reply], "")


@pytest.mark.parametrize("line", [
    b"199 no\r\n", b"600 no\r\n", b"99 no\r\n", b"2500 no\r\n", b"250x\r\n", b"250\tno\r\n", b"hello\r\n",
    b"\r\n", b" 250 ok\r\n", "２５０ ok\r\n".encode(),
])
def test_what_is_no_reply_is_trouble(line):
    replies, trouble = read(b"250 ok\r\n" + line + b"250 after\r\n")
    assert replies == [Reply(250, "", ("ok",))]
    assert "not a reply line" in trouble


def test_trouble_stays():
    reader = ReplyReader()
    reader.feed(b"?\r\n")
    assert reader.feed(b"250 ok\r\n") == []


def test_a_reply_of_two_minds_is_trouble():
    replies, trouble = read(b"250-ok\r\n550 no\r\n")
    assert replies == []
    assert trouble == "one reply with two codes, 250 and 550"


def test_the_end_of_a_long_line_is_dropped():
    replies, trouble = read(b"250 " + b"x" * 9000 + b"\r\n250 ok\r\n")
    assert [len(reply.text) for reply in replies] == [LINE_BYTES - 4, 2]
    assert trouble == ""


def test_a_reply_keeps_so_much_text_and_no_more():
    replies, _ = read((b"250-" + b"x" * 1900 + b"\r\n") * 3 + b"250 ok\r\n")
    assert len("".join(replies[0].lines)) == TEXT_CHARS


def test_a_hundred_lines_are_a_reply_and_one_more_is_an_attack():
    assert len(read(b"250-x\r\n" * (REPLY_LINES - 1) + b"250 x\r\n")[0][0].lines) == REPLY_LINES
    assert "lines" in read(b"250-x\r\n" * REPLY_LINES + b"250 x\r\n")[1]


def test_endless_bytes_are_an_attack_with_and_without_line_ends():
    assert "bytes" in read(b"250-" + b"x" * REPLY_BYTES)[1]
    assert "bytes" in read((b"250-" + b"x" * 10_000 + b"\r\n") * 7)[1]


def test_part_of_a_reply_is_pending():
    reader = ReplyReader()
    assert not reader.pending
    for data in (b"2", b"50-a\r\n", b"250"):
        assert reader.feed(data) == []
        assert reader.pending
    assert reader.feed(b" b\n") == [Reply(250, "", ("a", "b"))]
    assert not reader.pending


LIKELY = st.lists(st.sampled_from([
    b"250", b"550", b"421", b"-", b" ", b"ok", b"5.1.1", b"\r", b"\n", b"\r\n", b"\xff", b"199 x",
    b"x" * 1999,
]) | st.binary(max_size=5)).map(b"".join)


@given(LIKELY, st.integers(1, 7))
def test_pieces_read_like_the_whole(data, cut):
    # invariant: however bytes are cut, the same replies and the same trouble, and never an exception
    whole, pieces = ReplyReader(), ReplyReader()
    replies = [reply for at in range(0, len(data), cut) for reply in pieces.feed(data[at:at + cut])]
    assert whole.feed(data) == replies
    assert whole.trouble == pieces.trouble


@given(LIKELY)
def test_a_reply_read_before_reads_as_it_did_the_first_time(data):
    _whole.cache_clear()
    assert read(data) == read(data)


# --- dot-stuffing --------------------------------------------------------------------------------


@pytest.mark.parametrize(("message", "wire"), [
    (b"", b".\r\n"),
    (b"a\r\n", b"a\r\n.\r\n"),
    (b"a", b"a\r\n.\r\n"),
    (b".\r\n", b"..\r\n.\r\n"),
    (b".a\r\n..b\r\n.\r\n", b"..a\r\n...b\r\n..\r\n.\r\n"),
    (b"a.\r\n", b"a.\r\n.\r\n"),
])
def test_dots_are_doubled_at_the_beginning_of_lines(message, wire):
    assert b"".join(stuff([message])) == wire
    assert stuffed(message) == wire


@given(st.lists(st.sampled_from([b"\r\n", b".", b"a", b"..\r\n", b""])), st.integers(1, 4))
def test_chunk_borders_do_not_matter_and_a_receiver_gets_the_message_back(words, cut):
    # invariant: un-stuffing what was sent gives the message (with a last CRLF), however it was cut
    message = b"".join(words)
    chunks = [message[at:at + cut] for at in range(0, len(message), cut)]
    wire = b"".join(stuff(chunks))
    assert wire == b"".join(stuff([message])) == stuffed(message)
    assert wire.find(b"\r\n.\r\n") in (-1, len(wire) - 5)
    lines = wire.split(b"\r\n")
    assert lines[-2:] == [b".", b""]
    back = b"".join(line.removeprefix(b".") + b"\r\n" for line in lines[:-2])
    assert back == (message if not message or message.endswith(b"\r\n") else message + b"\r\n")
