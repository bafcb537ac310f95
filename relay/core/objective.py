"""Whether a stream keeps its objective: each recipient counted once, at the moment its fate is known.

A recipient is **good** when it was delivered within `within_s` of acceptance. It is **late** as soon as that time
is over and it still waits, whatever becomes of it later. It is **missed** when it ended in time by a fault that is
not the address's: refused as spam, unsigned, expired. It is **not counted** when the address or the mailbox was at
fault (EXCUSED), when somebody cancelled it, and when a rule held it from the beginning.

So that a campaign of a million costs no memory for each, recipients are not kept one by one: ids of the same
1.024 seconds begin alike (`core.ids`), and for each such stretch the number that still waits is all there is. A
stretch is closed, and what waits in it is late, when the time of its last message is over. That is at most
1.024 s after the first one's time; one that ends in between is judged by its own age.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from relay.core.burn import Burn
from relay.core.classify import Kind
from relay.core.ids import STRETCH_CHARS, stretch_at, stretch_end

# Bounces of an address that is wrong or a mailbox that is full or closed: told in time, they are no failure of ours.
EXCUSED = frozenset({
    Kind.INVALID_RECIPIENT, Kind.BAD_DOMAIN, Kind.INACTIVE_MAILBOX, Kind.QUOTA_ISSUES,
})
HELD_MOST = 100_000  # ids of held mail, and of mail to be sent later; beyond it they are counted like any other


@dataclass(slots=True)
class Tracker:
    """One stream. `waiting`: how many wait in each stretch; `exempt`: held messages, by stretch; `later`: the stretch
    in which the time of messages begins that are to be sent later, and `_later_in` these messages by stretch."""

    within_s: float
    target: float
    burn: Burn = field(default_factory=Burn)
    waiting: dict[str, int] = field(default_factory=dict)
    exempt: dict[str, set[str]] = field(default_factory=dict)
    closes_at: float = float("inf")
    later: dict[str, str] = field(default_factory=dict)
    _later_in: dict[str, set[str]] = field(default_factory=dict)

    def accepted(
        self, message: str, recipients: int, now: float, *, held: bool = False, due_at: float = 0.0
    ) -> None:
        """A message is on disk; `held` by a rule it is not counted. `due_at` (Unix s): it is to be sent then."""
        stretch = message[:STRETCH_CHARS]
        if due_at > now and not held and len(self.later) < HELD_MOST:
            stretch = stretch_at(due_at)
            self._put_off(message, stretch)
        if held and sum(map(len, self.exempt.values())) < HELD_MOST:
            self.exempt.setdefault(stretch, set()).add(message)
            self._closing(stretch)
            return
        if stretch in self.waiting:
            self.waiting[stretch] += recipients
        elif self._closing(stretch) > now:
            self.waiting[stretch] = recipients
        else:  # the disk took longer than the objective allows
            self.burn.count(now, 0, recipients)

    def _closing(self, stretch: str) -> float:
        """When a stretch is closed (Unix s); takes note if it is the next one."""
        at = stretch_end(stretch) + self.within_s
        self.closes_at = min(self.closes_at, at)
        return at

    def ended(self, message: str, now: float, age_s: float, *, delivered: bool, excused: bool) -> None:
        """One recipient came to its end, `age_s` after acceptance. Nothing happens for one that was late
        already, or held."""
        stretch = self.later.get(message) or message[:STRETCH_CHARS]
        left = self.waiting.get(stretch)
        if left is None or (self.exempt and message in self.exempt.get(stretch, ())):
            return
        if left > 1:
            self.waiting[stretch] = left - 1
        else:
            del self.waiting[stretch]
        if age_s > self.within_s:
            self.burn.count(now, 0, 1)
        elif delivered:
            self.burn.count(now, 1, 1)
        elif not excused:
            self.burn.count(now, 0, 1)

    def close(self, now: float) -> None:
        """Counts as late what waits in stretches that are over; to be called before figures are read."""
        if now < self.closes_at:
            return
        for stretch in sorted({*self.waiting, *self.exempt, *self._later_in}):
            at = stretch_end(stretch) + self.within_s
            if at > now:
                break
            self.exempt.pop(stretch, None)
            for message in self._later_in.pop(stretch, ()):
                del self.later[message]
            if late := self.waiting.pop(stretch, 0):
                self.burn.count(at, 0, late)
        self._find_next()

    def promise(self, within_s: float, target: float) -> None:
        """Takes new figures from a reload; what waits is measured by them from now on."""
        self.within_s, self.target = within_s, target
        self._find_next()

    def resume(
        self, waiting: Mapping[str, int], held: Iterable[tuple[str, str]], later: Iterable[tuple[str, str]] = ()
    ) -> None:
        """Takes over what waits at a start: recipients by stretch, and held mail as (stretch, message). `later`:
        (stretch, message) of each recipient that is to be sent later, who is not among those that wait."""
        self.waiting = dict(waiting)
        for stretch, message in later:
            self._put_off(message, stretch)
            self.waiting[stretch] = self.waiting.get(stretch, 0) + 1
        for stretch, message in held:
            self.exempt.setdefault(stretch, set()).add(message)
        self._find_next()

    def _put_off(self, message: str, stretch: str) -> None:
        self.later[message] = stretch
        self._later_in.setdefault(stretch, set()).add(message)

    def _find_next(self) -> None:
        ends = [stretch_end(stretch) for stretch in {*self.waiting, *self.exempt, *self._later_in}]
        self.closes_at = min(ends, default=float("inf")) + self.within_s
