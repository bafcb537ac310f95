"""What replies led to: limits in force for a while, each with the rule that set it and when it ends.

An action ends by itself after the time its rule names, counted from the last reply that matched. A clock that
goes back cannot keep it longer: no end is ever further away than that time. `observed` actions are dry runs:
they are in the ledger and limit nothing.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import asdict, dataclass, field, fields, replace
from enum import StrEnum

from relay.core.limits import Rates

ACTIONS_MOST = 10_000  # about 10 MB; the one that would end first makes room
Place = tuple[str, str, str]
"""(source, stream, name limits are counted under); the source is "" for a paused stream, else the stream."""


class Act(StrEnum):
    """What an action does."""

    SLOW = "slow_to"
    CONNECTIONS = "connections"
    PAUSE_SOURCE = "pause_source"
    PAUSE_STREAM = "pause_stream"


@dataclass(frozen=True, slots=True)
class Action:
    """One limit in force. `value` is messages a second or connections, `counted` the name limits are counted
    under (a provider or a site), `rule` its name and `where` its file:line, `reply` the last one that set it,
    `times` how many did. Times are Unix seconds (UTC); `for_s` is how long it lasts after each reply."""

    id: str
    act: Act
    provider: str
    counted: str
    rule: str
    where: str
    since: float
    until: float
    for_s: float
    source: str = ""
    stream: str = ""
    value: float = 0.0
    reply: str = ""
    times: int = 1
    observed: bool = False

    @property
    def place(self) -> Place:
        """What it limits."""
        return (self.source, self.stream, self.counted)

    @property
    def key(self) -> Hashable:
        """What makes two actions one: a rule keeps its name when its line moves."""
        return (self.place, self.act, self.rule, self.observed)

    def as_dict(self) -> dict[str, object]:
        """Plain values for JSON."""
        return {**asdict(self), "act": self.act.value}


@dataclass(slots=True)
class Ledger:
    """Every action in force, by id; asked for each message, so what limits a place is one look-up. `limits`:
    whether anything is limited at all."""

    actions: dict[str, Action] = field(default_factory=dict)
    _ids: dict[Hashable, str] = field(default_factory=dict)
    _places: dict[Place, tuple[Action, ...]] = field(default_factory=dict)
    limits: bool = False

    def note(self, wanted: Action, now: float) -> tuple[Action, bool]:
        """Puts an action into force, or extends the same one; returns it as it is now, and whether it is new.
        A new one with an id that is taken gets the next free one."""
        known = self.actions.get(self._ids.get(wanted.key, ""))
        if known is not None:
            longer = replace(wanted, id=known.id, since=known.since, until=now + wanted.for_s, times=known.times + 1)
            self._put(longer)
            return longer, False
        number, name = 1, wanted.id
        while name in self.actions:
            number += 1
            name = f"{wanted.id}-{number}"
        fresh = replace(wanted, id=name, since=now, until=now + wanted.for_s)
        if len(self.actions) >= ACTIONS_MOST:
            self.cancel(min(self.actions.values(), key=lambda one: one.until).id)
        self._put(fresh)
        return fresh, True

    def cancel(self, name: str) -> Action | None:
        """Takes an action out of force; None when there is none with that id."""
        found = self.actions.pop(name, None)
        if found is not None:
            del self._ids[found.key]
            self._index(found, ())
        return found

    def expire(self, now: float) -> list[Action]:
        """Takes out what has ended, and returns it. An end further away than the rule's own time means that
        the clock went back: it is drawn in."""
        ended = [action for action in self.actions.values() if action.until <= now]
        for action in ended:
            self.cancel(action.id)
        for action in list(self.actions.values()):
            if action.until > now + action.for_s:
                self._put(replace(action, until=now + action.for_s))
        return ended

    def next_end(self) -> float | None:
        """When the first action ends (Unix s), None without any."""
        return min((action.until for action in self.actions.values()), default=None)

    def restore(self, rows: Iterable[object], now: float) -> list[Action]:
        """Takes back what `as_dict` gave, after a restart; returns those that ended meanwhile. What is no action
        is left out."""
        for row in rows:
            if (action := _action(row)) is not None:
                self._put(action)
        return self.expire(now)

    def limited(self, place: Place, now: float) -> list[Action]:
        """Everything that limits a place now, dry runs left out."""
        return [one for one in self._places.get(place, ()) if one.until > now]

    def pause(self, place: Place, now: float) -> Action | None:
        """The pause that holds a source or a stream back there, the one that ends last."""
        held = [one for one in self.limited(place, now) if one.act in PAUSES]
        return max(held, key=lambda one: one.until, default=None)

    def rates(self, source: str, counted: str, rates: Rates, now: float) -> Rates:
        """The rates of a source under the actions in force: never more than it had."""
        for one in self.limited((source, "", counted), now):
            if one.act is Act.SLOW:
                slower = min(rates.messages_per_second or one.value, one.value)
                rates = replace(rates, messages_per_second=slower)
            elif one.act is Act.CONNECTIONS:
                rates = replace(rates, connections=min(rates.connections, int(one.value)))
        return rates

    def _put(self, action: Action) -> None:
        self.actions[action.id] = action
        self._ids[action.key] = action.id
        self._index(action, () if action.observed else (action,))

    def _index(self, action: Action, instead: tuple[Action, ...]) -> None:
        others = [one for one in self._places.get(action.place, ()) if one.id != action.id]
        if others or instead:
            self._places[action.place] = (*others, *instead)
        else:
            self._places.pop(action.place, None)
        self.limits = bool(self._places)


PAUSES = frozenset({Act.PAUSE_SOURCE, Act.PAUSE_STREAM})
_NUMBERS = frozenset({"since", "until", "for_s", "value"})
_NAMES = frozenset(one.name for one in fields(Action))


def _action(row: object) -> Action | None:
    """The action of a row of JSON, or None when it is of another form."""
    if not isinstance(row, dict) or set(row) != _NAMES:
        return None
    texts = _NAMES - _NUMBERS - {"times", "observed"}
    right = all(isinstance(row[name], str) for name in texts) and all(
        isinstance(row[name], int | float) for name in {*_NUMBERS, "times"}
    )
    if not right or row["act"] not in set(Act):
        return None
    return Action(**{**row, "act": Act(row["act"]), "observed": bool(row["observed"])})
