"""Invariant: any cutting gives the same replies and the same trouble, memory stays bounded, nothing raises."""

from __future__ import annotations

from relay.core.reply import Reply
from relay.smtp.capabilities import parse
from relay.smtp.wire import TEXT_CHARS, ReplyReader
from tests.fuzz.cutting import cut_up, with_cuts

SEEDS = with_cuts([
    b"250 2.1.0 Ok\r\n354 go\r\n", b"250-mx\r\n250-SIZE 100\r\n250-AUTH PLAIN LOGIN\r\n250 AUTH=LOGIN\r\n", b"550 5.7.2\r\n",
    b"250\r\n220\n", b"199 x\r\n", b"250-a\r\n550 b\r\n", b"421 4.7.0 \xe4\x85\r\n", b"250-x\r\n" * 120, b"2" * 3000,
])  # fmt: skip


def read(parts: list[bytes]) -> tuple[list[Reply], str, bool]:
    reader = ReplyReader()
    return [one for part in parts for one in reader.feed(part)], reader.trouble, reader.pending


def target(data: bytes) -> None:
    payload, parts = cut_up(data)
    whole, cut = read([payload]), read(parts)
    assert whole[:2] == cut[:2]
    for one in whole[0]:
        assert 200 <= one.code <= 599
        assert one.enhanced == "" or one.enhanced[0] == str(one.code)[0]
        assert sum(map(len, one.lines)) <= TEXT_CHARS
        assert all(line.isprintable() for line in one.lines)
        capabilities = parse(one)
        assert 0 <= capabilities.size_limit < 10**20
