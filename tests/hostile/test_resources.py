"""Clients that want to exhaust us: guessing, floods, trickles, lists and nests without end. Bounded, and said why."""

from __future__ import annotations

import asyncio
import base64
import time
from pathlib import Path

import pytest

from relay.core.address import addresses_in
from relay.core.content import Content
from relay.core.headers import Headers, decode_words, split_message
from relay.core.prose import prose
from relay.inbound.backoff import Backoff
from relay.prepare.words import encode_addresses
from tests.dialogues.stage import Peer, Stage, stage, until
from tests.unit.test_prepare_message import HEAD, prepare


async def begun(one: Stage) -> Peer:
    peer = await one.connect()
    await peer.greet()
    return peer


async def to_data(peer: Peer, recipients: int = 1) -> None:
    await peer.ask("MAIL FROM:<a@example.com>")
    for number in range(recipients):
        await peer.ask(f"RCPT TO:<b{number}@example.net>")
    assert (await peer.ask("DATA"))[:3] == "354"


def test_guessing_costs_more_each_time_and_three_times_a_connection() -> None:
    async def run() -> None:
        wrong = base64.b64encode(b"\0shop\0wrong").decode()
        async with stage(auth="required", auth_clear=True) as one:
            peer = await begun(one)
            answers = [(await peer.ask(f"AUTH PLAIN {wrong}"))[:3] for _ in range(3)]
            assert answers == ["535", "535", "535"]
            assert (await peer.reply())[0].startswith("421 4.7.0")
            assert await peer.end() == b""
            await peer.close()
            backoff: Backoff = one.reception.access.backoff
            assert (backoff.wait_s(("a:127.0.0.1",), time.monotonic()) or 99) > 0

    asyncio.run(run())


FLOODS = [b"XYZZY\r\n", b"\r\n", b"NO\0OP\r\n", b"RCPT\r\n", b"NOOP\n", b"x" * 600 + b"\r\n"]


@pytest.mark.parametrize("line", FLOODS)
def test_an_error_flood_ends_after_max_errors(line: bytes) -> None:
    async def run() -> None:
        async with stage(max_errors=20) as one:
            peer = await begun(one)
            peer.send(line * 500)
            said = (await peer.end()).split(b"\r\n")
            errors = [one for one in said if one.startswith(b"5")]
            assert len(errors) == 20
            assert said[-2].startswith(b"421 4.7.0 too many errors")
            await peer.close()

    asyncio.run(run())


def test_a_client_that_does_nothing_useful_is_sent_away() -> None:
    async def run() -> None:
        async with stage(max_idle_commands=50) as one:
            peer = await begun(one)
            peer.send(b"NOOP\r\nRSET\r\nVRFY x\r\n" * 100)
            said = await peer.end()
            assert b"421 4.7.0 too many commands without mail" in said
            assert said.count(b"\r\n") <= 52
            await peer.close()

    asyncio.run(run())


@pytest.mark.parametrize("where", ["before EHLO", "between commands", "inside a command", "inside DATA"])
def test_a_slow_loris_is_cut_off(where: str) -> None:
    async def run() -> None:
        limits = {"idle_timeout_s": 0.3, "data_timeout_s": 0.3, "data_grace_s": 0.3}
        async with stage(**limits) as one:
            peer = await one.connect()
            await peer.reply()
            if where != "before EHLO":
                peer.send(b"EHLO x\r\n")
                await peer.reply()
            if where == "inside DATA":
                await to_data(peer)
            for _ in range(100):  # a letter now and then is no progress
                if where.startswith("inside"):
                    peer.send(b"x")
                await asyncio.sleep(0.02)
                if not one.reception.sessions:
                    break
            assert not one.reception.sessions
            assert one.reasons[-1] == ("slow-data" if where == "inside DATA" else "idle")
            await peer.close()

    asyncio.run(run())


def test_a_huge_list_of_recipients_is_a_message_of_the_first_ones() -> None:
    """RFC 5321 §4.5.3.1.10: 452 for the rest, and the transaction goes on."""

    async def run() -> None:
        async with stage(max_recipients=100) as one:
            peer = await begun(one)
            await peer.ask("MAIL FROM:<a@example.com>")
            peer.send(b"".join(b"RCPT TO:<b%d@example.net>\r\n" % number for number in range(5000)))
            codes = [(await peer.reply())[0][:9] for _ in range(5000)]
            assert codes == ["250 2.1.5"] * 100 + ["452 4.5.3"] * 4900
            assert (await peer.ask("DATA"))[:3] == "354"
            peer.send(b"Subject: x\r\n\r\n.\r\n")
            assert (await peer.reply())[0][:3] == "250"
            assert len(one.mail[0].envelope.recipients) == 100
            await peer.close()

    asyncio.run(run())


def nested(depth: int) -> bytes:
    parts = b"".join(
        b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (number, number) for number in range(depth)
    )
    return HEAD + b"MIME-Version: 1.0\r\n" + parts + b"Content-Type: text/plain\r\n\r\ninnermost\r\n"


@pytest.mark.parametrize("eight_bit", ["keep", "quoted-printable"])
def test_nested_mime_takes_linear_time(eight_bit: str) -> None:
    before = time.process_time()
    result = prepare(nested(3000) + b"\xe4" + b"x" * 2000 + b"\r\n", eight_bit=eight_bit)
    assert result is not None
    header, body = split_message(nested(3000))
    prose(header, body)
    assert time.process_time() - before < 5


def test_a_large_body_lies_in_a_file_and_memory_stays_flat(tmp_path: Path) -> None:
    async def run() -> None:
        async with stage(memory=400_000, spool=tmp_path) as one:
            peer = await begun(one)
            await to_data(peer)
            peer.send(b"Subject: x\r\n\r\n")
            for _ in range(200):
                peer.send(b"y" * 70 + b"\r\n" + b"z" * 65_000)
                await peer.writer.drain()
                assert one.reception.budget.used <= 400_000
            peer.send(b"\r\n.\r\n")
            assert (await peer.reply())[0][:3] == "250"
            assert one.mail[0].content.body.size > 13_000_000
            await peer.close()

    asyncio.run(run())


def test_a_header_without_end_is_refused() -> None:
    async def run() -> None:
        async with stage(max_header_bytes=10_000) as one:
            peer = await begun(one)
            await to_data(peer)
            peer.send(b"X-A: " + b"y" * 60 + b"\r\n")
            for _ in range(20):
                peer.send((b"X-A: " + b"y" * 60 + b"\r\n") * 20)
            peer.send(b"\r\n.\r\n")
            assert (await peer.reply())[0].startswith("552 5.3.4 header larger")
            await peer.close()

    asyncio.run(run())


# Texts on which a pattern that goes back and forth would take minutes
QUADRATIC = [
    "<" * 100_000, "(" * 100_000, '"' * 99_999, "\\" * 100_000, "a@b," * 25_000, "," * 100_000, ":" * 100_000,
    "=?" * 50_000, "=?utf-8?q?" * 10_000, "=?utf-8?b?" + "A" * 90_000, "a " * 50_000, "\t" * 100_000, "@" * 100_000,
    '"\\' * 50_000, "ü " * 30_000, "(ü" * 30_000, "<ü" * 30_000,
]  # fmt: skip


@pytest.mark.parametrize("text", QUADRATIC, ids=[text[:12] for text in QUADRATIC])
def test_reading_a_header_takes_linear_time(text: str) -> None:
    before = time.process_time()
    addresses_in(text)
    decode_words(text)
    encode_addresses(text[:60_000])
    block = b"Subject: " + text.encode() + b"\r\n"
    Headers.parse(split_message(block + b"\r\n")[0])
    result = prepare(HEAD + b"X-Long: " + text.encode() + b"\r\n\r\nx\r\n", legacy=True)
    assert isinstance(result, Content) or result.reply.code == 550
    assert time.process_time() - before < 5


def test_connections_of_one_client_and_of_all_are_capped() -> None:
    async def run() -> None:
        async with stage(max_connections=20, max_connections_per_client=5) as one:
            peers = [await one.connect() for _ in range(30)]
            greetings = [(await peer.reply())[0][:3] for peer in peers]
            assert greetings == ["220"] * 5 + ["421"] * 25
            assert [await peer.end() for peer in peers[5:]] == [b""] * 25
            for peer in peers:
                await peer.close()
            await until(lambda: not one.reception.sessions)

    asyncio.run(run())


def test_a_busy_relay_says_so_at_mail_and_keeps_the_session() -> None:
    async def run() -> None:
        async with stage() as one:
            asked: list[tuple[str, str]] = []
            one.reception.crowded = lambda listener, credential, now: not asked.append((listener, credential))
            peer = await begun(one)
            assert (await peer.ask("MAIL FROM:<a@example.com>")).startswith("451 4.3.2")
            assert asked == [("apps", "")]
            assert one.reasons == ["overloaded"]
            one.reception.crowded = lambda listener, credential, now: False
            assert (await peer.ask("MAIL FROM:<a@example.com>")).startswith("250")
            await peer.close()

    asyncio.run(run())


def test_a_client_that_talks_on_behind_quit_still_hears_of_its_message() -> None:
    """Bytes nobody will read are answered with RST by the kernel, which would take the 250 away: a duplicate."""

    async def run() -> None:
        async with stage() as one:
            for _ in range(3):
                peer = await begun(one)
                await to_data(peer)
                peer.writer.transport.pause_reading()  # a network in between
                peer.send(b"Subject: x\r\n\r\n.\r\nQUIT\r\n" + b"NOOP\r\n" * 500_000)
                await until(lambda: all(session._closing for session in one.reception.sessions))
                await asyncio.sleep(0.05)
                peer.writer.transport.resume_reading()
                await asyncio.sleep(0.05)
                said = (await peer.end()).split(b"\r\n")
                assert [line[:3] for line in said] == [b"250", b"221", b""]
                await peer.close()

    asyncio.run(run())
