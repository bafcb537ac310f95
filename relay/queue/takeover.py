"""The engine's side of the hand-over: a Unix socket where fronts bring messages, events and questions.

    PUT ─► admit (what is counted over all clients) ─► store ─► (durable) ─► ANSWERS, many in one frame

A front that breaks off or speaks nonsense loses its connection; what it handed over before is stored all the same.
Whoever can open the socket's file can put mail into the queue: it is the relay's own, mode 0600.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Protocol

from relay.core.envelope import Submission
from relay.core.events import Event
from relay.core.message import Prepared
from relay.core.reply import Reply
from relay.queue.frames import VERSION, Frame, FrameError, Kind, Put, encode, events_of, put_of, report_of, words_of
from relay.queue.handoff import Denied
from relay.queue.link import Link
from relay.queue.spool import FileBody, Spool
from relay.queue.store import STORED, Receipt, StoreBroken, StoreBusy, StoreFull

log = logging.getLogger("relay.queue")

FAULTS: dict[type[BaseException], str] = {StoreFull: "full", StoreBusy: "busy", StoreBroken: "broken"}
Left = Callable[[bool], None]


class Engine(Protocol):
    """What stands behind the socket."""

    def admit(self, put: Put) -> tuple[Prepared, Left]:
        """The message as it is to be stored, and whom to tell whether it was; raises Denied."""
        ...

    def put_soon(self, message: Prepared) -> asyncio.Future[Receipt]:
        """The store's."""
        ...

    def publish(self, event: Event) -> None:
        """The bus's."""
        ...

    def report(self, submission: Submission) -> Awaitable[Reply]:
        """The reply to a report on our mail."""
        ...

    def answer(self, question: str, arguments: list[Any]) -> object:
        """The answer to a front's question; raises FrameError."""
        ...

    def told(self, what: str, arguments: list[Any]) -> None:
        """What a front tells; raises FrameError."""
        ...


class Guest:
    """One front that is connected."""

    def __init__(self) -> None:
        self.link: Link | None = None
        self.number = 0
        self.pid = 0
        self.mark = ""
        self.since = time.time()
        self.listening = False
        self.stored: list[int] = []
        self.others: list[list[object]] = []
        self.taken: asyncio.Future[str] | None = None


class Takeover:
    """Serves fronts. `rules` are the files in force, by their mark."""

    def __init__(self, engine: Engine, spool: Spool, *, mark: str, files: bytes) -> None:
        self.engine, self.spool = engine, spool
        self.mark, self.files = mark, files
        self.guests: set[Guest] = set()
        self._changed = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.AbstractServer | None = None

    async def serve(self, listening: socket.socket) -> None:
        """Listens on a bound Unix socket."""
        self._server = await asyncio.get_running_loop().create_unix_server(self._guest, sock=listening)

    def _guest(self) -> Link:
        guest = Guest()
        guest.link = Link(partial(self._hear, guest), partial(self._lost, guest))
        return guest.link

    def _hear(self, guest: Guest, link: Link, frame: Frame) -> None:
        if frame.kind is Kind.HELLO:
            self._hello(guest, link, frame)
        elif guest not in self.guests:
            raise FrameError(f"{frame.kind.name} before HELLO")
        elif frame.kind is Kind.PUT:
            self._put(guest, frame)
        elif frame.kind is Kind.EVENTS:
            for event in events_of(frame):
                self.engine.publish(event)
        elif frame.kind is Kind.ASK:
            number, question, arguments = words_of(frame, int, str, list)
            link.send(encode(Kind.REPLY, (number, self.engine.answer(question, arguments))))
        elif frame.kind is Kind.TELL:
            self.engine.told(*words_of(frame, str, list))
        elif frame.kind is Kind.REPORT:
            self._report(link, *report_of(frame))
        elif frame.kind is Kind.TAKEN:
            self._taken(guest, frame)
        elif frame.kind is Kind.OPEN:
            guest.listening = True
            self._changed.set()
        else:
            raise FrameError(f"a front does not send {frame.kind.name}")

    def _hello(self, guest: Guest, link: Link, frame: Frame) -> None:
        version, guest.number, guest.pid, guest.mark = words_of(frame, int, int, int, str)
        if version != VERSION or guest in self.guests:
            raise FrameError(f"a front of version {version} says HELLO, the engine is {VERSION}")
        self.guests.add(guest)
        self._changed.set()
        link.send(encode(Kind.WELCOME, (VERSION, self.mark)))
        if guest.mark != self.mark:
            link.send(encode(Kind.RULES, (self.mark,), self.files))

    # Mail

    def _put(self, guest: Guest, frame: Frame) -> None:
        try:
            put = put_of(frame, self.spool.claim)
        except OSError as error:  # its front was started anew, and has cleaned up
            self._refuse(guest, frame.words[0], StoreBusy(f"the body is not there: {error}"))
            return
        left: Left = lambda stored: None  # noqa: E731
        try:
            message, left = self.engine.admit(put)
            future = self.engine.put_soon(message)
        except (Denied, StoreFull, StoreBusy, StoreBroken) as error:
            left(False)
            self._clean(put.message)
            self._refuse(guest, put.number, error)
            return
        future.add_done_callback(partial(self._done, guest, put, left))

    def _done(self, guest: Guest, put: Put, left: Left, future: asyncio.Future[Receipt]) -> None:
        error = future.exception()
        if error is not None:
            left(False)
            self._clean(put.message)
            self._refuse(guest, put.number, error)
            return
        receipt = future.result()
        left(receipt.verdict == STORED)
        self._soon(guest)
        if receipt.verdict == STORED:
            guest.stored.append(put.number)
        else:  # another message with the same idempotency key is there
            self._clean(put.message)
            guest.others.append([put.number, "receipt", *receipt])

    def _clean(self, message: Prepared) -> None:
        """Deletes the body of a message that was not stored, wherever it lies."""
        if isinstance(message.content.body, FileBody):
            message.content.body.discard()

    def _report(self, link: Link, number: int, submission: Submission) -> None:
        async def work() -> None:
            answer: list[object] = [451, "4.3.0", ["try again later"]]
            try:
                reply = await self.engine.report(submission)
                answer = [reply.code, reply.enhanced, list(reply.lines)]
            except Exception:
                log.exception("report %s could not be read", submission.id)
            link.send(encode(Kind.REPLY, (number, answer)))

        task = asyncio.get_running_loop().create_task(work(), name=f"report {submission.id}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _refuse(self, guest: Guest, number: int, error: BaseException) -> None:
        self._soon(guest)
        if isinstance(error, Denied):
            reply = error.reply
            guest.others.append([number, "denied", error.reason, reply.code, reply.enhanced, list(reply.lines)])
        else:
            guest.others.append([number, FAULTS.get(type(error), "busy"), str(error)])

    def _soon(self, guest: Guest) -> None:
        """Answers of one turn go in one frame."""
        if not guest.stored and not guest.others:
            asyncio.get_running_loop().call_soon(self._answer, guest)

    def _answer(self, guest: Guest) -> None:
        assert guest.link is not None
        guest.link.send(encode(Kind.ANSWERS, (guest.stored, guest.others)))
        guest.stored, guest.others = [], []

    # Rules and lives

    async def take_rules(self, mark: str, files: bytes, within_s: float) -> dict[int, str]:
        """Has every front take new rules; returns by number what is wrong at those that did not. They are sent
        away, and come back with the new ones."""
        self.mark, self.files = mark, files
        loop, asked = asyncio.get_running_loop(), list(self.guests)
        for guest in asked:
            guest.taken = loop.create_future()
            assert guest.link is not None
            guest.link.send(encode(Kind.RULES, (mark,), files))
        if asked:
            await asyncio.wait([one.taken for one in asked if one.taken], timeout=within_s)
        problems = {}
        for guest in asked:
            assert guest.taken is not None
            problem = guest.taken.result() if guest.taken.done() else f"no answer within {within_s:g} s"
            if problem:
                problems[guest.number] = problem
        return problems

    def _taken(self, guest: Guest, frame: Frame) -> None:
        mark, problem = words_of(frame, str, str)
        if not problem:
            guest.mark = mark
        if guest.taken is not None and not guest.taken.done() and mark == self.mark:
            guest.taken.set_result(problem)
        elif problem:
            log.error("front %d does not take the rules: %s", guest.number, problem)

    def _lost(self, guest: Guest, link: Link) -> None:
        self.guests.discard(guest)
        if guest.taken is not None and not guest.taken.done():
            guest.taken.set_result("")  # a new one begins with the rules in force
        self._changed.set()

    async def changed(self, within_s: float) -> None:
        """Returns when a front has come or gone, or after `within_s`."""
        self._changed.clear()
        try:
            await asyncio.wait_for(self._changed.wait(), within_s)
        except TimeoutError:
            return

    async def close(self) -> None:
        """Stops serving."""
        if self._server is not None:
            self._server.close()
        for guest in list(self.guests):
            assert guest.link is not None
            guest.link.finish()
