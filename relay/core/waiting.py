"""One recipient that waits for its next attempt: small, as there may be very many."""

from __future__ import annotations

from typing import NamedTuple

Mark = tuple[float, str, int]
"""A place in the order of a stream's queue: (due time, message id, recipient index)."""

Part = tuple[str, str]
"""A part of a stream: (domain, flow)."""

START: Mark = (float("-inf"), "", 0)


class Waiting(NamedTuple):
    """`nth` counts the message's recipients from 0, `due_at` and `received_at` are Unix seconds (UTC),
    `attempts` those already made, `lost` those of them after which it may have been delivered (lost after the dot),
    `notified` whether the sender was told of the delay. `domain` is the
    lower-case A-label domain of `address`, `flow` the app and campaign it takes turns with (`core.message`)."""

    due_at: float
    message: str
    nth: int
    address: str
    domain: str
    stream: str
    received_at: float
    attempts: int
    notified: bool = False
    flow: str = ""
    lost: int = 0

    @property
    def mark(self) -> Mark:
        """Where it stands in its stream's order."""
        return (self.due_at, self.message, self.nth)

    @property
    def part(self) -> Part:
        """The part of its stream it belongs to."""
        return (self.domain, self.flow)

    @property
    def key(self) -> tuple[str, int]:
        """Which recipient it is."""
        return (self.message, self.nth)
