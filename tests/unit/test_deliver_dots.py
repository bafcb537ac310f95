"""The final dot is found wherever the chunks are cut."""

import pytest

from relay.deliver.dots import DotStream

DIALOGUES = [
    (b".\r\n", b"", b""),
    (b"one\r\n.\r\n", b"one\r\n", b""),
    (b"one\r\n.\r\nMAIL FROM:<>\r\n", b"one\r\n", b"MAIL FROM:<>\r\n"),
    (b"..one\r\n...\r\n.x\r\n.\r\n", b".one\r\n..\r\nx\r\n", b""),
    (b"\r\n\r\n.\r\n", b"\r\n\r\n", b""),
    (b"a\n.\nb\r.\rc\r\n.\nd\n.\r\n\r\n.\r\n", b"a\n.\nb\r.\rc\r\n\nd\n.\r\n\r\n", b""),
    (b"a\r\r\n.\r\n", b"a\r\r\n", b""),
    (b"x" * 50 + b"\r\n." + b"y" * 50 + b"\r\n.\r\n", b"x" * 50 + b"\r\n" + b"y" * 50 + b"\r\n", b""),
]


@pytest.mark.parametrize(("wire", "message", "rest"), DIALOGUES)
@pytest.mark.parametrize("step", [1, 2, 3, 5, 1000])
def test_the_message_is_the_same_however_it_is_cut(wire, message, rest, step):
    dots, got, at = DotStream(), b"", 0
    while not dots.ended:
        got += dots.feed(wire[at : at + step])
        at += step
    assert got == message
    assert dots.rest + wire[at:] == rest


def test_an_endless_line_is_not_held():
    dots = DotStream()
    assert sum(len(dots.feed(b"x" * 1000)) for _ in range(100)) == 100_000
    assert not dots.ended
