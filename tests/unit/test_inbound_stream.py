"""The bytes of a client: lines and chunks in any pieces, and who waits for whom."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from relay.inbound.refusals import Refused
from relay.inbound.stream import MAX_ENDLESS, PAUSE_BYTES, READ_BYTES, EndOfInput, Stream


class Wire(asyncio.Transport):
    """A transport that keeps what is written and knows whether it reads."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []
        self.reading = True

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written.append(bytes(data))

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True


class Told(Stream):
    """A stream whose handler is the test."""

    def __init__(self, wire: Wire) -> None:
        super().__init__(asyncio.get_running_loop())
        self.transport = self.wire = wire

    def _begin(self) -> None: ...


def play(scene: Callable[[Told], Awaitable[None]]) -> None:
    async def run() -> None:
        await asyncio.wait_for(scene(Told(Wire())), 5)

    asyncio.run(run())


async def soon(stream: Told, what: Awaitable[bytes | None], *said: bytes) -> bytes | None:
    """What comes of waiting while the client says this, piece by piece."""
    task = asyncio.ensure_future(what)
    for piece in said:
        await asyncio.sleep(0)
        assert not task.done()
        stream.data_received(piece)
    return await task


def test_a_line_comes_in_any_pieces() -> None:
    async def scene(one: Told) -> None:
        assert await soon(one, one.read_line(), b"EH", b"LO", b" x\r", b"\nNOOP\r\nQU") == b"EHLO x\r\n"
        assert await one.read_line() == b"NOOP\r\n"
        assert await soon(one, one.read_line(), b"IT\r\n") == b"QUIT\r\n"

    play(scene)


def test_a_group_is_answered_in_one_write_before_the_next_wait() -> None:
    async def scene(one: Told) -> None:
        one.data_received(b"RSET\r\nNOOP\r\n")
        for reply in (b"250 1\r\n", b"250 2\r\n"):
            await one.read_line()
            one.say(reply)
        assert one.wire.written == []
        await soon(one, one.read_line(), b"QUIT\r\n")
        assert one.wire.written == [b"250 1\r\n250 2\r\n"]

    play(scene)


def test_a_line_too_long_is_refused_whole_and_the_next_one_is_read() -> None:
    async def scene(one: Told) -> None:
        for pieces in ([b"x" * (READ_BYTES + 1) + b"\r\n"], [b"x" * READ_BYTES] * 3 + [b"x\r\nRSET\r\n"]):
            with pytest.raises(Refused) as refused:
                await soon(one, one.read_line(), *pieces)
            assert refused.value.reason == "line-too-long"
        assert await one.read_line() == b"RSET\r\n"

    play(scene)


def test_a_line_without_end_is_not_kept() -> None:
    async def scene(one: Told) -> None:
        with pytest.raises(Refused) as refused:
            await soon(one, one.read_line(), *[b"x" * READ_BYTES] * (MAX_ENDLESS // READ_BYTES))
        assert refused.value.reason == "endless-line"
        assert len(one._input) <= PAUSE_BYTES

    play(scene)


def test_the_transport_pauses_while_nobody_reads() -> None:
    async def scene(one: Told) -> None:
        one.data_received(b"a" * PAUSE_BYTES)
        assert one.wire.reading
        one.data_received(b"a")
        assert not one.wire.reading
        assert len(await one.read_chunk()) == READ_BYTES
        assert not one.wire.reading
        assert len(await one.read_chunk()) == READ_BYTES
        assert one.wire.reading
        assert await one.read_chunk() == b"a"

    play(scene)


def test_the_end_comes_after_what_was_said() -> None:
    async def scene(one: Told) -> None:
        one.data_received(b"RSET\r\nQU")
        assert one.eof_received(), "our half stays open for the replies"
        assert await one.read_line() == b"RSET\r\n"
        with pytest.raises(EndOfInput):
            await one.read_line()

    play(scene)


def test_what_a_connection_breaks_by_is_raised_to_who_waits() -> None:
    async def scene(one: Told) -> None:
        waiting = asyncio.ensure_future(one.read_line())
        await asyncio.sleep(0)
        assert one.waiting
        one.connection_lost(TimeoutError("no route"))
        with pytest.raises(TimeoutError, match="no route"):
            await waiting
        assert not one.waiting
        with pytest.raises(EndOfInput):
            await one.read_chunk()

    play(scene)


@pytest.mark.parametrize("lost", [False, True])
def test_replies_wait_for_a_client_that_does_not_read(lost: bool) -> None:
    async def scene(one: Told) -> None:
        one.pause_writing()
        one.say(b"250 Ok\r\n")
        flushing = asyncio.ensure_future(one.flush())
        for _ in range(3):
            await asyncio.sleep(0)
        one.data_received(b"more")
        await asyncio.sleep(0)
        assert not flushing.done()
        if lost:
            one.connection_lost(None)
            with pytest.raises(EndOfInput):
                await flushing
        else:
            one.resume_writing()
            await flushing
        assert one.wire.written == [b"250 Ok\r\n"]

    play(scene)


def test_what_was_read_too_far_is_read_again() -> None:
    async def scene(one: Told) -> None:
        one.data_received(b"end\r\n.\r\nQUIT\r\n")
        chunk = await one.read_chunk()
        one.unread(chunk[8:])
        assert await one.read_line() == b"QUIT\r\n"

    play(scene)


def test_nothing_is_sent_to_a_client_that_was_sent_away() -> None:
    async def scene(one: Told) -> None:
        one._closing = True
        one.say(b"250 Ok\r\n")
        with pytest.raises(EndOfInput):
            await one.read_line()
        assert one.wire.written == []

    play(scene)
