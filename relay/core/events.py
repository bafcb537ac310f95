"""What happens to mail, as values: the only source of metrics, the event log and reports."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from relay.core.message import Prepared

NAMES = frozenset({
    "accepted", "refused", "attempted", "delivered", "deferred", "bounced", "expired",
    "held", "released", "cancelled", "reloaded", "guarded", "repeated", "restored",
    "complained", "bounced_late", "report_ignored",
    "stream_paused", "stream_resumed", "source_paused", "source_limited", "source_resumed",
})
NONE: Mapping[str, object] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened. `time` is Unix seconds (UTC). `detail` holds what only some events have:
    an attempt's source, mx, address, tls, code, enhanced, text, phase, attempt, seconds, class."""

    event: str
    time: float
    message: str = ""
    recipient: str = ""
    stream: str = ""
    route: str = ""
    sender: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    detail: Mapping[str, object] = field(default_factory=lambda: NONE)

    def as_dict(self, node: str) -> dict[str, object]:
        """The JSON object of the event log; empty fields are left out, `detail` is spread."""
        row: dict[str, object] = {"time": round(self.time, 6), "event": self.event}
        if self.message:
            row["message"] = self.message
        if self.recipient:
            row["recipient"] = self.recipient
        if self.stream:
            row["stream"] = self.stream
        if self.route:
            row["route"] = self.route
        if self.sender:
            row["sender"] = self.sender
        if self.tags:
            row["tags"] = dict(self.tags)
        row["node"] = node
        row.update(self.detail)
        return row


def accepted_event(message: Prepared, now: float) -> Event:
    """The event of a message that is on stable storage. `facts` are those of Prepared, `held` only when a rule
    holds it, `due_at` when it is to be sent later."""
    detail: dict[str, object] = {
        "listener": message.listener, "client": message.client, "credential": message.credential,
        "size": message.content.size, "recipients": [one.address for one in message.envelope.recipients],
    }  # fmt: skip
    if message.held:
        detail["held"] = True
    if message.once is not None:
        detail["idempotency_key"] = message.once.key
    if message.origin:
        detail["origin"] = message.origin
    if message.due_at > message.received_at:
        detail["due_at"] = round(message.due_at, 3)
    if message.facts is not None:
        detail["facts"] = message.facts
    return Event(
        "accepted", now, message=message.id, stream=message.stream, route=message.route,
        sender=message.envelope.sender, tags=message.tags, detail=detail,
    )  # fmt: skip


def repeated_event(message: Prepared, first: str, now: float) -> Event:
    """The event of a message that was not queued, as its idempotency key belongs to message `first`."""
    assert message.once is not None, "only a key makes a message a repeat"
    return Event(
        "repeated", now, message=first, stream=message.stream, route=message.route, sender=message.envelope.sender,
        detail={
            "listener": message.listener, "client": message.client, "credential": message.credential,
            "idempotency_key": message.once.key,
        },
    )  # fmt: skip
