"""How long a message would wait for the reply to its dot, and whether that is too long. Pure: `now` is an argument.

Work between dot and reply goes in order of priority (relay/inbound/turns.py), so what stands before a message is
what is in hand of its own priority and above; with the pace of the last seconds that is a time (Little's law). A
stream below sees the longest line and is sent away first, the highest one last. What cannot be answered in time is
better refused at once: the client keeps the message and the connection is free for one that matters more.
"""

from __future__ import annotations

from dataclasses import dataclass, field

WAIT_MOST_S = 5.0  # RFC 5321 §4.5.3.2.6 gives the dot ten minutes, programs that send codes give it seconds
# Of busy time: the disk of a minute ago says little. The lowest stream is let in at the slower pace of both: what came
# in at a pace that is over waits longer than it should. Higher ones have the benefit of the doubt, as a disk that
# stands still for a second may well go on.
HALF_LIVES_S = (1.0, 3.0)
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
    _done: list[float] = field(default_factory=lambda: [USUAL_MESSAGES] * len(HALF_LIVES_S))  # of late, and
    _busy_s: list[float] = field(default_factory=lambda: [USUAL_S] * len(HALF_LIVES_S))  # the time that took
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
        for at in range(len(HALF_LIVES_S)):
            self._done[at] += 1

    def pace(self, now: float) -> float:
        """Messages a second, as of late."""
        return min(self._paces(now))

    def wait_s(self, priority: int, now: float) -> float:
        """How long one more message of this priority would wait."""
        ahead = sum(count for other, count in self._in_hand.items() if other >= priority)
        quick, steady = self._paces(now)
        return ahead / (steady if priority > min(self._in_hand, default=priority) else min(quick, steady))

    def calm(self, now: float) -> bool:
        """Whether not even the lowest priority would wait for more than a client shall."""
        if self._count <= 1:
            return True
        self._pass(now)
        most_s = self.wait_most_s
        return all(self._count * busy_s <= most_s * done for done, busy_s in zip(self._done, self._busy_s, strict=True))

    def too_long(self, priority: int, now: float) -> bool:
        """Whether that is more than a client shall wait."""
        return not self.calm(now) and self.wait_s(priority, now) > self.wait_most_s

    def _paces(self, now: float) -> list[float]:
        self._pass(now)
        return [max(done / busy_s, SLOWEST) for done, busy_s in zip(self._done, self._busy_s, strict=True)]

    def _pass(self, now: float) -> None:
        """Lets time pass; idle time teaches nothing."""
        if now == self._seen:
            return
        passed = now - self._seen
        self._seen = now
        if self._count and passed > 0:
            for at, half_life_s in enumerate(HALF_LIVES_S):
                kept = 0.5 ** (passed / half_life_s)
                self._done[at] *= kept
                self._busy_s[at] = self._busy_s[at] * kept + passed
