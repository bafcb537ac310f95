"""A relay on trial: one of our own, with somebody's policies and keys, in a folder that goes when it is over.

It takes mail on loopback ports under the names of the configured listeners and hands everything to a sink in this
process: the real queue is not touched and nothing leaves the machine.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import quantiles
from typing import TYPE_CHECKING, Any

import yaml

from relay.cli.machine import Program, free_port, resident_mb, tree
from relay.cli.traffic import Load, Refusal, Sink, send_many

if TYPE_CHECKING:
    from relay.config.model import Config

SESSIONS = 10
CONNECTIONS = 20  # to the sink
LIMIT_S = 300.0
LOOK_S = 0.2
KEPT = ("stream", "streams", "senders", "profile")  # of a listener: what policies and rights see of it
BUSY = 0.85  # of one processor: more is not to be had from one process


@dataclass(frozen=True, slots=True)
class Trial:
    """The relay that is measured."""

    port: int
    health: int
    sink: int
    program: Program

    def cpu_s(self) -> float:
        """User and system time of all its processes so far."""
        return sum(cpu for _, cpu in tree(self.program.pid))

    def rss_mb(self) -> float:
        """Resident now."""
        return resident_mb(pid for pid, _ in tree(self.program.pid))

    def commit_s(self) -> float:
        """Seconds spent in commits so far, fsync included."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.health}/metrics", timeout=10) as answer:
            found = re.search(rb"^relay_commit_seconds_sum (\S+)$", answer.read(), re.MULTILINE)
        return float(found[1]) if found else 0.0


@dataclass(frozen=True, slots=True)
class Figures:
    """One run: `rate` messages a second from the first byte sent to the last one received; `accept_…_ms` from the
    message written to its 250; `cpu_us` a message; `signatures` of the first message; `busy` the share of one
    processor that the relay used, `committing` the share of the time in which it committed."""

    case: str
    messages: int
    received: int
    rate: float
    accept_p50_ms: float
    accept_p99_ms: float
    cpu_us: float
    peak_rss_mb: float
    signatures: int
    busy: float
    committing: float
    limit: str
    error: str


@contextmanager
def started(config: Config, listener: str, home: Path) -> Iterator[Trial]:
    """The relay, running; it has ended, and its folder is gone, when the block is left. Raises Trouble."""
    with ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="relay-bench-", dir=home))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        room = Path(tempfile.mkdtemp(prefix="relay-bench-"))  # a Unix socket's path must be short
        stack.callback(shutil.rmtree, room, ignore_errors=True)
        keys = config.data / "dkim"
        if keys.is_dir():
            (folder / "dkim").symlink_to(keys.absolute())
        ports = {name: free_port() for name, one in config.listeners.items() if one.accepts == "mail"}
        health, sink = free_port(), free_port()
        settings = _settings(config, folder, ports, (health, sink))
        settings["control"] = {"socket": str(room / "control.sock")}
        file = folder / "relay.yaml"
        file.write_text(yaml.safe_dump(settings))
        command = [sys.executable, "-m", "relay", "serve", "--config", str(file)]
        program = Program(command, folder / "relay.log")
        stack.callback(program.stop)
        program.wait_until(lambda: _ready(health), "the relay on trial is ready")
        yield Trial(ports[listener], health, sink, program)


def _settings(config: Config, folder: Path, ports: dict[str, int], own: tuple[int, int]) -> dict[str, Any]:
    """The configuration on trial: what decides about mail as it is, all ways in and out replaced."""
    health, sink = own
    listeners = {}
    for name, port in ports.items():
        same = {key: getattr(config.listeners[name], key) for key in KEPT if getattr(config.listeners[name], key)}
        listeners[name] = {
            **same, "bind": f"127.0.0.1:{port}", "networks": ["127.0.0.0/8"], "auth": "none",
            "max_connections_per_client": 1000, "max_recipients": 1000,
        }  # fmt: skip
    settings: dict[str, Any] = {
        "hostname": config.hostname, "data": str(folder), "policies": str(config.policies.absolute()),
        "workers": config.workers, "listeners": listeners, "metrics": {"bind": f"127.0.0.1:{health}"}, "drain": "1s",
        "delivery": {"mode": "smarthost", "host": f"127.0.0.1:{sink}", "tls": "never",
                     "host_connections": CONNECTIONS},
        "events": {"facts": config.events.facts},
    }  # fmt: skip
    if config.credentials is not None:
        settings["credentials"] = str(config.credentials.absolute())
    return settings


def run_case(trial: Trial, case: str, load: Load, told: Callable[[int, int], None]) -> Figures:
    """One run; `told` hears how many messages have arrived, and of how many."""
    cpu, commit, own, peak = trial.cpu_s(), trial.commit_s(), time.process_time(), trial.rss_mb()

    def look() -> None:
        nonlocal peak
        peak = max(peak, trial.rss_mb())

    passed = asyncio.run(_pass(trial, load, told, look))
    look()
    used, committed = trial.cpu_s() - cpu, trial.commit_s() - commit
    seconds = passed.seconds
    shares = {"busy": round(used / seconds, 3), "committing": round(committed / seconds, 3)}
    p50, p99 = _percentiles(passed.answers)
    return Figures(
        case, load.count, passed.got, rate=round(passed.got / seconds, 1),
        accept_p50_ms=round(p50 * 1000, 2), accept_p99_ms=round(p99 * 1000, 2),
        cpu_us=round(used / load.count * 1e6, 1), peak_rss_mb=round(peak, 1), signatures=passed.signatures,
        **shares,
        limit=_limit(**shares, ours=(time.process_time() - own) / seconds), error=passed.error,
    )  # fmt: skip


@dataclass(slots=True)
class _Passed:
    """What source and sink saw."""

    answers: list[float]
    got: int = 0
    signatures: int = 0
    seconds: float = 1e-6
    error: str = ""


async def _pass(trial: Trial, load: Load, told: Callable[[int, int], None], look: Callable[[], None]) -> _Passed:
    passed, everything = _Passed([]), asyncio.Event()
    begun = time.monotonic()

    def arrived(_recipient: str, message: bytes, at: float) -> None:
        if not passed.got:
            header = b"\n" + message.partition(b"\r\n\r\n")[0].lower()
            passed.signatures = header.count(b"\ndkim-signature:")
        passed.got += 1
        passed.seconds = max(at - begun, 1e-6)
        told(passed.got, load.count)
        if passed.got >= load.count:
            everything.set()

    async def watch() -> None:
        while True:
            look()
            await asyncio.sleep(LOOK_S)

    sink = Sink(arrived)
    await sink.start(trial.sink)
    watching = asyncio.create_task(watch())
    try:
        async with asyncio.timeout(LIMIT_S):
            await send_many(trial.port, load, passed.answers.append)
            await everything.wait()
    except* (OSError, Refusal) as troubles:  # TimeoutError is an OSError
        passed.error = str(troubles.exceptions[0]) or f"{passed.got} of {load.count} arrived within {LIMIT_S:.0f} s"
    finally:
        watching.cancel()
        await sink.stop()
    return passed


def _limit(*, busy: float, committing: float, ours: float) -> str:
    """What keeps it from being faster, as far as the shares of time tell."""
    if busy >= BUSY:
        return "CPU of the relay"
    if committing >= 0.5:
        return "fsync"
    if ours >= BUSY:
        return "CPU of this load"
    crowded = os.getloadavg()[0] > len(os.sched_getaffinity(0))
    return "CPU of the machine" if crowded else "waiting for each other's replies"


def _percentiles(values: list[float]) -> tuple[float, float]:
    if len(values) < 2:
        return (values or [0.0])[0], (values or [0.0])[0]
    cuts = quantiles(values, n=100, method="inclusive")
    return cuts[49], cuts[98]


def _ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False
