"""Invariant: any cutting of DATA gives the same content, findings and rest; what is repaired has CRLF only; what the
client side stuffs is read back as it was."""

from __future__ import annotations

from relay.inbound.data import DataReader
from relay.smtp.wire import stuff
from tests.fuzz.cutting import MAIL, cut_up, one_line, with_cuts

SEEDS = with_cuts([mail + b"\r\n.\r\nNOOP\r\n" for mail in MAIL[:3]] + [
    b".\r\n", b"\n.\r\n\r\n.\r\n", b"..\r\n\r.\r\r\n.\r\n", b"a\0b\r\n.\n\r\n.\r\n", b"x" * 1100 + b"\r\n.\r\n", b"\r\n\r\n.\r\n.\r\n",
])  # fmt: skip


def read(parts: list[bytes], *, repair: bool) -> tuple[object, ...]:
    reader, rest = DataReader(repair=repair), None
    for number, part in enumerate(parts):
        rest = reader.feed(part)
        if rest is not None:
            rest += b"".join(parts[number + 1 :])
            break
    if rest is None:
        return (None,)
    content = reader.take()
    assert len(content) == max(reader.size, 0)
    return rest, content, reader.bare, reader.nul, reader.eight_bit, reader.long_lines


def target(data: bytes) -> None:
    payload, parts = cut_up(data)
    for repair in (False, True):
        whole = read([payload], repair=repair)
        assert read(parts, repair=repair) == whole
        if whole[0] is not None:
            content = whole[1]
            assert isinstance(content, bytes)
            assert not repair or (one_line(content) and b"\0" not in content)
            assert whole[2] or one_line(content)
    sent = b"".join(stuff(parts))
    got = read([sent], repair=False)
    assert got[0] == b""
    assert got[1] == (payload if not payload or payload.endswith(b"\r\n") else payload + b"\r\n")
