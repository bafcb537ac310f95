"""Invariant: the same bytes in any pieces get the same replies and the same mail; never two messages from one end of
data, never a fault of ours, every reply well formed."""

from __future__ import annotations

import asyncio
import contextlib
import re
from typing import Any

from relay.core.envelope import Submission
from relay.core.reply import Reply, reply
from relay.inbound.access import Access
from relay.inbound.reception import MemoryBudget, Reception
from relay.inbound.session import Session
from relay.inbound.settings import ListenerSettings, networks
from tests.fuzz.cutting import cut_up, with_cuts

LINE = re.compile(rb"[2-5][0-9]{2}[ -][ -~]{0,506}\r\n")
HELLO = b"EHLO x\r\nMAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.net>\r\nDATA\r\n"
SEEDS = with_cuts([
    HELLO + b"Subject: x\r\n\r\nbody\r\n.\r\nQUIT\r\n",
    HELLO + b"a\n.\r\nMAIL FROM:<c@example.com>\r\n.\r\nRSET\r\n" + HELLO + b"..\r\n.\r\n",
    b"HELO x\r\nMAIL FROM:<>\r\nRCPT TO:<b@x.example> NOTIFY=NEVER\r\nBDAT 4 LAST\r\nRSETNOOP\r\nHELP\r\nVRFY x\r\n",
    b"\r\nMAIL\r\n" + HELLO + b"\0\r\n.\r\n" + b"EXPN\r\n" * 3,
    b"\x16\x03\x01", b"GET / HTTP/1.1\r\n\r\n", b"STARTTLS\r\nAUTH PLAIN x\r\n",
])  # fmt: skip
LOOP = asyncio.new_event_loop()
LISTENERS = {
    profile: ListenerSettings(
        "apps", "relay.test", networks(["127.0.0.0/8"]), profile=profile, max_message_bytes=5000, max_recipients=3,
        max_errors=30, max_idle_commands=200, postmaster="postmaster@example.com",
    )
    for profile in ("modern", "legacy")
}  # fmt: skip
ACCESS = Access()


class Wire(asyncio.Transport):
    """A transport that keeps what is written and never fills up."""

    def __init__(self) -> None:
        super().__init__({"peername": ("127.0.0.1", 9)})
        self.written = b""
        self.closing = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += bytes(data)

    def is_closing(self) -> bool:
        return self.closing

    def close(self) -> None:
        self.closing = True

    abort = close

    def can_write_eof(self) -> bool:
        return False

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...


def converse(parts: list[bytes], profile: str) -> tuple[bytes, list[tuple[Any, ...]]]:
    mail: list[tuple[Any, ...]] = []

    async def accept(submission: Submission) -> Reply:
        content = submission.content
        mail.append((submission.envelope, content.header, b"".join(content.body.chunks()), content.eight_bit))
        return reply(250, "2.0.0", "Ok")

    async def run() -> bytes:
        reception = Reception(LISTENERS[profile], ACCESS, accept, budget=MemoryBudget(100_000))
        wire, session = Wire(), Session(reception, LOOP)
        session.connection_made(wire)
        for part in parts:
            session.data_received(part)
            for _ in range(8):
                await asyncio.sleep(0)
        if not wire.closing:
            session.eof_received()
        handler = session._handler
        if handler is not None:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait_for(handler, 20)
        session.connection_lost(None)
        assert reception.budget.used == 0
        return wire.written

    return LOOP.run_until_complete(run()), mail


def target(data: bytes) -> None:
    if not data:
        return
    profile = "legacy" if data[0] & 1 else "modern"
    payload, parts = cut_up(data[1:])
    if not payload or len(payload) > 20_000:
        return
    said, mail = converse([payload], profile)
    cut_said, cut_mail = converse(parts, profile)
    assert b"451 4.3.0" not in said, said
    assert cut_mail == mail
    if not payload.startswith((b"\x16\x03", b"\x80")) and not (payload[0] & 0x80):  # looked at in the first piece alone
        assert cut_said == said
    assert re.fullmatch(rb"(?:%b)*" % LINE.pattern, said), said
    ends = len(re.findall(rb"(?=\r\n\.\r\n)" if profile == "modern" else rb"(?=\n\.\r\n)", payload))
    assert len(mail) <= ends
