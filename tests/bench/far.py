"""Messages a second on one kept connection to a receiver that is far away: how many round trips a message takes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

from relay.cli.machine import Trouble
from relay.cli.traffic import Load, Refusal, Sink, send_many
from tests.bench.servers import Server

ROUND_TRIP_S = 0.05
MESSAGES, SIZE, SESSIONS = 100, 4096, 5
LIMIT_S = 120.0


@dataclass(frozen=True, slots=True)
class Far:
    """One server's mail over one connection; `round_trips` a message, from the median time between two."""

    server: str
    messages: int
    rate: float
    round_trips: float


class _End(asyncio.Protocol):
    """One end of a long wire: what it reads is written at the other end later, in order."""

    def __init__(self, delay_s: float) -> None:
        self._delay_s = delay_s
        self.other: _End | None = None
        self.transport: asyncio.Transport | None = None
        self._early: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        for data in self._early:
            transport.write(data)

    def data_received(self, data: bytes) -> None:
        asyncio.get_running_loop().call_later(self._delay_s, self._arrive, data)

    def connection_lost(self, exc: Exception | None) -> None:
        asyncio.get_running_loop().call_later(self._delay_s, self._hang_up)

    def _arrive(self, data: bytes) -> None:
        assert self.other is not None
        if self.other.transport is None:
            self.other._early.append(data)
        else:
            self.other.transport.write(data)

    def _hang_up(self) -> None:
        if self.other is not None and self.other.transport is not None:
            self.other.transport.close()


async def _long_wire(port: int, to: int, round_trip_s: float) -> asyncio.Server:
    """Listens on 127.0.0.1 and connects everybody to `to`, half a round trip away."""
    loop = asyncio.get_running_loop()
    dialling: set[asyncio.Task[object]] = set()

    def arrive() -> _End:
        near, away = _End(round_trip_s / 2), _End(round_trip_s / 2)
        near.other, away.other = away, near
        task: asyncio.Task[object] = loop.create_task(_dial(lambda: away, to))
        dialling.add(task)
        task.add_done_callback(dialling.discard)
        return near

    return await loop.create_server(arrive, "127.0.0.1", port, reuse_address=True)


async def _dial(make: Callable[[], _End], to: int) -> None:
    await asyncio.get_running_loop().create_connection(make, "127.0.0.1", to)


def measure_far(server: Server, wire_port: int, sink_port: int, messages: int = MESSAGES) -> Far:
    """Sends that many at once and looks at the sink; the server has one connection, to the wire's port. Raises
    Trouble when they do not arrive."""
    try:
        times = asyncio.run(_arrivals(server, wire_port, sink_port, messages))
    except (OSError, Refusal, ExceptionGroup) as trouble:
        raise Trouble(f"nothing came far from {server.name}: {trouble!r}") from trouble
    gaps = [later - earlier for earlier, later in pairwise(times)]
    return Far(server.name, messages, round(1 / median(gaps), 2), round(median(gaps) / ROUND_TRIP_S, 2))


async def _arrivals(server: Server, wire_port: int, sink_port: int, messages: int) -> list[float]:
    times: list[float] = []
    everything = asyncio.Event()

    def arrived(_recipient: str, _message: bytes, at: float) -> None:
        times.append(at)
        if len(times) >= messages:
            everything.set()

    sink = Sink(arrived)
    await sink.start(sink_port)
    wire = await _long_wire(wire_port, sink_port, ROUND_TRIP_S)
    begun = time.monotonic()
    try:
        async with asyncio.timeout(LIMIT_S):
            await send_many(server.port, Load(messages, SIZE, SESSIONS, keep=True))
            await everything.wait()
    finally:
        wire.close()
        await sink.stop()
    assert times[-1] - begun < LIMIT_S
    return times
