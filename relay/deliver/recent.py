"""Messages that were just accepted, kept in memory so that their first attempt reads nothing from disk."""

from __future__ import annotations

from collections import OrderedDict

from relay.core.message import Prepared
from relay.queue.spool import FileBody
from relay.queue.store import Stored

RECENT_BYTES = 32 << 20  # a burst of some thousand messages, or 25 seconds of a thousand a second
OVERHEAD_BYTES = 2000  # what a Prepared with its envelope weighs beside its bytes


class Recent:
    """At most `budget` bytes of messages, the oldest forgotten first: the store has them all."""

    def __init__(self, budget: int) -> None:
        self.budget = budget
        self._used = 0
        self._kept: OrderedDict[str, tuple[Stored, int]] = OrderedDict()

    def add(self, message: Prepared) -> None:
        """Keeps a message that was stored just now, with all its recipients waiting."""
        body = message.content.body
        size = OVERHEAD_BYTES + len(message.content.header) + (0 if isinstance(body, FileBody) else body.size)
        if size > self.budget:
            return
        stored = Stored(message, dict(enumerate(message.envelope.recipients)))
        self._kept[message.id] = (stored, size)
        self._used += size
        while self._used > self.budget:
            self._used -= self._kept.popitem(last=False)[1][1]

    def get(self, message: str) -> Stored | None:
        """The message, or None when the store must be asked."""
        found = self._kept.get(message)
        return found[0] if found else None

    def forget(self, message: str) -> None:
        """Its first attempt is over: whatever follows comes minutes later, from the store."""
        if found := self._kept.pop(message, None):
            self._used -= found[1]

    def clear(self) -> None:
        """Forgets everything: an operator changed the store."""
        self._kept.clear()
        self._used = 0
