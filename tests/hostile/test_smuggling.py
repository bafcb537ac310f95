"""SMTP smuggling (CVE-2023-51764 and its family): at most one message out, never a bare CR or LF in it."""

from __future__ import annotations

import asyncio

import pytest

from relay.inbound.data import DataReader
from relay.smtp.wire import stuff
from tests.dialogues.stage import Peer, Stage, stage, until

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
ENVELOPE = b"MAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.net>\r\nDATA\r\n"
SMUGGLED = (
    b"MAIL FROM:<evil@example.com>\r\nRCPT TO:<victim@example.net>\r\nDATA\r\n"
    b"Subject: evil\r\n\r\nevil\r\n.\r\n"
)


def attack(end: bytes) -> bytes:
    return b"Subject: good\r\n\r\ngood" + end + SMUGGLED


async def deliver(one: Stage, pieces: list[bytes]) -> None:
    peer = await one.connect()
    await peer.greet()
    peer.send(ENVELOPE)
    for _ in range(3):
        await peer.reply()
    for piece in pieces:
        peer.send(piece)
        await peer.writer.drain()
        await asyncio.sleep(0)
    last = (await peer.reply())[-1]
    assert last[:3] in {"250", "550"}, last
    assert (await peer.ask("QUIT"))[:3] == "221"
    await peer.close()


def check(one: Stage, before: int, *, legacy: bool) -> None:
    assert len(one.mail) - before == (1 if legacy else 0)
    for mail in one.mail[before:]:
        data = b"".join(mail.content.chunks())
        assert data.count(b"\r") == data.count(b"\n") == data.count(b"\r\n")
        assert b"\0" not in data
        assert mail.envelope.sender == "a@example.com"


@pytest.mark.parametrize("profile", ["modern", "legacy"])
@pytest.mark.parametrize("end", ENDS)
def test_whole_and_split_at_every_byte(end: bytes, profile: str) -> None:
    data = attack(end)

    async def run() -> None:
        async with stage(profile=profile) as one:
            await deliver(one, [data])
            check(one, 0, legacy=profile == "legacy")
            around = data.index(b"good" + end) + 4
            for cut in range(around - 2, around + len(end) + 6):
                before = len(one.mail)
                await deliver(one, [data[:cut], data[cut:]])
                check(one, before, legacy=profile == "legacy")
            before = len(one.mail)
            await deliver(one, [data[at : at + 1] for at in range(len(data))])
            check(one, before, legacy=profile == "legacy")

    asyncio.run(run())


def test_a_pipelined_next_message_is_a_message_of_its_own() -> None:
    """What an honest client may do (RFC 2920): the next MAIL behind the dot, in one packet."""

    async def run() -> None:
        async with stage() as one:
            peer = await one.connect()
            await peer.greet()
            for data in (ENVELOPE, b"Subject: 1\r\n\r\n.\r\n" + ENVELOPE, b"Subject: 2\r\n\r\n.\r\n"):
                peer.send(data)
                await until(lambda: not one.reception.commits)
            replies = [(await peer.reply())[0][:3] for _ in range(8)]
            assert replies == ["250", "250", "354", "250", "250", "250", "354", "250"]
            assert [mail.content.header for mail in one.mail] == [b"Subject: 1\r\n", b"Subject: 2\r\n"]
            await peer.close()

    asyncio.run(run())


async def _greeted(one: Stage) -> Peer:
    peer = await one.connect()
    await peer.greet()
    return peer


def test_a_group_of_commands_is_answered_in_one_write() -> None:
    async def run() -> None:
        async with stage() as one:
            peer = await _greeted(one)
            session = next(iter(one.reception.sessions))
            writes: list[bytes] = []
            write = session.transport.write
            session.transport.write = lambda data: (writes.append(data), write(data))
            peer.send(ENVELOPE)
            for _ in range(3):
                await peer.reply()
            assert len(writes) == 1
            assert writes[0].count(b"\r\n") == 3
            await peer.close()

    asyncio.run(run())


@pytest.mark.parametrize("end", ENDS)
def test_what_leaves_can_end_only_once(end: bytes) -> None:
    """The other direction: whatever a body holds, a strict receiver finds one end and the same bytes."""
    body = b"good" + end + SMUGGLED
    for cut in range(len(body)):
        sent = b"".join(stuff([body[:cut], body[cut:]]))
        reader = DataReader()
        assert reader.feed(sent) == b""
        assert b"".join(reader.pieces).removesuffix(b"\r\n") == body.removesuffix(b"\r\n")
