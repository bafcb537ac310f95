"""STARTTLS, both directions: what is said in clear never counts inside TLS (RFC 3207 §4.2, CVE-2011-0411)."""

from __future__ import annotations

import asyncio

import pytest

from relay.core.outcome import Trouble
from relay.smtp.client import Closed
from tests.dialogues.stage import client_context, stage
from tests.unit.smtp_dialogue import conversation, dialogue

HELLO = "S: 220 mx\nC: EHLO relay.example.com\nS: 250-mx\nS: 250 STARTTLS\nC: STARTTLS"


@pytest.mark.parametrize("behind", [
    b"EHLO evil\r\n",
    b"AUTH PLAIN AHByaW50ZXIAaW5r\r\n", b"MAIL FROM:<evil@example.com>\r\nRCPT TO:<v@example.net>\r\n",
    b"NOOP", b"\r\n", b"\0" * 100,
])  # fmt: skip
def test_plaintext_behind_starttls_is_thrown_away(behind: bytes) -> None:
    async def run() -> None:
        async with stage(tls="starttls", auth="optional") as one:
            peer = await one.connect()
            await peer.greet()
            peer.send(b"STARTTLS\r\n" + behind)
            assert (await peer.reply())[0].startswith("220 2.0.0")
            await peer.starttls(client_context())
            assert (await peer.ask("MAIL FROM:<a@example.com>")).startswith("503"), "EHLO of before still counts"
            await peer.greet_again()
            assert (await peer.ask("MAIL FROM:<a@example.com>")).startswith("250"), "a draft of before still counts"
            await peer.close()

    asyncio.run(run())


def test_nested_starttls_is_refused() -> None:
    async def run() -> None:
        async with stage(tls="starttls") as one:
            peer = await one.connect()
            await peer.greet()
            await peer.ask("STARTTLS")
            await peer.starttls(client_context())
            assert (await peer.ask("STARTTLS")).startswith("503 5.5.1")
            assert "250-STARTTLS" not in await peer.greet_again()
            await peer.close()

    asyncio.run(run())


@pytest.mark.parametrize("behind", [b"250 mx\r\n", b"2", b"250-mx\r\n250 AUTH PLAIN\r\n", b"\r\n"])
def test_plaintext_behind_a_servers_go_ahead_ends_the_session(behind: bytes) -> None:
    for whole in (True, False):
        talk = conversation()
        dialogue(talk, HELLO)
        pieces = [b"220 go\r\n" + behind] if whole else [b"220 go\r\n", behind]
        happened = [one for piece in pieces for one in talk.receive(piece)]
        closed = [one for one in happened if isinstance(one, Closed)]
        assert len(closed) == 1, happened
        assert closed[0].outcome.trouble in {Trouble.PROTOCOL, Trouble.TLS_HANDSHAKE}
