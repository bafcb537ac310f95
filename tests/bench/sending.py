"""What one message costs between the queue and the socket: CPU time and calls of the delivery side alone.

A Stage of the unit tests with a receiver in memory that answers at once: no sockets, no disk, no signatures, so the
figure moves with the code of deliver, smtp and core and with nothing else. `idle`: a message comes when the
one before has gone, on a kept connection; `backlog`: all wait, and one follows the other.

    python tests/bench/sending.py [--messages 4000] [--tree PATH]

`--tree` names another source tree, measured in turns with this one in processes of their own; the unit tests' stage is
this one's for both.
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import os
import pstats
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

HERE = Path(__file__).resolve().parents[2]
BODY = b"x" * 62 + b"\r\n"


def measure(messages: int) -> None:
    """Prints µs and calls a message of each form, as one line."""
    sys.path.insert(0, str(HERE / "tests" / "unit"))
    from delivery_stage import Queue, Receiver, Stage, Wire, message, rules

    from relay.core.content import MemoryBody
    from relay.policy.model import Limits
    from relay.queue.rows import places

    class Quick(Receiver):
        """Answers what is written without looking closely."""

        number = 0

        def read(self, wire: Wire, data: bytes) -> None:
            if data.startswith((b"EHLO", b"QUIT")):
                super().read(wire, data)
                return
            said = b""
            if b"\r\n.\r\n" in data:
                self.number += 1
                said = b"250 2.0.0 Ok: queued as 4VbX%06d\r\n" % self.number
            if data.endswith(b"DATA\r\n"):
                said += b"250 2.1.0 Ok\r\n250 2.1.5 Ok\r\n354 End data with <CR><LF>.<CR><LF>\r\n"
            wire.writes.clear()
            wire.say(said)

    class Forgetful(Queue):
        """Hands on what it gets, counts what is settled, and keeps nothing."""

        settled = 0

        async def put(self, message):
            self.stored(message, places(message))

        def settle_soon(self, settlements):
            loop = asyncio.get_running_loop()
            future = loop.create_future()
            loop.call_soon(future.set_result, {})
            self.settled += len(settlements)
            return future

    async def send(*, one_by_one: bool, profile: cProfile.Profile | None) -> float:
        stage = Stage(rules(limits=Limits(connections=1, messages_per_connection=0)))
        stage.queue.__class__ = Forgetful
        stage.receivers["example.net"] = Quick()
        mail = [message(f"m{at:06}", body=MemoryBody(BODY * 60)) for at in range(messages + 1)]
        backlog = stage.pager.backlog("transactional")
        async with stage:
            await until(lambda: backlog.horizon[0] > 0)  # the store was read: what comes now is known at once
            await stage.accept(mail.pop())
            await until(lambda: stage.queue.settled == 1)  # connected
            if profile:
                profile.enable()
            begun = time.process_time()
            for at, one in enumerate(mail):
                await stage.queue.put(one)
                while one_by_one and stage.queue.settled < at + 2:
                    await asyncio.sleep(0)
            while stage.queue.settled <= messages:
                await asyncio.sleep(0)
            took = time.process_time() - begun
            if profile:
                profile.disable()
        return took / messages * 1e6

    async def until(done):
        async with asyncio.timeout(10):
            while not done():
                await asyncio.sleep(0.01)

    figures = []
    for one_by_one in (True, False):
        figures.append(asyncio.run(send(one_by_one=one_by_one, profile=None)))
        profile = cProfile.Profile()
        asyncio.run(send(one_by_one=one_by_one, profile=profile))
        figures.append(pstats.Stats(profile).total_calls / messages)
    print(*figures)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=4000)
    parser.add_argument("--tree", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        measure(args.messages)
        return
    trees = [HERE] + ([args.tree.resolve()] if args.tree else [])
    found: dict[Path, list[list[float]]] = {tree: [] for tree in trees}
    for _ in range(args.rounds):
        for tree in trees:
            said = subprocess.run(
                [sys.executable, __file__, "--one", "--messages", str(args.messages)], check=True, text=True,
                stdout=subprocess.PIPE, env=os.environ | {"PYTHONPATH": str(tree)},
            ).stdout  # fmt: skip
            found[tree].append([float(word) for word in said.split()])
    for tree, runs in found.items():
        idle, idle_calls, backlog, backlog_calls = (median(column) for column in zip(*runs, strict=True))
        print(f"{tree}: idle {idle:.0f} µs, {idle_calls:.0f} calls;"
              f" backlog {backlog:.0f} µs, {backlog_calls:.0f} calls")  # fmt: skip


if __name__ == "__main__":
    main()
