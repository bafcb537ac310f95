"""A one-time code through an idle server: how long after its 250, and after its first byte, it has been received.
Also the proof that what is measured does its work: the first code must arrive signed."""

from __future__ import annotations

import asyncio
import re
import time
from dataclasses import dataclass
from statistics import quantiles

from relay.cli.machine import Trouble
from relay.cli.traffic import RECIPIENT, Client, Refusal, Sink, message
from tests.bench.servers import DOMAIN, SELECTOR, Server

PAUSE_S = 0.01  # between codes: the server is idle again
PATIENCE_S = 30.0
SIZE = 1024


@dataclass(frozen=True, slots=True)
class Latency:
    """Milliseconds; `accepted` counts from the 250, `submitted` from the first byte of a new connection."""

    server: str
    codes: int
    accepted_p50_ms: float
    accepted_p99_ms: float
    submitted_p50_ms: float
    submitted_p99_ms: float


def measure_latency(server: Server, sink_port: int, codes: int) -> Latency:
    """So many codes one after the other, each on a connection of its own. Raises Trouble when one is lost."""
    try:
        times = asyncio.run(_send(server, sink_port, codes + 5))[5:]  # connections to the sink are open by then
    except (OSError, Refusal) as trouble:
        raise Trouble(f"no code came through {server.name}: {trouble!r}") from trouble
    accepted, submitted = zip(*times, strict=True)
    return Latency(server.name, codes, *_percentiles(accepted), *_percentiles(submitted))


def check_signed(server: Server, sink_port: int) -> None:
    """Raises Trouble unless a message comes through with a signature as all are to have."""
    received: list[bytes] = []
    try:
        asyncio.run(_send(server, sink_port, 1, received))
    except (OSError, Refusal) as trouble:
        raise Trouble(f"nothing comes through {server.name}: {trouble!r}") from trouble
    head = re.sub(rb"\r\n[ \t]+", b" ", received[0].partition(b"\r\n\r\n")[0])
    tags = dict(re.findall(r"(\w+)=([^;\s]+)", "".join(re.findall(r"(?mi)^DKIM-Signature:(.*)$", head.decode()))))
    wanted = {"d": DOMAIN, "s": SELECTOR, "a": "rsa-sha256", "c": "relaxed/relaxed"}
    if {name: tags.get(name) for name in wanted} != wanted:
        raise Trouble(f"{server.name} does not sign as it should: {tags}")


async def _send(
    server: Server, sink_port: int, codes: int, received: list[bytes] | None = None
) -> list[tuple[float, float]]:
    """Milliseconds since 250 and since the first byte, for each."""
    arrivals: asyncio.Queue[tuple[str, bytes, float]] = asyncio.Queue()
    sink = Sink(lambda *arrival: arrivals.put_nowait(arrival))
    await sink.start(sink_port)
    times = []
    try:
        for number in range(codes):
            begun = time.monotonic()
            client = await Client.connect(server.port)
            wanted = f"{number}{RECIPIENT}"
            accepted = await client.send(wanted, message(number, SIZE))
            async with asyncio.timeout(PATIENCE_S):
                recipient, content, at = await arrivals.get()
                while recipient != wanted:
                    recipient, content, at = await arrivals.get()
            times.append(((at - accepted) * 1000, (at - begun) * 1000))
            if received is not None:
                received.append(content)
            await client.quit()
            await asyncio.sleep(PAUSE_S)
    finally:
        await sink.stop()
    return times


def _percentiles(values: tuple[float, ...]) -> tuple[float, float]:
    cuts = quantiles(values, n=100, method="inclusive")
    return cuts[49], cuts[98]
