"""How long a message would wait for the reply to its dot, and whether that is too long. Pure: `now` is an argument.

Work between dot and reply goes in order of priority (relay/inbound/turns.py), so what stands before a message is
what is in hand of its own priority and above; with the pace of the last seconds that is a time (Little's law). A
stream below sees the longest line and is sent away first, the highest one last. What cannot be answered in time is
better refused at once: the client keeps the message and the connection is free for one that matters more.
"""

from __future__ import annotations

from dataclasses import dataclass, field

WAIT_MOST_S = 5.0  # RFC 5321 §4.5.3.2.6 gives the dot ten minutes, programs that send codes give it seconds
HALF_LIFE_S = 3.0  # of busy time: the disk of a minute ago says little
# Until it is known better: 10 messages at 100 a second, slower than any machine this is for. More would let a flood
# in at the start that then waits; a disk that answers nothing shows within seconds.
USUAL_MESSAGES, USUAL_S = 10.0, 0.1
SLOWEST = 0.001  # messages a second: a disk that hangs is no division by zero


@dataclass(slots=True)
class Load:
    """What is in hand between dot and reply. Times are seconds of any one steady clock."""

    wait_most_s: float = WAIT_MOST_S
    _in_hand: dict[int, int] = field(default_factory=dict)
    _count: int = 0
    _done: float = USUAL_MESSAGES  # answered of late, and ...
    _busy_s: float = USUAL_S  # ... the time that took
    _seen: float = 0.0

    def enter(self, priority: int, now: float) -> None:
        """A message was taken in hand."""
        self._pass(now)
        self._in_hand[priority] = self._in_hand.get(priority, 0) + 1
        self._count += 1

    def leave(self, priority: int, now: float) -> None:
        """Its reply is known."""
        self._pass(now)
        self._in_hand[priority] -= 1
        self._count -= 1
        self._done += 1

    def pace(self, now: float) -> float:
        """Messages a second, as of late."""
        self._pass(now)
        return max(self._done / self._busy_s, SLOWEST)

    def wait_s(self, priority: int, now: float) -> float:
        """How long one more message of this priority would wait."""
        ahead = sum(count for other, count in self._in_hand.items() if other >= priority)
        return ahead / self.pace(now)

    def calm(self, now: float) -> bool:
        """Whether not even the lowest priority would wait for more than a client shall."""
        if self._count <= 1:
            return True
        self._pass(now)
        return self._count * self._busy_s <= self.wait_most_s * self._done

    def too_long(self, priority: int, now: float) -> bool:
        """Whether that is more than a client shall wait."""
        return not self.calm(now) and self.wait_s(priority, now) > self.wait_most_s

    def _pass(self, now: float) -> None:
        """Lets time pass; idle time teaches nothing."""
        if now == self._seen:
            return
        passed = now - self._seen
        self._seen = now
        if self._count and passed > 0:
            kept = 0.5 ** (passed / HALF_LIFE_S)
            self._done *= kept
            self._busy_s = self._busy_s * kept + passed
