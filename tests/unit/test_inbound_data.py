"""The end of a message, its stuffing and its flaws; the same however the bytes are cut."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relay.inbound.data import DataReader


def whole(data: bytes, *, repair: bool = False) -> tuple[bytes, bytes | None, DataReader]:
    reader = DataReader(repair=repair)
    rest = reader.feed(data)
    return reader.take(), rest, reader


def split(data: bytes, cuts: list[int], *, repair: bool = False) -> tuple[bytes, bytes | None, DataReader]:
    reader = DataReader(repair=repair)
    content, rest, start = b"", None, 0
    for cut in [*sorted(cuts), len(data)]:
        rest = reader.feed(data[start:cut])
        content += reader.take()
        start = max(start, cut)
        if rest is not None:
            rest += data[start:]
            break
    return content, rest, reader


@pytest.mark.parametrize(
    ("data", "content", "rest"),
    [
        (b".\r\n", b"", b""),
        (b"a\r\n.\r\n", b"a\r\n", b""),
        (b"a\r\n.\r\nMAIL FROM:<x@y>\r\n", b"a\r\n", b"MAIL FROM:<x@y>\r\n"),
        (b"..\r\n.\r\n", b".\r\n", b""),
        (b"..a\r\n...b\r\n.\r\n", b".a\r\n..b\r\n", b""),
        (b".a\r\n.\r\n", b"a\r\n", b""),
        (b"\r\n.\r\n", b"\r\n", b""),
        (b"a.\r\nb.c\r\n.\r\n", b"a.\r\nb.c\r\n", b""),
    ],
)
def test_the_end_and_the_stuffing(data: bytes, content: bytes, rest: bytes) -> None:
    found, left, reader = whole(data)
    assert (found, left) == (content, rest)
    assert reader.size == len(content)
    assert not reader.bare
    assert not reader.nul


ENDS = [
    b"\n.\n",
    b"\n.\r",
    b"\r.\n",
    b"\r.\r",
    b"\n.\r\n",
    b"\r.\r\n",
    b"\r\n.\n",
    b"\r\n.\r",
    b"\r\n\0.\r\n",
    b"\r\n.\0\r\n",
    b"\r\n.\r\r\n",
    b"\r\r\n.\r\r\n",
]


@pytest.mark.parametrize("end", ENDS)
def test_nothing_but_crlf_dot_crlf_ends_a_message(end: bytes) -> None:
    _, rest, reader = whole(b"Subject: x\r\n\r\nbody" + end + b"MAIL FROM:<evil@example.com>\r\n")
    assert rest is None
    assert reader.bare or reader.nul
    repaired, rest, _ = whole(b"Subject: x\r\n\r\nbody" + end + b"more\r\n.\r\n", repair=True)
    assert rest == b""
    assert repaired.count(b"\r") == repaired.count(b"\n") == repaired.count(b"\r\n")
    assert b"\0" not in repaired
    assert repaired.endswith(b"more\r\n")


def test_repair() -> None:
    content, _, reader = whole(b"a\nb\rc\r\nd\0e\r\r\n\n.\r\n.\r\n", repair=True)
    assert content == b"a\r\nb\r\nc\r\nde\r\n\r\n\r\n.\r\n"
    assert (reader.bare, reader.nul) == (True, True)


@pytest.mark.parametrize(
    ("length", "long"), [(997, False), (998, False), (999, True), (1000, True), (5000, True), (70_000, True)]
)
@pytest.mark.parametrize("before", [b"", b"short\r\n", b"short\r\n" * 700])
def test_long_lines_are_noticed(length: int, long: bool, before: bytes) -> None:
    data = before + b"x" * length + b"\r\nlast\r\n.\r\n"
    assert whole(data)[2].long_lines is long
    assert split(data, list(range(0, len(data), 777)))[2].long_lines is long


def test_eight_bit_is_noticed() -> None:
    assert whole("ü\r\n.\r\n".encode())[2].eight_bit
    assert not whole(b"u\r\n.\r\n")[2].eight_bit


ATOMS = st.sampled_from(
    [b"\r", b"\n", b".", b"\r\n", b"\r\n.", b"..", b"a", b"\0", b"\xff", b"x" * 500, b"\r\n.\r\n"]
)


@settings(max_examples=300, deadline=None)
@given(st.lists(ATOMS, max_size=25).map(b"".join), st.lists(st.integers(0, 400), max_size=12), st.booleans())
def test_whole_and_in_pieces_are_the_same(data: bytes, cuts: list[int], repair: bool) -> None:
    data += b"\r\n.\r\nrest"
    one, rest_one, first = whole(data, repair=repair)
    two, rest_two, second = split(data, [min(cut, len(data)) for cut in cuts], repair=repair)
    assert (one, rest_one) == (two, rest_two)
    for name in ("size", "bare", "nul", "eight_bit", "long_lines"):
        assert getattr(first, name) == getattr(second, name), name
    if repair:
        assert one.count(b"\r") == one.count(b"\n") == one.count(b"\r\n")
        assert b"\0" not in one


@given(st.binary(max_size=200))
def test_byte_by_byte_is_the_same(data: bytes) -> None:
    data += b"\r\n.\r\n"
    assert whole(data)[:2] == split(data, list(range(len(data))))[:2]
