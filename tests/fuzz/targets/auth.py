"""Invariant: an AUTH exchange ends with a name and a password or a refusal of the table, and asks at most twice."""

from __future__ import annotations

from relay.inbound.auth import ask_password
from relay.inbound.refusals import Refused
from relay.inbound.stream import EndOfInput

SEEDS = [b"PLAIN AHByaW50ZXIAaW5r", b"LOGIN\ncHJpbnRlcg==\r\naW5r\r\n", b"PLAIN\n=\r\n", b"login cHJpbnRlcg==\n*\r\n", b"PLAIN \xff", b"",
         b"LOGIN =\n=\r\n", b"CRAM-MD5", b"PLAIN a b"]  # fmt: skip


class Line:
    def __init__(self, lines: list[bytes]) -> None:
        self.lines, self.said = lines, 0

    def say(self, data: bytes) -> None:
        assert data.startswith(b"334 ")
        assert data.endswith(b"\r\n")
        self.said += 1

    async def read_line(self) -> bytes:
        if not self.lines:
            raise EndOfInput
        return self.lines.pop(0) + b"\n"


def target(data: bytes) -> None:
    first, *lines = data.split(b"\n")
    line = Line(lines)
    work = ask_password(line, first.decode("utf-8", "surrogateescape"))
    try:
        work.send(None)
    except StopIteration as done:
        name, password = done.value
        assert isinstance(name, str)
        assert isinstance(password, str)
    except Refused as refused:
        assert refused.reply.severity == 5
    except EndOfInput:
        pass
    assert line.said <= 2
