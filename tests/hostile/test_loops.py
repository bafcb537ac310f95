"""Mail in circles: a hundred hops, a bounce of a bounce, a report about a report."""

from __future__ import annotations

import asyncio

import pytest

from relay.core.content import Content, MemoryBody
from relay.core.envelope import Envelope, Recipient
from relay.core.message import Prepared
from relay.core.outcome import Phase, judge_reply
from relay.core.reply import Reply
from relay.deliver.reports import WANTED, Reporter
from relay.queue.rows import places
from relay.queue.store import Stored
from tests.dialogues.stage import stage
from tests.unit.delivery_stage import NOON, play

OUTCOME = judge_reply(Phase.RCPT, Reply(550, "5.1.1", ("no such user",)))


@pytest.mark.parametrize(("hops", "code"), [(99, "250"), (100, "554 5.4.6"), (101, "554 5.4.6"), (5000, "554 5.4.6")])
@pytest.mark.parametrize("name", ["Received", "RECEIVED", "received ", "Received\t"])
def test_a_hundred_hops_are_a_loop(hops: int, code: str, name: str) -> None:
    async def run() -> None:
        async with stage() as one:
            peer = await one.connect()
            await peer.greet()
            for command in ("MAIL FROM:<a@example.com>", "RCPT TO:<b@example.net>", "DATA"):
                await peer.ask(command)
            peer.send(f"{name}: from x by y\r\n".encode() * hops + b"\r\nbody\r\n.\r\n")
            assert (await peer.reply())[0].startswith(code)
            await peer.close()

    asyncio.run(run())


def stored(sender: str, notify: frozenset[str] = frozenset()) -> Stored:
    recipient = Recipient("bob@example.net", notify)
    message = Prepared(
        "m1", NOON, NOON, Envelope(sender, (recipient,)), sender, "transactional", "main", "all",
        content=Content(b"Subject: x\r\n", MemoryBody(b"x\r\n")),
    )  # fmt: skip
    return Stored(message, {0: recipient})


@pytest.mark.parametrize("event", list(WANTED))
def test_a_bounce_of_a_bounce_is_not_made(event: str) -> None:
    """RFC 5321 §4.5.5: what came with the null return path is never answered, whatever NOTIFY says."""
    desk = Reporter("relay.example.com", _put, clock=lambda: NOON, expires=lambda one: NOON)
    everything = frozenset({"SUCCESS", "FAILURE", "DELAY"})
    bounce, mail = stored("", everything), stored("shop@example.com", everything)
    (place,) = places(bounce.message)
    assert desk.due(bounce, place, event, OUTCOME, None) is None
    assert desk.due(mail, place, event, OUTCOME, None) is not None


def test_a_report_about_a_report_is_not_made() -> None:
    """What the relay reports goes out with the null return path and NOTIFY=NEVER (RFC 3464 §2)."""
    kept: list[Prepared] = []

    async def put(message: Prepared) -> None:
        kept.append(message)

    async def scenario() -> None:
        desk = Reporter("relay.example.com", put, clock=lambda: NOON, expires=lambda one: NOON)
        mail = stored("shop@example.com")
        (place,) = places(mail.message)
        told = desk.due(mail, place, "bounced", OUTCOME, None)
        assert told is not None
        await desk.send(mail, [told])
        (report,) = kept
        assert report.envelope.sender == report.return_path == ""
        again = Stored(report, dict(enumerate(report.envelope.recipients)))
        (place,) = places(report)
        assert all(desk.due(again, place, event, OUTCOME, None) is None for event in WANTED)

    play(scenario())


async def _put(message: Prepared) -> None:
    raise AssertionError("nothing is to be reported")
