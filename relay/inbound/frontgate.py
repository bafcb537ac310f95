"""A front's part of what is counted over all fronts: it asks, the engine counts.

The gate's own questions are answered here, and, with what the others write on the board, which stream has more than its
share of a busy relay; quotas, rates and the disk are looked at by the engine when the message is handed over, and
likeness where a stream's guard has `same_content`. Wrong passwords are counted there too.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from relay.core.envelope import Submission
from relay.core.events import Event
from relay.core.reply import Reply
from relay.core.report import READ_BYTES
from relay.core.shares import shares_count
from relay.core.tokens import decode
from relay.inbound.board import Board
from relay.inbound.crowd import past_share
from relay.inbound.gate import Gate, Passage, denied
from relay.inbound.refusals import Refused
from relay.policy.decide import Decision
from relay.policy.guard import Guard
from relay.policy.model import Stream
from relay.queue.handoff import Handoff
from relay.queue.store import StoreBusy


class FrontGate(Gate):
    """The gate of one front."""

    handoff: Handoff
    board: Board
    number: int

    async def alike(self, stream: str, guard: Guard, text: bytes, people: Sequence[str]) -> bool:
        """What the engine says; without an engine nothing is taken anyway."""
        try:
            return bool(await self.handoff.ask("alike", stream, text.decode("latin-1"), list(people)))
        except StoreBusy:
            return False

    def count(self, submission: Submission, decision: Decision, stream: Stream) -> Passage:
        """What is past its stream's share of a busy relay waits; all else may pass, and is counted as under way."""
        crowd, quota = self.board.crowd, stream.quota
        if (
            quota is not None
            and shares_count(quota.accepts, self.board.under_way())
            and crowd.of(stream.name) > quota.accepts
        ):
            return denied(decision, stream, past_share(stream.name, quota))
        crowd.take(self.number, stream.name, time.monotonic())
        self.board.go_on(self.number, 1)
        return Passage(decision, stream)

    def left(self, passage: Passage, *, stored: bool) -> None:
        """It is under way no more."""
        self.board.go_on(self.number, -1)


class RemoteFeedback:
    """The feedback desk of the engine (relay/inbound/feedback.py)."""

    def __init__(self, handoff: Handoff, key: bytes, addresses: frozenset[str]) -> None:
        self._handoff, self._key, self.addresses = handoff, key, addresses

    def takes(self, address: str) -> bool:
        """Whether mail for the address is about mail of ours."""
        return address.lower() in self.addresses or decode(address.rpartition("@")[0], [self._key]) is not None

    async def accept(self, submission: Submission) -> Reply:
        """The engine's reply to the final dot of a report."""
        try:
            return await self._handoff.report(submission, READ_BYTES)
        except StoreBusy:
            answer, client = Refused("queue").reply, submission.client
            detail = {
                "listener": client.listener, "client": client.address, "reason": "queue",
                "code": answer.code, "enhanced": answer.enhanced, "text": answer.text,
            }  # fmt: skip
            event = Event("refused", submission.received_at, sender=submission.envelope.sender, detail=detail)
            self._handoff.publish(event)
            return answer


class RemoteGuesses:
    """The Backoff of the engine."""

    def __init__(self, handoff: Handoff) -> None:
        self._handoff = handoff

    async def wait_s(self, keys: tuple[str, ...]) -> float | None:
        """Seconds until a password may be checked; None: not now. Raises Refused while there is no engine: N fronts
        that count for themselves would let N times as much be guessed."""
        try:
            wait_s = await self._handoff.ask("wait", list(keys))
        except StoreBusy:
            raise Refused("queue") from None
        return None if wait_s is None else float(wait_s)

    def failed(self, keys: tuple[str, ...]) -> None:
        """Counts a wrong password."""
        self._handoff.tell("failed", list(keys))

    def succeeded(self, key: str) -> None:
        """Forgets an account's failures."""
        self._handoff.tell("succeeded", key)
