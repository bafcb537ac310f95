"""What was held back and when: pauses, slow-downs and holds, by reply rules, brakes and the health of sources.

A simulation notes them here, and `read_pause` reads those of a recorded day: the one place that knows how events tell
of them. `compare` lays several such notes beside each other.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from relay.core.brakes import Trip
from relay.core.ledger import Act, Action
from relay.core.limits import rate_words
from relay.core.pauses import By

SAME_S = 1.0  # what begins and ends within a second of another is the same
ACTS = {"slow": Act.SLOW, "connections": Act.CONNECTIONS}  # any other: a pause


class Held(NamedTuple):
    """Whom it holds ("stream marketing", "source m1"), what it does to them, towards whom ("" for everyone), and the
    rule's name: what makes two pauses the same under two policies."""

    whom: str
    what: str
    towards: str
    rule: str


@dataclass(slots=True)
class Span:
    """From when to when (Unix s); `until` None while nobody has ended it. `because` is the reply or the figures that
    led to it, `where` the rule's file:line."""

    since: float
    until: float | None = None
    because: str = ""
    where: str = ""


@dataclass(slots=True)
class Pauses:
    """All there were, in the order in which they began."""

    spans: dict[Held, list[Span]] = field(default_factory=dict)
    _open: dict[str, Span] = field(default_factory=dict)

    def begin(self, name: str, held: Held, span: Span) -> None:
        """One begins; `name` is by what its end is known. One that is told twice goes on."""
        if name not in self._open:
            self._open[name] = span
            self.spans.setdefault(held, []).append(span)

    def end(self, name: str, now: float) -> None:
        """One is over."""
        if (span := self._open.pop(name, None)) is not None:
            span.until = now

    def total(self) -> int:
        """How many there were."""
        return sum(map(len, self.spans.values()))


def of_action(action: Action) -> Held:
    """What a reply rule does."""
    whom = f"stream {action.stream}" if action.stream else f"source {action.source}"
    return Held(whom, _does(action.act, action.value, observed=action.observed), action.counted, action.rule)


def of_trip(trip: Trip) -> Held:
    """What a brake does."""
    return Held(trip.whom, trip.do, "", _rate_of(trip.rule))


def _rate_of(rule: str) -> str:
    """What a brake looks at: `bounce_rate` of its rule's text. Its figures may be other ones tomorrow."""
    return rule.partition(" ")[0]


def of_source(source: str) -> Held:
    """A source that most receivers turn away."""
    return Held(f"source {source}", "pause", "", "turned away at the door")


def _does(act: Act, value: float, *, observed: bool) -> str:
    words = "pause"
    if act is Act.SLOW:
        words = f"slow to {rate_words(value)}"
    elif act is Act.CONNECTIONS:
        words = f"{value:g} connections"
    return f"{words} (observed only)" if observed else words


def read_pause(pauses: Pauses, row: Mapping[str, Any]) -> None:
    """Takes what an event says of a pause, in the form of core/pauses.py."""
    event, now = row.get("event"), row.get("time", 0.0)
    if event in ("stream_resumed", "source_resumed"):
        pauses.end(_id(row), now)
    elif event in ("stream_paused", "source_paused", "source_limited"):
        span = Span(now, None, row.get("seen", ""))
        span.where = row.get("where", "")
        pauses.begin(_id(row), _recorded(row), span)


def _id(row: Mapping[str, Any]) -> str:
    """What its beginning and its end have in common: a source that is left out has no id."""
    return str(row.get("id") or f"{row['source']} {row.get('provider', '')}")


def _recorded(row: Mapping[str, Any]) -> Held:
    match row["by"]:
        case By.REPLY_RULE:
            whom = f"stream {row['stream']}" if row.get("stream") else f"source {row['source']}"
            act = ACTS.get(row["what"], Act.PAUSE_SOURCE)
            what = _does(act, row.get("value", 0.0), observed=bool(row.get("observed")))
            return Held(whom, what, row["destination"], row["rule"])
        case By.HEALTH:
            return of_source(row["source"])
    part = dict(row.get("tags") or {})
    part |= {name: row[name] for name in ("credential", "provider") if row.get(name)}
    whom = "".join(f"{by} {key} of " for by, key in part.items()) + f"stream {row['stream']}"
    return Held(whom, row["what"], "", _rate_of(row.get("rule", "")) or By.OPERATOR)


def compare(*notes: Pauses) -> Iterator[tuple[Held, tuple[Span | None, ...]]]:
    """Every pause with its span in each of the notes, None where it is not there; by the time of the first."""
    rows = []
    for held in dict.fromkeys(held for one in notes for held in one.spans):
        spans = [one.spans.get(held, []) for one in notes]
        for nth in range(max(map(len, spans))):
            found = tuple(each[nth] if nth < len(each) else None for each in spans)
            rows.append((min(span.since for span in found if span is not None), held, found))
    for _, held, found in sorted(rows, key=lambda row: row[:2]):
        yield held, found


def same(spans: Sequence[Span | None]) -> bool:
    """Whether they begin and end at the same times."""
    first = spans[0]
    return all(_as_long(first, other) for other in spans[1:])


def _as_long(one: Span | None, other: Span | None) -> bool:
    if one is None or other is None:
        return one is other
    ends = (one.until is None) == (other.until is None) and abs((one.until or 0) - (other.until or 0)) <= SAME_S
    return ends and abs(one.since - other.since) <= SAME_S
