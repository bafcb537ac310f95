"""Who else has a say when a message is to leave: brakes, warm-up, paused sources."""

from __future__ import annotations

from typing import Protocol

WhyNot = tuple[str, float]
FREE: WhyNot = ("", 0.0)
INF = float("inf")
BRAKE, WARMUP, SOURCE_PAUSED = "brake", "warmup", "source_paused"
OF_SOURCE = {WARMUP, SOURCE_PAUSED}  # another source of the pool may take over


class Restraint(Protocol):
    """What the dispatcher asks before a message leaves, and tells."""

    def why_not(self, stream: str, source: str, provider: str, now: float) -> WhyNot:
        """FREE, or the reason and when to ask again (Unix s; inf: somebody will call)."""
        ...

    def started(self, stream: str, source: str, provider: str, now: float) -> None:
        """A message leaves."""
        ...

    def unusable(self, source: str, reason: str, now: float) -> None:
        """The source's own address could not be used."""
        ...


class Unrestrained:
    """Nobody has a say but the limits."""

    def why_not(self, stream: str, source: str, provider: str, now: float) -> WhyNot:
        return FREE

    def started(self, stream: str, source: str, provider: str, now: float) -> None:
        return None

    def unusable(self, source: str, reason: str, now: float) -> None:
        return None


UNRESTRAINED = Unrestrained()


class Door:
    """One source towards one provider. After `ask` it is asked stream by stream: `reason` and `until` are those of
    the first stream that had to wait, and the soonest time."""

    __slots__ = ("_now", "_provider", "_restraint", "_source", "reason", "until")

    def __init__(self, restraint: Restraint, source: str, provider: str) -> None:
        self._restraint, self._source, self._provider = restraint, source, provider
        self.ask(0.0)

    def ask(self, now: float) -> None:
        """Begins a new question."""
        self._now, self.reason, self.until = now, "", INF

    def may(self, stream: str) -> bool:
        """Whether a message of the stream may leave."""
        reason, until = self._restraint.why_not(stream, self._source, self._provider, self._now)
        if not reason:
            return True
        self.reason, self.until = self.reason or reason, min(self.until, until)
        return False
