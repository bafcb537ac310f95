"""A newsletter tool: hands over a campaign as fast as it is taken, on some kept connections, each command group in
one write (RFC 2920). A process of its own: `python -m tests.bench.source PLAN.json`.

When it is done it prints one line of JSON: how many were taken, and when (time.monotonic()) it began and ended.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import uvloop

PATIENCE_S = 600.0  # for one answer: a server may let a newsletter wait


@dataclass(frozen=True, slots=True)
class Campaign:
    """`count` messages of about `size` bytes to the domains in turn, over `sessions` connections."""

    port: int
    count: int
    domains: Sequence[str]
    size: int = 4096
    sessions: int = 10
    sender: str = "news@example.com"
    name: str = "news"
    host: str = "127.0.0.1"


@dataclass(slots=True)
class _Progress:
    """What is left to send, and what was taken."""

    campaign: Campaign
    numbers: Iterator[int] = field(init=False)
    taken: int = 0

    def __post_init__(self) -> None:
        self.numbers = iter(range(self.campaign.count))

    def next_message(self) -> tuple[bytes, bytes] | None:
        """The commands of the next message, and its bytes; None at the end."""
        number = next(self.numbers, None)
        if number is None:
            return None
        plan = self.campaign
        to = f"{plan.name}{number}@{plan.domains[number % len(plan.domains)]}"
        head = (f"From: <{plan.sender}>\r\nTo: <{to}>\r\nSubject: news {number}\r\n"
                f"Date: Sat, 28 Feb 2026 12:00:00 +0000\r\nMessage-ID: <{number}.{plan.name}@app.example.com>\r\n"
                f"List-Unsubscribe: <mailto:u@example.com>\r\nPrecedence: bulk\r\n\r\n")  # fmt: skip
        body = ("x" * 70 + "\r\n") * max(1, (plan.size - len(head)) // 72)
        return f"MAIL FROM:<{plan.sender}>\r\nRCPT TO:<{to}>\r\nDATA\r\n".encode(), f"{head}{body}.\r\n".encode()


class Refusal(Exception):
    """An answer that does not say yes."""


async def _session(progress: _Progress) -> None:
    plan = progress.campaign
    reader, writer = await asyncio.open_connection(plan.host, plan.port)

    async def expect(wanted: bytes) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while (line := await reader.readline())[3:4] == b"-":
                pass
        if not line.startswith(wanted):
            raise Refusal(f"expected {wanted.decode()}, got {line.decode(errors='replace').strip() or 'the end'}")

    await expect(b"220")
    writer.write(b"EHLO app.example.com\r\n")
    await expect(b"250")
    while (message := progress.next_message()) is not None:
        writer.write(message[0])
        for wanted in (b"250", b"250", b"354"):
            await expect(wanted)
        writer.write(message[1])
        await expect(b"250")
        progress.taken += 1
    writer.write(b"QUIT\r\n")
    await expect(b"221")
    writer.close()
    await writer.wait_closed()


async def send(campaign: Campaign) -> dict[str, float]:
    """All of it; how many were taken, and when it began and ended. Raises Refusal, OSError."""
    progress, begun = _Progress(campaign), time.monotonic()
    async with asyncio.TaskGroup() as group:
        for _ in range(campaign.sessions):
            group.create_task(_session(progress))
    return {"taken": progress.taken, "begun": begun, "ended": time.monotonic()}


if __name__ == "__main__":
    plan = Campaign(**cast(dict, json.loads(Path(sys.argv[1]).read_text("utf-8"))))
    print(json.dumps(uvloop.run(send(plan))), flush=True)
