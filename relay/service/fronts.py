"""The engine's doors when fronts take the mail: what they hand over, ask and tell, and how they fare."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import ssl
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from relay.config.model import Config
from relay.core.envelope import Client, Submission
from relay.core.events import Event
from relay.core.message import Prepared
from relay.core.reply import Reply
from relay.inbound.backoff import Backoff
from relay.inbound.board import Board
from relay.inbound.gate import Gatekeeper
from relay.inbound.reception import Accept
from relay.observe.metrics import Metrics
from relay.policy.decide import Decision
from relay.policy.model import Policy
from relay.queue.frames import FrameError, Put
from relay.queue.handoff import Denied
from relay.queue.store import Receipt
from relay.queue.takeover import Left, Takeover
from relay.service.inlet import HeldBy, Sockets
from relay.service.rules import Rules
from relay.web.control import bind_socket
from relay.web.operator import FrontState, ListenerState

log = logging.getLogger("relay")

START_S = 20.0  # how long a start waits for the last of the fronts; it needs one
TAKE_S = 20.0  # how long a front may take to read new rules
LATE_S = 2.0  # more than fronts have to drain: their last answers are on the way


class Counter:
    """The engine behind the hand-over: what is counted over all clients is counted here."""

    def __init__(
        self, *, gate: Gatekeeper, policy: Callable[[], Policy], held_by: HeldBy,
        put_soon: Callable[[Prepared], asyncio.Future[Receipt]], publish: Callable[[Event], None], report: Accept,
    ) -> None:  # fmt: skip
        self.gate, self.policy, self.held_by = gate, policy, held_by
        self.put_soon, self.publish, self._read = put_soon, publish, report
        self.backoff = Backoff()

    def admit(self, put: Put) -> tuple[Prepared, Left]:
        """The message as it is to be stored, and whom to tell whether it was; raises Denied."""
        message = put.message
        stream = self.policy().streams.get(message.stream)
        if stream is None:  # a reload took it away between the decision and now
            return message, lambda stored: None
        client = Client(message.client, 0, "", message.listener, message.credential)
        amount = (message.came_bytes, len(message.envelope.recipients))
        passage = self.gate.admit(client, amount, Decision(stream, message.route), stream)
        if passage.refusal is not None:
            raise Denied(passage.reason, passage.refusal)
        if note := self.held_by(message.stream, message.credential, message.tags):
            message = replace(message, held=True, held_by=note)
        return message, lambda stored: self.gate.left(passage, stored=stored)

    def report(self, submission: Submission) -> Awaitable[Reply]:
        """The reply to a report on our mail."""
        return self._read(submission)

    def answer(self, question: str, arguments: list[Any]) -> object:
        """The answer to a front's question; raises FrameError."""
        match question, arguments:
            case "wait", [[*keys]] if all(type(key) is str for key in keys):
                return self.backoff.wait_s(tuple(keys), time.monotonic())
            case "alike", [str(stream), str(text), [*people]] if all(type(one) is str for one in people):
                known = self.policy().streams.get(stream)
                if known is None or known.guard is None or not known.guard.same:
                    return False
                return self.gate.is_alike(stream, known.guard, text.encode("latin-1", "replace"), people)
        raise FrameError(f"a question that is none: {question[:20]!r}")

    def told(self, what: str, arguments: list[Any]) -> None:
        """What a front tells; raises FrameError."""
        match what, arguments:
            case "failed", [[*keys]] if all(type(key) is str for key in keys):
                self.backoff.failed(tuple(keys), time.monotonic())
            case "succeeded", [str(key)]:
                self.backoff.succeeded(key)
            case _:
                raise FrameError(f"a front tells what it cannot: {what[:20]!r}")


class FrontDoors:
    """Fronts that other processes are, started and watched by the supervisor."""

    def __init__(
        self, takeover: Takeover, board: Board, sockets: Sockets, *, path: Path, metrics: Metrics
    ) -> None:
        self.takeover, self.board, self.path, self.metrics = takeover, board, path, metrics
        self._binds = [
            (name, "{}:{}".format(*one.getsockname()[:2])) for name, those in sockets.items() for one in those
        ]
        self._restarts = 0

    async def open(self, ended: asyncio.Event) -> None:
        """Serves the socket; returns when all fronts listen, or those that do after START_S, at least one."""
        await self.takeover.serve(bind_socket(self.path))
        coming, stopped = asyncio.create_task(self._come_up()), asyncio.create_task(ended.wait())
        await asyncio.wait([coming, stopped], timeout=START_S, return_when=asyncio.FIRST_COMPLETED)
        for one in (coming, stopped):
            one.cancel()
        await asyncio.gather(coming, stopped, return_exceptions=True)
        if not self._listening and not ended.is_set():  # fronts are told to stop when the engine is: none comes then
            raise OSError("no front has come up")

    async def _come_up(self) -> None:
        while len(self._listening) < self.board.fronts:
            await self.takeover.changed(START_S)

    @property
    def _listening(self) -> list[int]:
        return sorted(one.number for one in self.takeover.guests if one.listening)

    def closed_reason(self) -> str:
        """Whether any front takes mail."""
        return "" if self._listening else "no front takes mail"

    def take(self, config: Config, rules: Rules, contexts: Mapping[str, ssl.SSLContext | None]) -> None:
        """Fronts are told by `spread`."""

    async def spread(self, rules: Rules) -> list[str]:
        """Has every front take the rules. One that cannot is told to go; its successor begins with them."""
        problems = await self.takeover.take_rules(rules.mark, rules.files, TAKE_S)
        for number, problem in problems.items():
            log.error("front %d is started anew, as it does not take the rules: %s", number, problem)
            if (pid := self.board.life(number).pid) > 0:
                os.kill(pid, signal.SIGTERM)
        return [f"front {number} is started anew: {problem}" for number, problem in problems.items()]

    def measure(self) -> None:
        """Connections, fronts alive and started again, from the board."""
        board, metrics = self.board, self.metrics
        metrics.connections.labels("in").set(sum(map(board.connections, board.listeners)))
        metrics.fronts.set(len(self._listening))
        for number in range(board.fronts + 1):
            life, part = board.life(number), f"front {number}" if number else "engine"
            metrics.restarted(part, life.restarts)

    def listeners(self) -> list[ListenerState]:
        """Every listening socket; connections are those of the listener at all fronts."""
        return [
            {"name": name, "bind": bind, "connections": self.board.connections(name)} for name, bind in self._binds
        ]

    def fronts(self) -> list[FrontState]:
        """Every front, whether it lives or not."""
        board, listening = self.board, self._listening
        return [
            {"number": number, "pid": board.life(number).pid, "restarts": board.life(number).restarts,
             "since": float(board.life(number).since), "takes_mail": number in listening,
             "connections": sum(board.connections_at(number, name) for name in board.listeners)}
            for number in board.numbers
        ]  # fmt: skip

    @property
    def sessions(self) -> int:
        """Clients that are connected."""
        return sum(map(self.board.connections, self.board.listeners))

    async def drain(self, within_s: float) -> None:
        """Waits for the fronts, whom the supervisor has told to stop, to finish."""
        until = time.monotonic() + within_s + LATE_S
        while self.takeover.guests and (left := until - time.monotonic()) > 0:
            await self.takeover.changed(left)

    async def close(self) -> None:
        """Lets go of the fronts."""
        await self.takeover.close()
        self.path.unlink(missing_ok=True)
