"""The store's contract, in words and types; every back end passes the same tests.

`put` is durable when it returns; it raises StoreFull, StoreBusy or StoreBroken, and after any of them
the message is not there. `settle` is idempotent by attempt id: said twice, it happens once. One engine
owns a store: what it has claimed is its own until it settles or dies, and what was claimed at a crash is
simply queued again. Reading never waits for writing.

`remember` and `recall` keep small facts of shaping (actions in force, quotas) by kind and key.

States: queued (has a due time), held (waits for an operator). Every other state is an end, and the
recipient's row is gone once it is counted: delivered, bounced, expired, suppressed, cancelled.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple, Protocol

from relay.core.envelope import Recipient
from relay.core.message import Prepared
from relay.core.waiting import Mark, Part, Waiting

SEND_NOTE = "send at "  # the note of mail that is to be sent later, until its first attempt
BRAKE_NOTE = "brake "  # begins the note of mail that a brake holds; the brake's id and a colon follow


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


@dataclass(frozen=True, slots=True)
class Filter:
    """Which queued recipients an operator means; None: any. `domain`, `sender`, `recipient` are globs,
    ages are seconds since acceptance, `tag` is (name, glob), `note` is a glob for the last answer or the
    reason to hold."""

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
    """One recipient in the queue, as operators see it. Times are Unix seconds (UTC)."""

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


@dataclass(frozen=True, slots=True)
class Settlement:
    """What to record for one recipient after one attempt: an `end`, or else a new `due_at`.
    `attempt` counts from 1; a settlement for an attempt already recorded changes nothing."""

    message: str
    index: int
    attempt: int
    end: End | None = None
    due_at: float = 0.0
    last: str = ""
    delay_notified: bool = False


@dataclass(frozen=True, slots=True)
class Tally:
    """The accounting: everything ever accepted is in exactly one of the others."""

    accepted: int
    ends: Mapping[str, int]
    queued: Mapping[str, int]
    held: Mapping[str, int]

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

    async def put(self, message: Prepared) -> None: ...

    async def settle(self, settlements: Sequence[Settlement]) -> None: ...

    async def due(
        self, stream: str, after: Mark, before: float, limit: int, only: Part | None = None
    ) -> list[Waiting]: ...

    async def load(self, message: str) -> Stored | None: ...

    async def find(self, which: Filter, limit: int) -> list[Row]: ...

    async def hold(self, which: Filter, note: str = "") -> int: ...

    async def release(self, which: Filter, now: float) -> int: ...

    async def retry(self, which: Filter, now: float) -> int: ...

    async def cancel(self, which: Filter) -> list[Row]: ...

    async def waiting_since(self, stream: str, since: str) -> dict[str, int]: ...

    async def tally(self) -> Tally: ...

    async def recall(self, kind: str) -> dict[str, object]: ...

    async def remember(self, kind: str, changes: Mapping[str, object]) -> None: ...

    def unhealthy_reason(self) -> str: ...

    async def close(self) -> None: ...
