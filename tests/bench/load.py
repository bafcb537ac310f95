"""Load through a server into a sink: Postfix's smtp-source and smtp-sink, or where they are not installed a source
and a sink in Python. The latter share one process and its one CPU: messages a second are then bounded by them."""

from __future__ import annotations

import asyncio
import os
import re
import select
import shutil
import subprocess
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from relay.cli.machine import Program, Trouble, listens
from relay.cli.traffic import RECIPIENT, SENDER, Load, Refusal, Sink, send_many
from tests.bench.servers import PATH, Server

LIMIT_S = 120.0
SETTLE_S = 1.0  # for what a server still does after the last message has left: its CPU counts too
WATCH_S = 0.2
COUNTED = re.compile(rb"mesg=(\d+)")


@dataclass(frozen=True, slots=True)
class Case:
    """A kind of load: messages of `size` bytes by `sessions` at a time, on kept connections or one a message;
    signed by the servers or not."""

    name: str
    size: int
    count: int
    keep: bool
    sessions: int = 10
    signed: bool = True


@dataclass(frozen=True, slots=True)
class Passed:
    """What a source and a sink saw: messages received, seconds from the first byte sent to the last received,
    and what went wrong."""

    got: int
    seconds: float
    error: str


@dataclass(frozen=True, slots=True)
class Run:
    """One server under one load."""

    case: str
    server: str
    messages: int
    got: int
    seconds: float
    cpu_ms: float
    peak_rss_mb: float
    error: str

    @property
    def rate(self) -> float:
        """Messages a second."""
        return self.got / self.seconds

    @property
    def complete(self) -> bool:
        """Whether every message arrived and nobody complained."""
        return self.got >= self.messages and not self.error


class Traffic(Protocol):
    """A source and a sink. `watch` is called all the while, every WATCH_S or so."""

    name: str

    def run(self, case: Case, port: int, watch: Callable[[], None]) -> Passed: ...


class PostfixTraffic:
    """smtp-source and smtp-sink, both in C: cheap enough to leave the machine to the server."""

    name = "smtp-source and smtp-sink"

    def __init__(self, sink_port: int, folder: Path) -> None:
        self._sink_port, self._folder = sink_port, folder

    def run(self, case: Case, port: int, watch: Callable[[], None]) -> Passed:
        with ExitStack() as stack:
            sink = self._start_sink(stack)
            assert sink.process.stdout is not None
            begun = time.monotonic()
            source = Program(self._source(case, port), self._folder / "source.log")
            stack.callback(source.stop)
            got, ended = 0, begun
            while got < case.count and time.monotonic() - begun < LIMIT_S:
                if select.select([sink.process.stdout], [], [], WATCH_S)[0]:
                    found = COUNTED.findall(os.read(sink.process.stdout.fileno(), 65536))
                    got, ended = (int(found[-1]), time.monotonic()) if found else (got, ended)
                elif source.process.poll() not in (None, 0):
                    break  # nobody sends any more
                watch()
            error = _error(source)
        return Passed(got, max(ended - begun, 1e-6), error)

    def _start_sink(self, stack: ExitStack) -> Program:
        user = ["-u", "nobody"] if os.geteuid() == 0 else []  # as root it insists on another
        command = [_tool("smtp-sink"), "-c", *user, "-m", "1000", f"127.0.0.1:{self._sink_port}", "1000"]
        sink = Program(command, self._folder / "sink.log", stdout=subprocess.PIPE)
        stack.callback(sink.stop)
        sink.wait_until(lambda: listens(self._sink_port), "smtp-sink listens")
        return sink

    def _source(self, case: Case, port: int) -> list[str]:
        return [_tool("smtp-source"), "-s", str(case.sessions), "-l", str(case.size), "-m", str(case.count), "-N",
                "-M", "app.example.com", "-f", SENDER, "-t", RECIPIENT, *(["-d"] if case.keep else []),
                f"127.0.0.1:{port}"]  # fmt: skip


class PythonTraffic:
    """A source and a sink in this process."""

    name = "Python (messages/s bounded by it)"

    def __init__(self, sink_port: int) -> None:
        self._sink_port = sink_port

    def run(self, case: Case, port: int, watch: Callable[[], None]) -> Passed:
        return asyncio.run(self._run(case, port, watch))

    async def _run(self, case: Case, port: int, watch: Callable[[], None]) -> Passed:
        got, ended, everything = 0, 0.0, asyncio.Event()

        def arrived(_recipient: str, _message: bytes, at: float) -> None:
            nonlocal got, ended
            got, ended = got + 1, at
            if got >= case.count:
                everything.set()

        sink, error = Sink(arrived), ""
        await sink.start(self._sink_port)
        watcher = asyncio.create_task(_repeat(watch))
        begun = time.monotonic()
        try:
            async with asyncio.timeout(LIMIT_S):
                await send_many(port, Load(case.count, case.size, case.sessions, case.keep))
                await everything.wait()
        except* (OSError, Refusal) as troubles:  # TimeoutError is an OSError
            error = "; ".join(repr(one) for one in troubles.exceptions)
        finally:
            watcher.cancel()
            await sink.stop()
        return Passed(got, max(ended - begun, 1e-6), error)


def choose_traffic(sink_port: int, folder: Path, wish: str) -> Traffic:
    """What `wish` names ("postfix", "python"); for "auto", Postfix's tools where they are installed."""
    if wish == "python" or (wish == "auto" and shutil.which("smtp-source", path=PATH) is None):
        return PythonTraffic(sink_port)
    return PostfixTraffic(sink_port, folder)


def measure(server: Server, case: Case, traffic: Traffic, *, settle_s: float = SETTLE_S) -> Run:
    """One run."""
    peak = server.rss_mb()

    def watch() -> None:
        nonlocal peak
        peak = max(peak, server.rss_mb())

    before = server.cpu_s()
    passed = traffic.run(case, server.port, watch)
    time.sleep(settle_s)
    watch()
    cpu_ms = (server.cpu_s() - before) / case.count * 1000
    return Run(case.name, server.name, case.count, passed.got, passed.seconds, cpu_ms, peak, passed.error)


def _error(source: Program) -> str:
    """What the source complains of, once it has had a moment to end."""
    try:
        status = source.process.wait(5)
    except subprocess.TimeoutExpired:
        return "smtp-source does not end"
    said = source.log.read_text(errors="replace").strip()
    return said[-300:] or (f"smtp-source ended with {status}" if status else "")


async def _repeat(watch: Callable[[], None]) -> None:
    while True:
        watch()
        await asyncio.sleep(WATCH_S)


def _tool(name: str) -> str:
    path = shutil.which(name, path=PATH)
    if path is None:
        raise Trouble(f"{name} is not installed: apt-get install postfix, or choose --traffic python")
    return path
