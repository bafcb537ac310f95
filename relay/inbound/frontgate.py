"""A front's part of what is counted over all fronts: it asks, the engine counts.

The gate's own questions are answered here; quotas, rates and the disk are looked at by the engine when the message
is handed over, and likeness where a stream's guard has `same_content`. Wrong passwords are counted there too.
"""

from __future__ import annotations

from collections.abc import Sequence

from relay.core.envelope import Submission
from relay.inbound.gate import Gate, Passage
from relay.inbound.refusals import Refused
from relay.policy.decide import Decision
from relay.policy.guard import Guard
from relay.policy.model import Stream
from relay.queue.handoff import Handoff
from relay.queue.store import StoreBusy


class FrontGate(Gate):
    """The gate of one front."""

    handoff: Handoff

    async def alike(self, stream: str, guard: Guard, text: bytes, people: Sequence[str]) -> bool:
        """What the engine says; without an engine nothing is taken anyway."""
        try:
            return bool(await self.handoff.ask("alike", stream, text.decode("latin-1"), list(people)))
        except StoreBusy:
            return False

    def count(self, submission: Submission, decision: Decision, stream: Stream) -> Passage:
        """Everything may pass here."""
        return Passage(decision, stream)

    def left(self, passage: Passage, *, stored: bool) -> None:
        """Nothing was taken here."""


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
