"""The process that plays providers: `python -m tests.internet.serve WORLD.json`. Facts go to the file it names,
a line of JSON each; SIGTERM ends it."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from pathlib import Path
from typing import Any

import uvloop

from tests.internet.behaviour import from_json
from tests.internet.memory import Memory
from tests.internet.names import Names
from tests.internet.session import Session

FLUSH_S = 0.02
encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


class Lines:
    """The log of `tests.internet.session` as lines of a file, written behind by FLUSH_S at most."""

    def __init__(self, file: Path) -> None:
        self._file = file.open("ab", buffering=0)
        self._lines: list[str] = []
        self._sessions = 0

    def opened(self, at: float, host: str, client: str) -> int:
        self._sessions += 1
        self._note("opened", at, self._sessions, host, client)
        return self._sessions

    def closed(self, at: float, session: int) -> None:
        self._note("closed", at, session)

    def refused(self, at: float, session: int, phase: str, reply: str) -> None:
        self._note("refused", at, session, phase, reply)

    def received(
        self, at: float, session: int, sender: str, recipients: list[str], answered: float, message: bytes
    ) -> None:  # fmt: skip
        self._note("received", at, session, sender, recipients, answered, len(message))

    def _note(self, *line: object) -> None:
        if not self._lines:
            asyncio.get_running_loop().call_later(FLUSH_S, self.flush)
        self._lines.append(encode(line))

    def flush(self) -> None:
        """Writes what waits."""
        if self._lines:
            lines, self._lines = self._lines, []
            self._file.write(("\n".join(lines) + "\n").encode("utf-8", "surrogateescape"))


async def serve(world: dict[str, Any]) -> None:
    """Until SIGTERM. `world`: port, facts, hosts (by provider: name to address), and names (or none)."""
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    log = Lines(Path(world["facts"]))
    for one in world["providers"]:
        memory = Memory(from_json(one))
        for host in memory.provider.host_names:
            await loop.create_server(
                lambda host=host, memory=memory: Session(host, memory, log),
                world["addresses"][host], world["port"], backlog=1000,
            )  # fmt: skip
    if names := world["names"]:
        await loop.create_datagram_endpoint(
            lambda: Names(names["mx"], names["addresses"]), local_addr=(names["address"], names["port"])
        )
    print("ready", flush=True)
    await ended.wait()
    log.flush()


if __name__ == "__main__":
    uvloop.run(serve(json.loads(Path(sys.argv[1]).read_text("utf-8"))))
