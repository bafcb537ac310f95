"""Postfix's queue files, byte by byte. Invariant: hostile bytes give a message or NotQueueFile, in bounded time."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.core.envelope import Recipient
from relay.core.postfix import RECIPIENTS_MOST, NotQueueFile, mailbox, read_queue_file, xtext

SIZE = f"{100:15} {100:15} {1:15} {0:15} {100:15} {0:15}"
UTF8 = SIZE[:-1] + "1"


def record(kind, value=b""):
    """One record; a text is its UTF-8."""
    data = value.encode() if isinstance(value, str) else value
    length, octets = len(data), b""
    while True:
        length, group = length >> 7, length & 0x7F
        octets += bytes([group | (0x80 if length else 0)])
        if not length:
            return kind.encode() + octets + data


def queue_file(*envelope, content=(("N", "Subject: x"), ("N", ""), ("N", "hello")), extracted=(), size=SIZE):
    records = [("C", size), ("T", "1772366400 250000"), ("S", "a@shop.test"), *envelope, ("M", ""), *content,
               ("X", ""), *extracted, ("E", "")]  # fmt: skip
    return b"".join(record(*one) for one in records)


def test_a_plain_message():
    read = read_queue_file(queue_file(
        ("A", "log_client_address=192.0.2.1"), ("A", "log_helo_name=app"), ("A", "sasl_username=shop"),
        ("A", "encoding=8bit"), ("W", "0"), ("R", "b@site.test")))  # fmt: skip
    assert read.arrived_at == 1772366400.25
    assert read.envelope.sender == "a@shop.test"
    assert read.envelope.recipients == (Recipient("b@site.test"),)
    assert (read.client, read.helo, read.user) == ("192.0.2.1", "app", "shop")
    assert (read.envelope.body, read.envelope.utf8, read.done, read.redirected) == ("8BITMIME", False, 0, "")
    assert read.content == b"Subject: x\r\n\r\nhello\r\n"


def test_dsn_parameters_belong_to_the_next_recipient():
    read = read_queue_file(queue_file(
        ("A", "envelope_id=a b+"), ("A", "ret_flags=1"),
        ("A", "notify_flags=10"), ("A", "dsn_orig_rcpt=rfc822;x=y@s.test"), ("O", "x@s.test"), ("R", "x@site.test"),
        ("A", "notify_flags=1"), ("A", "dsn_orig_rcpt=rfc822;d@s.test"), ("D", "done@site.test"),
        ("A", "dsn_orig_rcpt=a\r\nDATA;x"), ("R", "y@site.test"), ("/", "gone@site.test"),
        extracted=[("R", "z@site.test")]))  # fmt: skip
    assert (read.envelope.envid, read.envelope.ret, read.done) == ("a+20b+2B", "FULL", 2)
    assert read.envelope.recipients == (
        Recipient("x@site.test", frozenset({"SUCCESS", "DELAY"}), "rfc822;x+3Dy@s.test"),
        Recipient("y@site.test"), Recipient("z@site.test"))  # fmt: skip


def test_lines_in_parts_and_a_last_line_without_end():
    parts = [("N", "Subject: x"), ("N", ""), ("L", "long "), ("N", "line"), ("L", "no end")]
    assert read_queue_file(queue_file(content=parts)).content == b"Subject: x\r\n\r\nlong line\r\nno end\r\n"


def test_a_long_record_has_a_long_length():
    read = read_queue_file(queue_file(content=[("N", b"y" * 20_000)]))
    assert read.content == b"y" * 20_000 + b"\r\n"


def test_edits_of_a_milter_are_read_where_the_pointers_lead():
    head = record("T", "1 0") + record("S", "") + record("R", "b@site.test") + record("M")
    jump = len(record("p", f"{0:15}"))
    body = record("w", "0" * 10) + record("N", "Subject: x")
    tail = record("p", f"{0:15}") + record("X") + record("E")
    there = len(head) + jump + len(body) + len(tail)
    data = head + record("p", f"{there:15}") + body + tail
    data += record("N", "Added: y") + record("p", f"{len(head) + jump:15}")
    assert read_queue_file(data).content == b"Added: y\r\nSubject: x\r\n"


def test_smtputf8_counts_only_where_it_is_needed():
    assert read_queue_file(queue_file(("R", "ü@site.test"), size=UTF8)).envelope.utf8
    assert read_queue_file(queue_file(content=[("N", "Subject: ü"), ("N", "")], size=UTF8)).envelope.utf8
    assert not read_queue_file(queue_file(("R", "b@site.test"), size=UTF8)).envelope.utf8
    assert not read_queue_file(queue_file(("R", "b@site.test"), size="100 200")).envelope.utf8


def test_who_was_redirected():
    assert read_queue_file(queue_file((">", "boss@shop.test"))).redirected == "boss@shop.test"


def test_the_first_sender_and_time_count():
    read = read_queue_file(queue_file(("S", "other@shop.test"), ("T", "5 0")))
    assert (read.envelope.sender, read.stamp) == ("a@shop.test", "1772366400 250000")


def test_a_time_without_microseconds():
    data = record("T", "7") + record("S") + record("M") + record("X") + record("E")
    assert read_queue_file(data).arrived_at == 7.0


CIRCLE = record("T", "1 0") + record("S") + record("M")
CIRCLE += record("N", "x" * 50) + record("p", f"{len(CIRCLE):15}")


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "ends in the middle"),
        (b"From: an mbox", "ends in the middle"),
        (queue_file()[:-1], "ends in the middle"),
        (queue_file()[:-3], "ends in the middle"),
        (b"N\xff\xff\xff\xff\xff\x01", "no end to its length"),
        (CIRCLE, "in circles"),
        (record("p", "x") + record("E"), "a pointer is no number"),
        (record("E"), "no sender"),
        (record("S") + record("E"), "no sender or no time"),
        (record("T", "1 0") + record("S") + record("E"), "no whole message"),
        (record("T", "1 0") + record("S") + record("M") + record("E"), "stands in its content"),
        (queue_file(extracted=[("M", "")]), "two messages"),
        (queue_file(content=[("R", "x@y.test")]), "stands in its content"),
        (queue_file(("R", "nobody")), "has no domain"),
        (queue_file(("R", "")), "is empty"),
        (queue_file(("R", "a\r\nb@site.test")), "is no address"),
        (queue_file(("A", "notify_flags=x")), "is no number"),
        (queue_file(size="1 2 3 4 5 x"), "is no number"),
        (queue_file(("A", "ret_flags=-1")), "is no number"),
        (record("T", "x") + record("S") + record("M") + record("X") + record("E"), "time of arrival"),
    ],
)  # fmt: skip
def test_what_is_no_queue_file(data, why):
    with pytest.raises(NotQueueFile, match=why):
        read_queue_file(data)


def test_recipients_are_bounded():
    with pytest.raises(NotQueueFile, match="more than 100000 recipients"):
        read_queue_file(queue_file(*[("R", "a@b.test")] * (RECIPIENTS_MOST + 1)))


@pytest.mark.parametrize(
    ("kept", "written"),
    [("", ""), ("a.b@c.test", "a.b@c.test"), ("odd one@c.test", '"odd one"@c.test'),
     ('q"\\@c.test', '"q\\"\\\\"@c.test'),
     ("a@b@c.test", '"a@b"@c.test'), (".a@c.test", '".a"@c.test'), ("ü@c.test", "ü@c.test")],
)  # fmt: skip
def test_addresses_get_their_quotes_back(kept, written):
    assert mailbox(kept) == written


def test_xtext():
    assert xtext("a+b=c d\u00fc") == "a+2Bb+3Dc+20d+C3+BC"


KINDS = st.sampled_from("CTSRDOAWMNLXEpw/>fV")
USUAL = [b"", b"1772366400 0", b"a@b.test", b"notify_flags=6", b"             40"]
VALUES = st.binary(max_size=30) | st.sampled_from(USUAL)
RECORDS = st.lists(st.tuples(KINDS, VALUES), max_size=30).map(lambda them: b"".join(record(*one) for one in them))


@given(data=st.binary(max_size=200) | RECORDS)
def test_hostile_bytes_never_crash_it(data):
    try:
        read = read_queue_file(data)
    except NotQueueFile:
        return
    assert len(read.content) <= 2 * len(data) + 2
    assert all("\r" not in one.address and "\n" not in one.address for one in read.envelope.recipients)


@given(place=st.integers(0, 400), octet=st.integers(0, 255))
def test_one_wrong_byte_never_crashes_it(place, octet):
    data = bytearray(queue_file(("A", "notify_flags=6"), ("R", "b@site.test")))
    data[place % len(data)] = octet
    try:
        read = read_queue_file(bytes(data))
    except NotQueueFile:
        return
    assert len(read.content) <= len(data)
