"""Never an open relay: the classic pairs of relay testers, from a stranger and with a claimed sender of ours."""

from __future__ import annotations

import asyncio

import pytest

from tests.dialogues.stage import stage

SENDERS = ["spam@example.com", "", "spam@relay.test", "postmaster@example.com", "spam@[127.0.0.1]", "spam@localhost"]
RECIPIENTS = [
    "<victim@example.net>",
    "<victim%example.net@relay.test>",  # percent hack
    "<victim%example.net@[127.0.0.1]>",
    "<@relay.test:victim@example.net>",  # source route
    "<@relay.test,@other.test:victim@example.net>",
    '<"victim@example.net">',  # quoted
    '<"victim%example.net">',
    '<"victim@example.net"@relay.test>',
    "<victim@example.net@relay.test>",
    "<relay.test!victim@example.net>",  # bang path
    "<example.net!victim>",
    "<example.net!victim@relay.test>",
    "<victim@[192.0.2.1]>",
    "victim@example.net",
    "<postmaster>",
]


@pytest.mark.parametrize("auth", ["none", "optional", "required"])
def test_no_classic_pair_is_relayed_for_a_stranger(auth: str) -> None:
    async def run() -> None:
        async with stage(networks=(), auth=auth, auth_clear=True, max_errors=10**9) as one:
            peer = await one.connect()
            await peer.greet()
            for sender in SENDERS:
                started = await peer.ask(f"MAIL FROM:<{sender}>")
                for recipient in RECIPIENTS:
                    answer = await peer.ask(f"RCPT TO:{recipient}")
                    assert answer[:3] in {"550", "503", "553"}, (sender, recipient, answer)
                assert (await peer.ask("DATA"))[:3] == "503"
                assert auth == "none" or started[:3] == "530"
                await peer.ask("RSET")
            assert one.mail == []
            await peer.close()

    asyncio.run(run())


@pytest.mark.parametrize("recipient", [*(one for one in RECIPIENTS if "%" in one or "!" in one), '<"a@b"@c.test>'])
def test_a_friend_without_credential_sends_no_routes_on(recipient: str) -> None:
    """The next host may follow a route that we only carry: then we were half of an open relay."""

    async def run() -> None:
        async with stage() as one:
            peer = await one.connect()
            await peer.greet()
            await peer.ask("MAIL FROM:<a@example.com>")
            assert (await peer.ask(f"RCPT TO:{recipient}"))[:3] in {"550", "553"}
            await peer.close()

    asyncio.run(run())


def test_a_source_route_is_dropped_and_never_followed() -> None:
    """RFC 5321 appendix F.2."""

    async def run() -> None:
        async with stage() as one:
            peer = await one.connect()
            await peer.greet()
            await peer.ask("MAIL FROM:<a@example.com>")
            assert (await peer.ask("RCPT TO:<@evil.test,@more.test:victim@example.net>"))[:3] == "250"
            await peer.ask("DATA")
            peer.send(b"Subject: x\r\n\r\n.\r\n")
            await peer.reply()
            assert [rcpt.address for rcpt in one.mail[0].envelope.recipients] == ["victim@example.net"]
            await peer.close()

    asyncio.run(run())
