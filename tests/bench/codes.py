"""One-time codes at a steady rate, each on a connection of its own, and how late they were.

A process of its own, so that nothing else delays its clock: `python -m tests.bench.codes PORT RATE FILE`. A line of
the file is a code: its recipient, when it was begun and when its sender read 250 (time.monotonic()), or the refusal.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import quantiles
from typing import TextIO

import uvloop

from relay.cli.traffic import Client, Refusal, message

DOMAIN, SIZE = "codes.test", 1024


@dataclass(frozen=True, slots=True)
class Sent:
    """A code; `accepted` None when it was refused, `why` says with which words."""

    recipient: str
    begun: float
    accepted: float | None
    why: str = ""


@dataclass(frozen=True, slots=True)
class Late:
    """Milliseconds from 250 to received, and from the first byte to 250. `lost` were never received or refused."""

    codes: int
    lost: int
    p50_ms: float
    p99_ms: float
    max_ms: float
    taken_p50_ms: float
    taken_p99_ms: float


def lateness(sent: Iterable[Sent], received: Mapping[str, float]) -> Late:
    """How late those codes were; `received` is when each came."""
    codes = list(sent)
    came = [one for one in codes if one.accepted is not None and one.recipient in received]
    late = [(received[one.recipient] - (one.accepted or 0.0)) * 1000 for one in came]
    taken = [((one.accepted or 0.0) - one.begun) * 1000 for one in came]
    lost = len(codes) - len(came)
    return Late(len(codes), lost, *_percentiles(late), max(late, default=0.0), *_percentiles(taken))


def _percentiles(values: list[float]) -> tuple[float, float]:
    if len(values) < 2:
        return (values[0], values[0]) if values else (0.0, 0.0)
    cuts = quantiles(values, n=100, method="inclusive")
    return cuts[49], cuts[98]


def read(file: Path) -> list[Sent]:
    """The codes of a file, in the order in which they were begun."""
    lines = file.read_text("utf-8").splitlines(keepends=True)
    found = [Sent(*json.loads(line)) for line in lines if line.endswith("\n")]
    return sorted(found, key=lambda one: one.begun)


async def _send_one(port: int, number: int, file: TextIO) -> None:
    to = f"code{number}@{DOMAIN}"
    begun, accepted, why = time.monotonic(), None, ""
    try:
        client = await Client.connect(port)
        accepted = await client.send(to, message(number, SIZE))
        await client.quit()
    except (OSError, Refusal) as trouble:
        why = repr(trouble)
    file.write(json.dumps([to, begun, accepted, why]) + "\n")
    file.flush()


async def send(port: int, rate: float, file: TextIO) -> None:
    """Begins a code every 1/rate seconds, whatever became of those before, until SIGTERM; then lets them end."""
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, ended.set)
    begun, number, tasks = loop.time(), 0, set()
    while not ended.is_set():
        task = loop.create_task(_send_one(port, number, file))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
        number += 1
        pause_s = begun + number / rate - loop.time()
        try:
            await asyncio.wait_for(ended.wait(), max(0.0, pause_s))
        except TimeoutError:
            continue
    await asyncio.gather(*tasks)


if __name__ == "__main__":
    with open(sys.argv[3], "a", encoding="utf-8") as output:
        uvloop.run(send(int(sys.argv[1]), float(sys.argv[2]), output))
