"""A crowd at the door of a relay, and where its mail ends: `python -m tests.live.crowd PLAN.json`, a process.

1. Sessions that send one message after the other, as fast as they are answered: the rate that this relay sustains on
   this machine now.
2. An open loop at `times` that rate: a message is begun at its time whatever became of those before. It takes a
   connection that is idle, or else a new one, as pools of programs do.
3. What was answered 250 is waited for in the sink (relay/cli/traffic.py).

Source and sink share a clock (time.monotonic()). When all is over it prints one line of JSON (`Facts`).
"""

from __future__ import annotations

import asyncio
import json
import resource
import sys
import time
from collections import Counter, deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import cast

import uvloop

from relay.cli.traffic import Sink, message

GIVE_UP_S = 60.0  # for all replies that are still owed at the end
LOOK_S = 0.05
CODE_EVERY = 20  # of so many messages one is a code
NEWS, CODE = "news@shop.test", "code@shop.test"


@dataclass(frozen=True, slots=True)
class Plan:
    """`news` takes newsletters only, `apps` newsletters and codes; a second of `measure_s` is for warming up."""

    apps: int
    news: int
    sink: int
    measure_s: float
    flood_s: float
    times: float = 2.0
    sessions: int = 50
    size: int = 4096


@dataclass(slots=True)
class Sent:
    """One message of the flood: when it was due, begun, at its dot (0: it never came to that) and answered, the reply
    that decided it, and where that came."""

    kind: str
    due: float
    begun: float = 0.0
    dot: float = 0.0
    answered: float = 0.0
    reply: str = ""
    where: str = ""


@dataclass(slots=True)
class Facts:
    """`rate` in messages/s; `arrived` counts by recipient over both parts, `came_at` is when; times are
    time.monotonic()."""

    rate: float = 0.0
    measured: list[str] = field(default_factory=list)  # recipients that were taken
    measured_refused: int = 0
    begun: float = 0.0
    ended: float = 0.0
    most_open: int = 0
    sent: dict[str, Sent] = field(default_factory=dict)
    arrived: dict[str, int] = field(default_factory=dict)
    came_at: dict[str, float] = field(default_factory=dict)


class Refused(Exception):
    """A reply that is no yes, and after which word it came."""

    def __init__(self, where: str, line: str) -> None:
        super().__init__(line)
        self.where, self.line = where, line


class Caller(asyncio.Protocol):
    """One connection. A protocol, not streams: the crowd is to take as little of the machine as it can."""

    def __init__(self) -> None:
        self.open = True
        self.dot = 0.0  # when the last message was sent
        self._held = b""
        self._lines: deque[bytes] = deque()
        self._heard: asyncio.Future[None] | None = None

    @classmethod
    async def connect(cls, port: int) -> Caller:
        """Connected and greeted; raises Refused, OSError."""
        _, one = await asyncio.get_running_loop().create_connection(cls, "127.0.0.1", port)
        try:
            await one._expect("connect", b"220")
            await one._say(b"EHLO app.example.com\r\n", "EHLO", b"250")
        except BaseException:
            one.close()
            raise
        return one

    async def send(self, sender: str, recipient: str, text: bytes) -> str:
        """One transaction; returns the reply to its dot, raises Refused or OSError."""
        self.dot = 0.0
        await self._say(b"MAIL FROM:<%s>\r\n" % sender.encode(), "MAIL", b"250")
        self._wire.write(b"RCPT TO:<%s>\r\nDATA\r\n" % recipient.encode())
        await self._expect("RCPT", b"250")
        await self._expect("DATA", b"354")
        self.dot = time.monotonic()
        return await self._say(text + b".\r\n", "dot", b"250")

    def close(self) -> None:
        """Hangs up."""
        self.open = False
        self._wire.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._wire = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        *lines, self._held = (self._held + data).split(b"\r\n")
        self._lines.extend(line for line in lines if line[3:4] != b"-")
        if self._lines:
            self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        self.open = False
        self._wake()

    def _wake(self) -> None:
        if self._heard is not None and not self._heard.done():
            self._heard.set_result(None)

    async def _say(self, words: bytes, where: str, wanted: bytes) -> str:
        self._wire.write(words)
        return await self._expect(where, wanted)

    async def _expect(self, where: str, wanted: bytes) -> str:
        while not self._lines:
            if not self.open:
                raise ConnectionResetError("hung up")
            self._heard = asyncio.get_running_loop().create_future()
            await self._heard
        line = self._lines.popleft()
        words = line.decode(errors="replace")
        if not line.startswith(wanted):
            self.open = not line.startswith(b"421")
            raise Refused(where, words)
        return words


class Pool:
    """Connections to one port, kept when they are idle."""

    def __init__(self, port: int) -> None:
        self.port, self._idle, self.busy = port, list[Caller](), 0

    async def send(self, one: Sent, recipient: str, text: bytes) -> None:
        """Sends on an idle connection or a new one, and notes what was said."""
        self.busy += 1
        caller = self._idle.pop() if self._idle else None
        one.begun = time.monotonic()
        try:
            caller = caller or await Caller.connect(self.port)
            one.where, one.reply = "dot", await caller.send(_sender(one.kind), recipient, text)
        except Refused as refused:
            one.where, one.reply = refused.where, refused.line
        except OSError as trouble:
            one.where, one.reply = "connection", repr(trouble)
            if caller is not None:
                caller.close()
        finally:
            one.answered, one.dot = time.monotonic(), caller.dot if caller else 0.0
            self.busy -= 1
        if caller is not None and caller.open:
            self._idle.append(caller)

    def close(self) -> None:
        """Hangs up wherever nothing is under way."""
        for caller in self._idle:
            caller.close()


def _sender(kind: str) -> str:
    return CODE if kind == "code" else NEWS


def _who(number: int) -> tuple[str, str]:
    """The kind of the message with that number, and its listener: newsletters come to both."""
    if number % CODE_EVERY == 0:
        return "code", "apps"
    return "news", "news" if number % 2 else "apps"


async def measure(plan: Plan, facts: Facts) -> None:
    """The sustained rate, by sessions that wait for each answer."""
    pools, numbers, times = _pools(plan), iter(range(10**9)), list[float]()
    begun = time.monotonic()

    async def session() -> None:
        while time.monotonic() < begun + plan.measure_s:
            number = next(numbers)
            kind, where = _who(number)
            one, to = Sent(kind, time.monotonic()), f"m{number}@example.net"
            await pools[where].send(one, to, message(number, plan.size, _sender(kind)))
            if one.reply.startswith("250"):
                facts.measured.append(to)
                times.append(one.answered)
            else:
                facts.measured_refused += 1

    await asyncio.gather(*(session() for _ in range(plan.sessions)))
    warm, end = begun + 1.0, begun + plan.measure_s
    facts.rate = sum(warm <= at < end for at in times) / (end - warm)
    for pool in pools.values():
        pool.close()


async def flood(plan: Plan, facts: Facts) -> None:
    """Messages at their times."""
    pools, tasks = _pools(plan), set[asyncio.Task[None]]()
    pace = plan.times * facts.rate
    facts.begun = begun = time.monotonic()
    for number in range(int(pace * plan.flood_s)):
        due = begun + number / pace
        if (early := due - time.monotonic()) > 0:
            await asyncio.sleep(early)
        elif number % 50 == 0:
            await asyncio.sleep(0)  # late: what was begun goes on all the same
        kind, where = _who(number)
        to = f"{kind}{number}@example.net"
        one = facts.sent[to] = Sent(kind, due)
        task = asyncio.create_task(pools[where].send(one, to, message(number, plan.size, _sender(kind))))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
        facts.most_open = max(facts.most_open, sum(pool.busy for pool in pools.values()))
    facts.ended = time.monotonic()
    if tasks:
        await asyncio.wait(tasks, timeout=GIVE_UP_S)
    for pool in pools.values():
        pool.close()


def _pools(plan: Plan) -> dict[str, Pool]:
    return {"apps": Pool(plan.apps), "news": Pool(plan.news)}


async def _until(question: Callable[[], bool], most_s: float) -> None:
    until = time.monotonic() + most_s
    while not question() and time.monotonic() < until:
        await asyncio.sleep(LOOK_S)


async def run(plan: Plan) -> Facts:
    """All three parts."""
    facts, arrived = Facts(), Counter[str]()

    def came(recipient: str, text: bytes, at: float) -> None:
        arrived[recipient] += 1
        facts.came_at.setdefault(recipient, at)

    sink = Sink(came)
    await sink.start(plan.sink)
    await measure(plan, facts)
    await _until(lambda: all(to in arrived for to in facts.measured), 30.0)
    await flood(plan, facts)
    taken = [to for to, one in facts.sent.items() if one.reply.startswith("250")]
    await _until(lambda: all(to in arrived for to in taken), 60.0)
    facts.arrived = dict(arrived)
    await sink.stop()
    return facts


def main() -> None:
    """Reads the plan, prints the facts."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    facts = uvloop.run(run(Plan(**json.loads(Path(sys.argv[1]).read_text("utf-8")))))
    print(json.dumps(asdict(facts)), flush=True)


if __name__ == "__main__":
    main()
