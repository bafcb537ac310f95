"""What an operator can ask of a running relay; the service answers, the control API and the CLI ask.

Every answer is made of plain values, so that it goes into JSON as it is. Times are Unix seconds (UTC),
sizes bytes, ages and durations seconds (`…_s`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NotRequired, Protocol, TypedDict

from relay.queue.store import Filter, Row
from relay.web.backup import BackupOperator
from relay.web.importing import ImportOperator
from relay.web.shaping import ShapingOperator


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why something waits, or what limits it now. `subject` is what was asked for, said in full;
    `reason` one sentence; `rule` the "file:line" that decided or "" when none did; `until` the Unix time
    at which that ends, None when unknown or never; `detail` more lines for people, most telling first."""

    subject: str
    reason: str
    rule: str = ""
    until: float | None = None
    detail: tuple[str, ...] = ()


class Attempt(TypedDict):
    """One delivery attempt that is still remembered (the event log has them all)."""

    time: float
    recipient: str
    verdict: str
    text: str
    mx: NotRequired[str]
    source: NotRequired[str]


class Shown(TypedDict):
    """One queued message: `rows` as dictionaries of queue.store.Row, `header` as text."""

    message: str
    stream: str
    sender: str
    received_at: float
    size: int
    header: str
    rows: list[dict[str, object]]
    attempts: list[Attempt]


class StreamState(TypedDict):
    """One stream now. `oldest_s` is the age of its oldest queued recipient, 0 when there is none;
    `objective` reads "99.9% within 10 s" or "" without one, `met` the share that met it since start
    (0 to 1), None before the first delivery, `burn` the burn rate by window ("5m", "1h", "6h", "3d")."""

    name: str
    queued: int
    held: int
    oldest_s: float
    objective: str
    burn: dict[str, float]
    met: float | None
    pool: str
    where: str


class Caught(TypedDict):
    """One message the sandbox received. `dkim` is "pass", "fail: why" or "none", one for each signature,
    joined by "; "; `delay_s` is the time from acceptance to the sandbox."""

    id: str
    message: str
    received_at: float
    stream: str
    sender: str
    recipients: list[str]
    subject: str
    dkim: str
    delay_s: float
    size: int


class CaughtMessage(Caught):
    """A sandbox message with its bytes as text (UTF-8, what is not becomes U+FFFD)."""

    source: str


class ListenerState(TypedDict):
    """One listening socket: `bind` as bound (with the real port), connections open now."""

    name: str
    bind: str
    connections: int


class FrontState(TypedDict):
    """One front: `pid` 0 while it is not there, `restarts` how often it was started again, `since` Unix s,
    `takes_mail` whether it accepts clients and hands over, `connections` open there."""

    number: int
    pid: int
    restarts: int
    since: float
    takes_mail: bool
    connections: int


class ObjectiveState(TypedDict):
    """How one stream keeps its promise; the fields are those of StreamState."""

    objective: str
    met: float | None
    burn: dict[str, float]


class Status(TypedDict):
    """The relay itself. `ready` is "" or why not; `gap` is the accounting gap, which must be 0; `objectives` are
    by stream, where there are some; `accepted`, `queued`, `held` and `ends` count recipients."""

    version: str
    hostname: str
    pid: int
    started_at: float
    ready: str
    delivery: str
    listeners: list[ListenerState]
    fronts: list[FrontState]
    accepted: int
    queued: int
    held: int
    ends: dict[str, int]
    gap: int
    objectives: dict[str, ObjectiveState]
    policies_loaded_at: float
    reload_problems: list[str]


class LimitState(TypedDict):
    """A limit that a provider's replies led to. `what` says it in words; `act` is slow_to (`value` a second),
    connections (`value`), pause_source or pause_stream; `towards` is a provider or a site; `where` the rule's
    file:line; `replies` how many set or extended it; `observed`: a dry run that limits nothing."""

    id: str
    what: str
    act: str
    source: str
    stream: str
    towards: str
    provider: str
    value: float
    since: float
    until: float
    replies: int
    rule: str
    where: str
    reply: str
    observed: bool


class Reloaded(TypedDict):
    """What came of a reload: `problems` kept the old rules in force; with none the new ones are, but for
    what `notes` say needs a restart."""

    problems: list[str]
    notes: list[str]


class Operator(ShapingOperator, BackupOperator, ImportOperator, Protocol):
    """A running relay, as its operators see it. Any method may raise queue.store.StoreBusy (try again)."""

    async def find(self, which: Filter, limit: int) -> list[Row]:
        """Queued and held recipients that match, oldest first, at most `limit`."""
        ...

    async def show(self, message: str) -> Shown | None:
        """One message that is still in the queue, or None."""
        ...

    async def hold(self, which: Filter) -> int:
        """Stops delivery of what matches until it is released; returns how many recipients changed."""
        ...

    async def release(self, which: Filter) -> int:
        """Queues held recipients again, due now; returns how many changed."""
        ...

    async def retry(self, which: Filter) -> int:
        """Makes queued recipients due now; returns how many changed."""
        ...

    async def cancel(self, which: Filter) -> int:
        """Ends recipients for good, without a report to the sender; returns how many."""
        ...

    async def confirm(self, which: Filter) -> int:
        """Ends recipients that were lost after the dot as delivered; returns how many."""
        ...

    async def check(self, *, full: bool) -> dict[str, object]:
        """Proves the queue from one snapshot: the fields of queue.checking.Findings. Raises StoreBroken."""
        ...

    async def explain(self, what: str) -> Explanation | None:
        """Why a message id waits, or what limits a destination domain now; None when nothing is known."""
        ...

    async def streams(self) -> list[StreamState]:
        """Every stream of the policies and every stream that still has mail, by name."""
        ...

    async def limits(self) -> list[LimitState]:
        """Limits that replies of providers led to, in force now; the one that ends first first."""
        ...

    async def cancel_limit(self, limit: str) -> str:
        """Ends one now; returns what it was, "" when there is none with that id."""
        ...

    async def sandbox_list(self) -> list[Caught]:
        """What the sandbox keeps, newest first; empty when delivery is not `sandbox`."""
        ...

    async def sandbox_show(self, caught: str) -> CaughtMessage | None:
        """One sandbox message by its sandbox id or the relay's message id, or None."""
        ...

    async def reload(self) -> Reloaded:
        """Reads configuration, policies, credentials and certificates again, all or nothing."""
        ...

    async def status(self) -> Status:
        """The relay itself."""
        ...
