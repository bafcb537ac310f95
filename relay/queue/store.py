"""The store's contract, in words and types; every back end passes the same tests.

`put` is durable when it returns; it raises StoreFull, StoreBusy or StoreBroken, and after any of them
the message is not there. A message with an idempotency key that is known is not stored: the Receipt names the one
that is. `settle` is idempotent by attempt id: said twice, it happens once, and what the table of states
(`core.states`) does not allow does not happen at all; the answer names both. One engine owns a store: what it has
claimed is its own until it settles or dies, and what was claimed at a crash is simply queued again. Reading never
waits for writing.

`remember` and `recall` keep small facts of shaping (actions in force, quotas) by kind and key.

A row is queued (has a due time) or held (waits for an operator), and counts how often it was lost after the dot.
Every other state is an end, and the recipient's row is gone once it is counted: delivered, bounced, expired,
suppressed, cancelled.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple, Protocol

from relay.core.envelope import Recipient
from relay.core.message import Prepared
from relay.core.states import Cause
from relay.core.waiting import Mark, Part, Waiting

SEND_NOTE = "send at "  # the note of mail that is to be sent later, until its first attempt
BRAKE_NOTE = "brake "  # begins the note of mail that a brake holds; the brake's id and a colon follow
RESTORED_NOTE = "restored"  # begins the note of mail that came back with a backup

IMPORTED = "imported"  # begins the note of mail taken over and held; also what the store remembers its origins as


class StoreFull(Exception):
    """No room on the disk: answer 452 4.3.1, go on delivering, it recovers by itself."""


class StoreBusy(Exception):
    """Not now: answer 451 4.3.0; the same call may succeed later."""


class StoreBroken(Exception):
    """Nothing said about durability can be trusted any more: answer 451, stop accepting, exit."""


class End(Enum):
    """How a recipient left the queue."""

    DELIVERED = "delivered"
    BOUNCED = "bounced"
    EXPIRED = "expired"
    SUPPRESSED = "suppressed"
    CANCELLED = "cancelled"


CAUSE = {
    End.DELIVERED: Cause.DELIVER, End.BOUNCED: Cause.BOUNCE, End.EXPIRED: Cause.EXPIRE,
    End.SUPPRESSED: Cause.SUPPRESS, End.CANCELLED: Cause.CANCEL,
}  # fmt: skip
Attempted = tuple[str, int, int]
"""(message id, recipient index, attempt): what a settlement speaks of."""
Refused = Mapping[Attempted, str]
"""Settlements that changed nothing, with the reason in words."""


STORED, REPEAT, CONFLICT = "stored", "repeat", "conflict"


class Receipt(NamedTuple):
    """What came of a put. `verdict` is "stored"; "repeat": the same key was there with the same content, as message
    `id`; "conflict": the key was there with other content, as message `id`. Plain values, fit for any wire."""

    id: str
    verdict: str = STORED


@dataclass(frozen=True, slots=True)
class Filter:
    """Which queued recipients an operator means; None: any. `domain`, `sender`, `recipient` are globs,
    ages are seconds since acceptance, `tag` is (name, glob), `note` is a glob for the last answer or the
    reason to hold. `state` is "queued" (has a due time), "held" (waits for an operator), "lost" (either, after
    a loss after the dot) or "lost_held"."""

    message: str | None = None
    stream: str | None = None
    domain: str | None = None
    sender: str | None = None
    recipient: str | None = None
    tag: tuple[str, str] | None = None
    state: str | None = None
    older_than_s: float | None = None
    younger_than_s: float | None = None
    credential: str | None = None
    note: str | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """One recipient in the queue, as operators see it. Times are Unix seconds (UTC). `state` is that of
    `core.states` for one that rests; `lost` counts the attempts after which it may have been delivered."""

    message: str
    index: int
    recipient: str
    sender: str
    stream: str
    route: str
    state: str
    received_at: float
    due_at: float
    attempts: int
    size: int
    last: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    lost: int = 0

    @property
    def waits(self) -> bool:
        """Whether it waits for an operator, and for no time."""
        return self.state in ("held", "lost_held")


@dataclass(frozen=True, slots=True)
class Settlement:
    """What to record for one recipient after one attempt: an `end`, or else a new `due_at`. `attempt` counts from
    1; a settlement for an attempt already recorded changes nothing. `lost` after the dot: "resend" when it is due
    again, or "hold"; "" for every other attempt."""

    message: str
    index: int
    attempt: int
    end: End | None = None
    due_at: float = 0.0
    last: str = ""
    delay_notified: bool = False
    lost: str = ""

    @property
    def key(self) -> Attempted:
        """What it speaks of."""
        return (self.message, self.index, self.attempt)

    @property
    def cause(self) -> Cause:
        """Which transition it asks for."""
        if self.end is not None:
            return CAUSE[self.end]
        return {"": Cause.DEFER, "resend": Cause.LOSE, "hold": Cause.LOSE_HOLD}[self.lost]


@dataclass(frozen=True, slots=True)
class Tally:
    """The accounting: everything ever accepted is in exactly one of ends, queued and held. `lost` are those of
    queued and held that may have been delivered already."""

    accepted: int
    ends: Mapping[str, int]
    queued: Mapping[str, int]
    held: Mapping[str, int]
    lost: Mapping[str, int] = field(default_factory=dict)

    @property
    def gap(self) -> int:
        """0, or a fault of ours (metric relay_accounting_gap)."""
        waiting = sum(self.queued.values()) + sum(self.held.values())
        return self.accepted - sum(self.ends.values()) - waiting


class Stored(NamedTuple):
    """A message as it lies in the queue, with the recipients that still wait, by their index."""

    message: Prepared
    recipients: dict[int, Recipient]


class Store(Protocol):
    """What the engine needs of a queue."""

    async def put(self, message: Prepared) -> Receipt: ...

    async def settle(self, settlements: Sequence[Settlement]) -> Refused: ...

    async def due(
        self, stream: str, after: Mark, before: float, limit: int, only: Part | None = None
    ) -> list[Waiting]: ...

    async def load(self, message: str) -> Stored | None: ...

    async def find(self, which: Filter, limit: int) -> list[Row]: ...

    async def hold(self, which: Filter, note: str = "") -> int: ...

    async def release(self, which: Filter, now: float) -> int: ...

    async def retry(self, which: Filter, now: float) -> int: ...

    async def cancel(self, which: Filter) -> list[Row]: ...

    async def confirm(self, which: Filter) -> list[Row]: ...

    async def waiting_since(self, stream: str, since: str) -> dict[str, int]: ...

    async def tally(self) -> Tally: ...

    async def recall(self, kind: str) -> dict[str, object]: ...

    async def remember(self, kind: str, changes: Mapping[str, object]) -> None: ...

    def unhealthy_reason(self) -> str: ...

    async def close(self) -> None: ...
