"""What a provider remembers of each client address, and so what it answers: no sockets and no clock here."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from tests.internet.behaviour import Block, Pace, Provider


@dataclass(slots=True)
class _Bucket:
    """What is left of a client's pace."""

    level: float
    at: float

    def take(self, pace: Pace, now: float) -> bool:
        """Whether one more message is borne now."""
        self.level = min(float(pace.burst), self.level + (now - self.at) * pace.rate)
        self.at = now
        if self.level < 1:
            return False
        self.level -= 1
        return True


@dataclass(slots=True)
class Memory:
    """Of one provider. Times are seconds of one clock; every answer is a refusal's text, or "" for yes."""

    provider: Provider
    open: Counter[str] = field(default_factory=Counter)
    taken: Counter[str] = field(default_factory=Counter)
    _buckets: dict[str, _Bucket] = field(default_factory=dict)
    _first_seen: dict[tuple[str, str, str], float] = field(default_factory=dict)
    _blocked_until: dict[str, float] = field(default_factory=dict)

    def connect(self, client: str, now: float) -> str:
        """A connection is made; it counts until `leave`, also one that is refused."""
        self.open[client] += 1
        if refusal := self._blocked(client, now):
            return refusal
        cap = self.provider.cap
        return cap.reply if cap is not None and self.open[client] > cap.most else ""

    def leave(self, client: str) -> None:
        """The connection is gone."""
        self.open[client] -= 1

    def mail(self, client: str, now: float) -> str:
        """A message is begun."""
        block = self.provider.block
        if block is not None and self._blocked(client, now):
            return block.inside
        pace = self.provider.pace
        if pace is None:
            return ""
        bucket = self._buckets.setdefault(client, _Bucket(float(pace.burst), now))
        return "" if bucket.take(pace, now) else pace.reply

    def recipient(self, client: str, sender: str, recipient: str, now: float) -> str:
        """One recipient is named."""
        grey = self.provider.greylist
        if grey is None:
            return ""
        seen = self._first_seen.setdefault((client, sender, recipient), now)
        return "" if now - seen >= grey.wait_s else grey.reply

    def accept(self, client: str) -> None:
        """A message is taken."""
        self.taken[client] += 1

    def _blocked(self, client: str, now: float) -> str:
        block: Block | None = self.provider.block
        if block is None or self.taken[client] < block.after or block.only not in {"", client}:
            return ""
        until = self._blocked_until.setdefault(client, now + block.for_s)
        return block.reply if now < until else ""
