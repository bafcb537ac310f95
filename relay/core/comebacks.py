"""Sources that come back after a pause: one connection tries first, and one refusal is enough for the next pause.

A pause ends by the clock, not because the other side has said anything. So until a message is taken there, the
source stands on trial: its gate has a window of one (`core.gate`), the rule that paused it needs no threshold, and
where it says so (`up_to`) the next pause is twice as long. The first message that is taken ends all that. A source
that was left alone everywhere (`core.health`) is on trial everywhere.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field

from relay.core.ledger import Act, Action
from relay.core.replies import ReplyRule

PLACES_MOST = 10_000  # as many as there are actions; who came back first goes
TAKEN_MOST = 1000  # places where one was taken again that had been left alone everywhere: it is well
FORGET_S = 86_400.0  # after a day without mail a source is as good as one that was never paused


@dataclass(frozen=True, slots=True)
class Comeback:
    """The pause that ended at `since` (Unix s): by which rule, and how long it was meant to be."""

    rule: str
    for_s: float
    since: float


@dataclass(frozen=True, slots=True)
class Everywhere:
    """A source that may be used again from then on (Unix s), and where it was taken meanwhile."""

    since: float
    taken: set[str] = field(default_factory=set)


@dataclass(slots=True)
class Comebacks:
    """Who is on trial, by source and the name limits are counted under."""

    _places: OrderedDict[tuple[str, str], Comeback] = field(default_factory=OrderedDict)
    _everywhere: dict[str, Everywhere] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self._places) + len(self._everywhere)

    def ended(self, action: Action, now: float) -> None:
        """An action is over, by time or by an operator; only a source's pause leads to a trial."""
        if action.act is not Act.PAUSE_SOURCE or action.observed:
            return
        place = (action.source, action.counted)
        self._places.pop(place, None)
        self._places[place] = Comeback(action.rule, action.for_s, now)
        if len(self._places) > PLACES_MOST:
            self._places.popitem(last=False)

    def left_alone(self, source: str, until: float) -> None:
        """A source is left alone everywhere: told when that begins, as mail may go at the instant it ends."""
        self._everywhere[source] = Everywhere(until)

    def taken(self, source: str, counted: str) -> None:
        """A message was taken there: the trial is over."""
        self._places.pop((source, counted), None)
        if (found := self._everywhere.get(source)) is not None:
            found.taken.add(counted)
            if len(found.taken) >= TAKEN_MOST:
                del self._everywhere[source]

    def on_trial(self, source: str, counted: str, now: float) -> bool:
        """Whether the source has come back there, and nothing of it was taken yet."""
        return self._found(source, counted, now) is not None or self._untried(source, counted, now)

    def same_again(self, rule: ReplyRule, source: str, counted: str, now: float) -> bool:
        """Whether a reply that the rule takes refuses one whom the same rule had paused."""
        found = self._found(source, counted, now)
        return found is not None and found.rule == rule.name

    def lasts_s(self, rule: ReplyRule, source: str, counted: str, now: float) -> float:
        """How long the rule's pause is to be: its own time, or twice the last one up to the most it says."""
        found = self._found(source, counted, now)
        if found is None or found.rule != rule.name or not rule.up_to_s:
            return rule.for_s
        return min(rule.up_to_s, max(rule.for_s, 2 * found.for_s))

    def _untried(self, source: str, counted: str, now: float) -> bool:
        found = self._everywhere.get(source)
        if found is not None and now >= found.since + FORGET_S:
            del self._everywhere[source]
            return False
        return found is not None and counted not in found.taken

    def _found(self, source: str, counted: str, now: float) -> Comeback | None:
        """A comeback that lies ahead was noted before the clock went back: it still counts from then on."""
        found = self._places.get((source, counted))
        if found is not None and now >= found.since + FORGET_S:
            del self._places[(source, counted)]
            return None
        return found
