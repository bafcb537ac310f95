"""What taking a message costs: MAIL to 250 on one kept connection, in memory, with everything but signature and store.

    python tests/bench/taking.py

A client that sends each command when the last is answered; the queue says at once that it has the message. Prints
microseconds of CPU (the best round) and calls (of Python and C, as cProfile counts them) a message of 4 KiB.
"""

from __future__ import annotations

import asyncio
import cProfile
import pstats
import sys
import tempfile
import time
from pathlib import Path

sys.path.append(str(Path(__file__).parents[2]))  # PYTHONPATH goes before it: another tree can be measured

import uvloop

from relay.core.message import Prepared
from relay.core.pattern import compile_pattern
from relay.core.quota import Stock
from relay.inbound.access import Access
from relay.inbound.disk import Disk
from relay.inbound.gate import Gatekeeper
from relay.inbound.intake import Intake
from relay.inbound.reception import MemoryBudget, Reception
from relay.inbound.session import Session
from relay.inbound.settings import ListenerSettings, networks
from relay.policy.model import Policy, Pool, Provider, Retry, Route, Source, Stream
from relay.prepare.keys import KeyRing
from relay.prepare.message import Preparer
from relay.prepare.signing import SigningDesk
from relay.queue.store import Receipt

ROUNDS, MESSAGES = 15, 400
HEADER = (
    b"From: <a@example.com>\r\nTo: <b@example.net>\r\nDate: Sun, 22 Nov 2026 05:00:00 +0000\r\n"
    b"Message-Id: <1@a.example>\r\n"
)
TURNS = (
    b"MAIL FROM:<a@example.com>\r\n", b"RCPT TO:<b@example.net>\r\n", b"DATA\r\n",
    HEADER + b"\r\n" + (b"x" * 70 + b"\r\n") * 55 + b".\r\n",
)  # fmt: skip
STREAM = Stream("mail", "main", Retry((60.0,), 600.0, 3600.0, 0.0))
POLICY = Policy(
    {"mail": STREAM}, {"main": Pool("main", (Source("t1"),))}, (Route("all", None, stream=STREAM),),
    (Provider("everyone", (compile_pattern("*"),), None),),
)  # fmt: skip


class Client(asyncio.Transport):
    """The client's end: says the next thing whenever it is answered."""

    def __init__(self) -> None:
        super().__init__({"peername": ("127.0.0.1", 40000)})
        self.left, self.turn, self.done = 0, 0, asyncio.Event()

    def begin(self, session: Session) -> None:
        """Connects and says EHLO."""
        self.session, self.loop = session, asyncio.get_running_loop()
        session.connection_made(self)
        session.data_received(b"EHLO client.example\r\n")

    async def send(self, messages: int) -> None:
        """So many messages, one after the other."""
        self.left, self.turn = messages, 1
        self.done.clear()
        self.session.data_received(TURNS[0])
        await self.done.wait()

    def write(self, data: bytes) -> None:
        """A reply."""
        assert data[:1] in b"23", data
        if data[:3] == b"220":  # the greeting, with the reply to EHLO
            self.done.set()
            return
        if self.turn == len(TURNS):
            self.left, self.turn = self.left - 1, 0
        if not self.left:
            self.done.set()
            return
        self.loop.call_soon(self.session.data_received, TURNS[self.turn])
        self.turn += 1

    def is_closing(self) -> bool:
        """Never."""
        return False

    def close(self) -> None:
        """Nothing is to be closed."""

    def abort(self) -> None:
        """Nothing is to be closed."""

    def can_write_eof(self) -> bool:
        """Not that either."""
        return False


async def put(message: Prepared) -> Receipt:
    """The store, without one."""
    return Receipt(message.id)


async def measure(folder: Path) -> tuple[float, float]:
    """(µs of CPU, calls) a message."""
    access, desk = Access(), SigningDesk()
    gate = Gatekeeper(
        policy=lambda: POLICY, stock=Stock, disk=Disk((folder,), 0), signing=lambda stream, domain: [],
        publish=print, clock=time.time, allowances={}, ways={},
    )  # fmt: skip
    intake = Intake(
        policy=lambda: POLICY, access=access, gate=gate, preparer=Preparer("relay.example.com"), keys=KeyRing(folder),
        desk=desk, put=put, publish=print, clock=time.time, verp_key=b"k" * 32, listeners={}, credentials={},
    )  # fmt: skip
    settings = ListenerSettings("apps", "relay.example.com", networks=networks(["127.0.0.0/8"]))
    reception = Reception(
        settings, access, intake.accept, budget=MemoryBudget(1 << 26), crowded=intake.crowded, kept=intake.kept
    )
    client = Client()
    client.begin(Session(reception, asyncio.get_running_loop()))
    await client.done.wait()
    spent = []
    for _ in range(ROUNDS):
        begun = time.process_time()
        await client.send(MESSAGES)
        spent.append((time.process_time() - begun) / MESSAGES * 1e6)
    profile = cProfile.Profile()
    profile.enable()
    await client.send(MESSAGES)
    profile.disable()
    client.session.connection_lost(None)
    access.close()
    desk.close()
    return min(spent), pstats.Stats(profile).total_calls / MESSAGES  # type: ignore[attr-defined]


def main() -> int:
    """Prints both figures."""
    with tempfile.TemporaryDirectory() as folder:
        cost, calls = uvloop.run(measure(Path(folder)))
    print(f"{cost:.0f} µs and {calls:.0f} calls a message")
    return 0


if __name__ == "__main__":
    sys.exit(main())
