"""The queue as a front sees it: a socket to the engine.

1. `put` sends a message and returns when the engine says that it is durable, or raises what the engine's store
   raised. A connection that breaks before the answer is StoreBusy: the message may be stored all the same, and the
   client, who is told 451 4.3.0, may send it twice (RFC 1047 knows no way around it).
2. `publish` sends events behind the mail, in order; what the engine cannot take now waits, EVENTS_MOST of them.
3. `ask` is for what is counted over all fronts; it raises StoreBusy while there is no engine.
4. `run` connects, and connects again.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections import deque
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from relay.core.content import MemoryBody
from relay.core.envelope import Submission
from relay.core.events import Event
from relay.core.message import Prepared
from relay.core.reply import Reply
from relay.queue.frames import (
    VERSION,
    Frame,
    FrameError,
    Kind,
    encode,
    events_frame,
    put_frame,
    report_frame,
    words_of,
)
from relay.queue.link import Link
from relay.queue.spool import FileBody, Spool
from relay.queue.store import Receipt, StoreBroken, StoreBusy, StoreFull
from relay.queue.writing import fault

log = logging.getLogger("relay.queue")

AGAIN_S = 0.05  # between two attempts to reach the engine
ANSWER_S = 120.0  # no commit takes longer: an engine that owes an answer so long is stuck
LOOK_S = 10.0
EVENTS_MOST = 10_000  # kept while there is no engine; beyond it the oldest go
EVENTS_EACH = 500  # events a frame
INLINE_BYTES = 1 << 20  # a body in memory larger than this goes through the spool
AWAY = "the engine is away"
NO_ANSWER = "the engine went away before it answered; the message may be in the queue"
FAULTS: dict[object, type[Exception]] = {"full": StoreFull, "busy": StoreBusy, "broken": StoreBroken}
OnRules = Callable[[str, bytes], Awaitable[str]]


class Denied(Exception):
    """The engine does not take the message now, for what it counts over all clients: a reason of the table of
    refusals and the reply that says so."""

    def __init__(self, reason: str, reply: Reply) -> None:
        super().__init__(reason)
        self.reason, self.reply = reason, reply


class Handoff:
    """One front's way to the engine. `rules` is called with the rules in force (their mark, their files) when they
    are others than `mark`; it returns what is wrong with them, or ""."""

    def __init__(self, path: Path, number: int, spool: Spool, *, mark: str, rules: OnRules) -> None:
        self.path, self.number, self.spool, self.mark, self.rules = path, number, spool, mark, rules
        self.ready = asyncio.Event()
        self.dropped = 0
        self._link: Link | None = None
        self._welcomed = False
        self._ended = asyncio.Event()
        self._last = 0
        self._waiting: dict[int, tuple[float, asyncio.Future[Any]]] = {}
        self._events: deque[Event] = deque(maxlen=EVENTS_MOST)
        self._sending = self._open = False
        self._tasks: set[asyncio.Task[None]] = set()

    # What a front does with it

    async def put(self, message: Prepared) -> Receipt:
        """Has a message stored, unless its idempotency key is known; durable on return. Raises StoreFull, StoreBusy,
        StoreBroken or Denied; after any but a lost connection the message is not there."""
        self._present()
        content = message.content
        spooled = self.spool.name_of(content.body) if isinstance(content.body, FileBody) else ""
        if isinstance(content.body, MemoryBody) and content.body.size > INLINE_BYTES:
            found = await self._put_large(message, content.body)
        else:
            found = await self._asked(lambda number: put_frame(number, message, spooled))
        return found or Receipt(message.id)

    async def _put_large(self, message: Prepared, body: MemoryBody) -> Receipt | None:
        try:
            file = await asyncio.to_thread(self.spool.write, body)
        except OSError as error:
            raise fault(error) from error
        try:
            found: Receipt | None = await self._asked(
                lambda number: put_frame(number, message, self.spool.name_of(file))
            )
            return found
        finally:
            file.discard()

    async def ask(self, question: str, *arguments: object) -> Any:
        """The engine's answer to a question about what it counts."""
        self._present()
        return await self._asked(lambda number: encode(Kind.ASK, (number, question, arguments)))

    async def report(self, submission: Submission, most: int) -> Reply:
        """The engine's reply to a report on our mail, of whose body it sees `most` bytes; raises StoreBusy."""
        code, enhanced, lines = await self._asked(lambda number: report_frame(number, submission, most))
        return Reply(code, enhanced, tuple(lines))

    def tell(self, what: str, *arguments: object) -> None:
        """Tells the engine, if there is one."""
        if self._link is not None and self._welcomed:
            self._link.send(encode(Kind.TELL, (what, arguments)))

    def publish(self, event: Event) -> None:
        """Has an event told to everyone who listens there."""
        if len(self._events) == EVENTS_MOST:
            self.dropped += 1
        self._events.append(event)
        if not self._sending:
            self._sending = True
            asyncio.get_running_loop().call_soon(self._send_events)

    def opened(self) -> None:
        """Says, now and after each new connection, that clients are let in here."""
        self._open = True
        if self._link is not None and self._welcomed:
            self._link.send(encode(Kind.OPEN, ()))

    def _present(self) -> Link:
        if self._link is None or not self._welcomed:
            raise StoreBusy(AWAY)
        return self._link

    async def _asked(self, frame: Callable[[int], bytes]) -> Any:
        """Events published before go first."""
        link, loop = self._present(), asyncio.get_running_loop()
        if self._events:
            self._send_events()
        self._last = number = self._last + 1
        try:
            link.send(frame(number))
        except FrameError as error:
            raise StoreBusy(str(error)) from error
        future: asyncio.Future[Any] = loop.create_future()
        self._waiting[number] = (loop.time(), future)
        return await future

    def _send_events(self) -> None:
        self._sending = False
        link = self._link
        if link is None or not self._welcomed or link.full:
            return  # `_connected` or `_look` tries again
        while self._events:
            some = [self._events.popleft() for _ in range(min(EVENTS_EACH, len(self._events)))]
            try:
                link.send(events_frame(some))
            except FrameError as error:
                log.error("%d events are lost: %s", len(some), error)

    # What the engine says

    def _hear(self, link: Link, frame: Frame) -> None:
        match frame.kind:
            case Kind.ANSWERS:
                self._answers(frame)
            case Kind.REPLY:
                number, answer = words_of(frame, int, object)
                self._answer(number, answer)
            case Kind.WELCOME:
                version, mark = words_of(frame, int, str)
                if version != VERSION:
                    raise FrameError(f"the engine speaks version {version}, this front {VERSION}")
                if mark == self.mark:
                    self._connected()
            case Kind.RULES:
                [mark] = words_of(frame, str)
                task = asyncio.get_running_loop().create_task(self._take(link, mark, frame.raw), name="rules")
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
            case _:
                raise FrameError(f"the engine does not send {frame.kind.name}")

    def _answers(self, frame: Frame) -> None:
        stored, others = words_of(frame, list, list)
        for number in stored:
            self._answer(number, None)
        for row in others:
            if type(row) is not list or len(row) < 3:
                raise FrameError("an answer that is none")
            number, kind, *rest = row
            if kind == "receipt":
                self._answer(number, Receipt(*rest))
                continue
            fault = _denied(*rest) if kind == "denied" else FAULTS[kind](rest[0])
            _, future = self._waiting.pop(number, (0.0, None))
            if future is not None and not future.done():
                future.set_exception(fault)

    def _answer(self, number: object, answer: object) -> None:
        _, future = self._waiting.pop(number, (0.0, None))  # type: ignore[call-overload]
        if future is not None and not future.done():
            future.set_result(answer)

    async def _take(self, link: Link, mark: str, files: bytes) -> None:
        problem = await self.rules(mark, files)
        if not problem:
            self.mark = mark
            self._connected()
        link.send(encode(Kind.TAKEN, (mark, problem)))

    def _connected(self) -> None:
        self._welcomed = True
        self.ready.set()
        if self._open:
            self.opened()
        if self._events:
            self._send_events()

    # The connection

    async def run(self) -> None:
        """Keeps a connection to the engine, for ever."""
        loop = asyncio.get_running_loop()
        while True:
            link = Link(self._hear, self._lost)
            try:
                await loop.create_unix_connection(lambda link=link: link, str(self.path))  # type: ignore[misc]
            except OSError:
                await asyncio.sleep(AGAIN_S)
                continue
            self._link = link
            self._ended.clear()
            link.send(encode(Kind.HELLO, (VERSION, self.number, os.getpid(), self.mark)))
            await self._look(link)
            log.warning("no connection to the engine: mail is answered 451 until it is back")

    async def _look(self, link: Link) -> None:
        """Until the connection ends: ends one that owes an answer for too long, sends events that had to wait."""
        loop = asyncio.get_running_loop()
        while not self._ended.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._ended.wait(), LOOK_S)
            oldest = next(iter(self._waiting.values()), None)
            if oldest is not None and loop.time() - oldest[0] > ANSWER_S:
                log.error("the engine has owed an answer for %g s", ANSWER_S)
                link.end()
            self._send_events()

    def _lost(self, link: Link) -> None:
        self._link, self._welcomed = None, False
        self.ready.clear()
        self._ended.set()
        waiting, self._waiting = self._waiting, {}
        for _, future in waiting.values():
            if not future.done():
                future.set_exception(StoreBusy(NO_ANSWER))

    async def close(self) -> None:
        """Sends what waits and ends the connection."""
        self._send_events()
        await asyncio.sleep(0)  # `Link.send` writes in the next turn
        if self._link is not None:
            self._link.finish()


def _denied(reason: str, code: int, enhanced: str, lines: list[str]) -> Denied:
    return Denied(reason, Reply(code, enhanced, tuple(lines)))
