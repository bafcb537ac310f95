"""The health of our own addresses: which must not be used now, and why.

Two things make a source unusable: the machine does not have the address, or most receivers turn it away at the
door (a 5xx greeting or answer to EHLO, before any message was named). One receiver that does is its own affair.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from relay.core.limits import Breaker

UNUSABLE_FIRST_S, UNUSABLE_LONGEST_S = 30.0, 900.0
BLOCKED_FIRST_S, BLOCKED_LONGEST_S = 1800.0, 6 * 3600.0
PROVIDERS_LEAST = 3  # that must have been asked lately before "most" means anything
LATELY_S = 3600.0
PROVIDERS_MOST = 500  # remembered of each source


@dataclass(slots=True)
class Health:
    """One source. `doors`: what each provider or site did last, (Unix s, whether it turned us away)."""

    unusable: Breaker = field(default_factory=lambda: Breaker(UNUSABLE_FIRST_S, UNUSABLE_LONGEST_S))
    blocked: Breaker = field(default_factory=lambda: Breaker(BLOCKED_FIRST_S, BLOCKED_LONGEST_S))
    doors: dict[str, tuple[float, bool]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SourcePause:
    """A source that is left alone until `until` (Unix s)."""

    source: str
    reason: str
    until: float


class SourceHealth:
    """All sources that had trouble, or were watched."""

    def __init__(self) -> None:
        self._sources: dict[str, Health] = {}
        self.paused: dict[str, SourcePause] = {}

    def unusable(self, source: str, reason: str, now: float) -> SourcePause | None:
        """Its address could not be used; returns the pause if it is a new one."""
        return self._pause(source, self._of(source).unusable, reason, now)

    def door(self, source: str, provider: str, now: float, *, shut: bool) -> SourcePause | None:
        """A receiver let us in or turned us away; returns the pause if that was one too many."""
        health = self._of(source)
        health.doors.pop(provider, None)
        health.doors[provider] = (now, shut)
        if len(health.doors) > PROVIDERS_MOST:
            del health.doors[next(iter(health.doors))]
        if not shut:
            if health.unusable.failures:
                health.unusable.succeed()
            if health.blocked.failures and not any(was_shut for _, was_shut in health.doors.values()):
                health.blocked.succeed()
            return None
        lately = [was_shut for at, was_shut in health.doors.values() if now - LATELY_S < at <= now]
        if len(lately) < PROVIDERS_LEAST or sum(lately) * 2 <= len(lately):
            return None
        reason = f"{sum(lately)} of {len(lately)} receivers turned it away within the last hour"
        health.doors.clear()
        return self._pause(source, health.blocked, reason, now)

    def _pause(self, source: str, breaker: Breaker, reason: str, now: float) -> SourcePause | None:
        if source in self.paused:
            return None
        breaker.fail(now, reason)
        pause = self.paused[source] = SourcePause(source, reason, breaker.until)
        return pause

    def why_not(self, source: str, now: float) -> SourcePause | None:
        """The pause in force, or None."""
        pause = self.paused.get(source)
        return pause if pause is not None and now < pause.until else None

    def expire(self, now: float) -> list[SourcePause]:
        """Ends the pauses that have had their time (or stand further ahead than any lasts: the clock went
        back); returns them."""
        over = [one for one in self.paused.values() if not now < one.until <= now + BLOCKED_LONGEST_S]
        for one in over:
            del self.paused[one.source]
        return over

    def _of(self, source: str) -> Health:
        found = self._sources.get(source)
        if found is None:
            found = self._sources[source] = Health()
        return found
