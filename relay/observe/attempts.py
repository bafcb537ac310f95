"""The last attempts at messages that are still waiting: what `relay queue show` prints. Bounded; the event
log has them all."""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import NotRequired, TypedDict

from relay.core.events import Event

MESSAGES_MOST = 5000
EACH_MOST = 20


class Attempt(TypedDict):
    """One failed attempt: `time` Unix seconds (UTC), `text` the remote server's words or ours."""

    time: float
    recipient: str
    verdict: str
    text: str
    mx: NotRequired[str]
    source: NotRequired[str]


class Attempts:
    """Remembers deferrals of the messages that were deferred most recently."""

    def __init__(self) -> None:
        self._by_message: OrderedDict[str, deque[Attempt]] = OrderedDict()

    def on_event(self, event: Event) -> None:
        """Keeps a deferral."""
        if event.event != "deferred":
            return
        detail = event.detail
        kept = self._by_message.setdefault(event.message, deque(maxlen=EACH_MOST))
        self._by_message.move_to_end(event.message)
        code = f"{detail['code']} {detail.get('enhanced', '')} " if "code" in detail else ""
        attempt = Attempt(
            time=event.time, recipient=event.recipient, verdict="deferred", text=f"{code}{detail.get('text', '')}"
        )
        if "mx" in detail:
            attempt["mx"], attempt["source"] = str(detail["mx"]), str(detail["source"])
        kept.append(attempt)
        if len(self._by_message) > MESSAGES_MOST:
            self._by_message.popitem(last=False)

    def of(self, message: str) -> list[Attempt]:
        """The message's attempts, oldest first."""
        return list(self._by_message.get(message, ()))
