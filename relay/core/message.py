"""A message that is finished and may be queued: signed, with its stream decided once and for all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from relay.core.content import Content
from relay.core.envelope import Envelope


class Once(NamedTuple):
    """A client's idempotency key. `owner` is the credential, or else listener and client; `digest` stands for
    envelope and body; up to `until` (Unix s) the same key of the same owner means this message."""

    owner: str
    key: str
    digest: str
    until: float


@dataclass(frozen=True, slots=True)
class Prepared:
    """What `queue.put` stores. `envelope` is the client's own (reports go to its sender); `return_path`
    is the reverse-path to use outwards, "" for null. `due_at` and `received_at` are Unix seconds (UTC).
    A message with `held` waits for an operator; `held_by` says which brake holds it, or why. `origin` names the
    message in the queue it was taken over from: no second one with the same is taken. `listener`, `priority` (its
    stream's, for the order of commits), `facts` (what the policies looked at, for the event log:
    `policy.recorded`) and `came_bytes` (its size as it came in, which quotas count) are known only while it is
    fresh, as is `once`, which the store keeps apart. A message with `due_at` after `received_at` is to be sent then,
    and not before."""

    id: str
    received_at: float
    due_at: float
    envelope: Envelope
    return_path: str
    stream: str
    pool: str
    route: str
    credential: str = ""
    client: str = ""
    listener: str = ""
    held: bool = False
    priority: int = 0
    held_by: str = ""
    origin: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    facts: Mapping[str, object] | None = None
    came_bytes: int = 0
    once: Once | None = None
    content: Content = field(repr=False, kw_only=True)

    @property
    def starts_at(self) -> float:
        """From when its time counts: expiry, delay, the objective (Unix s)."""
        return max(self.received_at, self.due_at)

    @property
    def flow(self) -> str:
        """Who takes turns with others inside the stream: the app that sent it (its credential, or else its
        address), a bar, and its `campaign` tag."""
        return f"{self.credential or self.client}|{self.tags.get('campaign', '')}"
