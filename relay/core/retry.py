"""When to try again: a schedule as a pure function of the attempt number (RFC 5321 §4.5.4.1)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Retry:
    """Waits after the first failed attempts, then `then_s` for ever, until `expire_s` after acceptance.
    `jitter` 0.2 spreads each wait over ±20 %, so that a thousand deferred together do not return together."""

    after_s: tuple[float, ...]
    then_s: float
    expire_s: float
    jitter: float = 0.2

    def wait_s(self, attempts: int, chance: float) -> float:
        """Seconds to wait after `attempts` failed ones (from 1); `chance` in [0, 1) is the dice."""
        base = self.after_s[attempts - 1] if attempts <= len(self.after_s) else self.then_s
        return base * (1 + self.jitter * (2 * chance - 1))

    def next_due(
        self, *, now: float, received_at: float, attempts: int, chance: float, asked_s: float | None = None
    ) -> float:
        """Unix time of the next attempt; the last one is placed at the expiry itself, never after it,
        so that no message dies with a try left unused. `asked_s` is a wait the receiver asked for: it stands
        in place of the schedule's, and is spread to the later side only."""
        wait_s = self.wait_s(attempts, chance) if asked_s is None else asked_s * (1 + self.jitter * chance)
        return min(now + wait_s, max(now, received_at + self.expire_s))

    def expired(self, *, now: float, received_at: float) -> bool:
        """Whether the message has had its time."""
        return now >= received_at + self.expire_s
