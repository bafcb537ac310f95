"""Brakes: what came of a stream's mail, counted over windows, and what is stopped when too much went wrong.

1. Each outcome is counted for every rule of its stream, under the rule's key (the stream itself, a tag's value,
   a credential, a provider). A key lies inside its stream: one stream's figures never brake another.
2. A rule trips when its share is above the limit and enough was counted; its trip is in force until its time
   is over or an operator releases it. Then the key is counted anew.
3. While a trip is in force nothing more is counted for its key.
4. A complaint, or a bounce that comes after delivery, is a share of what was delivered: it adds a hit and no mail.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Literal

from relay.core.limits import TokenBucket
from relay.core.windows import Windows

Do = Literal["hold", "pause", "slow", "alert"]
STREAM, CREDENTIAL, PROVIDER = "stream", "credential", "provider"  # `by`; any other word is a tag
OPERATOR = "operator"  # the rule of a pause that nobody's figures asked for


@dataclass(frozen=True, slots=True)
class Fact:
    """What came of one recipient: `name` delivered, deferred, bounced or expired, or what was heard of one that had
    been delivered: complained, bounced_late; `kind` the bounce class; `reached`: a host was asked."""

    name: str
    stream: str
    provider: str = ""
    credential: str = ""
    kind: str = ""
    reached: bool = True
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class BrakeRule:
    """Trips when more than `above` (a share) of at least `at_least` in `over_s` seconds are hits of `rate`.
    `rate_slow` is messages a second for do: slow; `for_s` 0: until an operator releases it."""

    rate: str
    above: Fraction
    over_s: float
    at_least: int
    by: str
    do: Do
    rate_slow: float = 0.0
    for_s: float = 0.0
    text: str = ""
    where: str = ""

    def key(self, fact: Fact) -> str | None:
        """Whose figures a fact belongs to; None: nobody's."""
        if self.by == STREAM:
            return ""
        found = {PROVIDER: fact.provider, CREDENTIAL: fact.credential}.get(self.by)
        return (fact.tags.get(self.by) if found is None else found) or None


@dataclass(frozen=True, slots=True)
class Trip:
    """A brake in force. `key` is what it holds inside the stream, "" for all of it; `until` Unix s, None for
    as long as an operator leaves it; `seen` the figures it tripped at."""

    id: str
    stream: str
    rule: str
    by: str
    key: str
    do: Do
    since: float
    until: float | None = None
    rate_slow: float = 0.0
    seen: str = ""
    where: str = ""

    @property
    def whom(self) -> str:
        """The braked mail in words."""
        return f"stream {self.stream}" if not self.key else f"{self.by} {self.key} of stream {self.stream}"

    @property
    def in_store(self) -> bool:
        """Whether its mail is taken out of the schedule: all of `hold`, and a pause of what lanes cannot
        tell apart."""
        return self.do == "hold" or (self.do == "pause" and self.by not in (STREAM, PROVIDER))

    def over(self, now: float) -> bool:
        """Whether its time is over. A start that lies ahead means that the clock went back: it ends, too."""
        return self.until is not None and (now >= self.until or now < self.since - 60)


def counted(rate: str, fact: Fact) -> bool | None:
    """Whether a fact is a hit of the rate; None when the rate does not speak of it. What is heard of delivered mail
    afterwards (LATE) is a hit or nothing: its recipient was counted when it was delivered."""
    if fact.name in LATE:
        unknown = fact.kind == "InvalidRecipient" or rate != "unknown_user_rate"
        return True if rate in LATE[fact.name] and unknown else None
    if rate == "complaint_rate":  # of what was delivered
        return False if fact.name == "delivered" else None
    if rate == "deferral_rate":  # answers of receivers: of every attempt that reached one
        return fact.name == "deferred" if fact.reached and fact.name != "expired" else None
    if fact.name == "deferred":
        return None
    if rate == "unknown_user_rate":
        return fact.name == "bounced" and fact.kind == "InvalidRecipient"
    return fact.name == "bounced"


RATES = ("bounce_rate", "complaint_rate", "deferral_rate", "unknown_user_rate")
LATE = {"complained": ("complaint_rate",), "bounced_late": ("bounce_rate", "unknown_user_rate")}


class Brakes:
    """All rules with their windows, and the trips in force by id."""

    def __init__(self) -> None:
        self.trips: dict[str, Trip] = {}
        self._rules: dict[str, list[tuple[BrakeRule, Windows[str]]]] = {}
        self._buckets: dict[str, TokenBucket] = {}

    def take_rules(self, rules: Mapping[str, Sequence[BrakeRule]]) -> None:
        """The rules by stream; one that is as it was keeps its figures, trips stay until they are over."""
        kept = {(stream, rule): seen for stream, own in self._rules.items() for rule, seen in own}
        self._rules = {
            stream: [(rule, kept.get((stream, rule)) or Windows(rule.over_s)) for rule in own]
            for stream, own in rules.items() if own
        }  # fmt: skip

    def watches(self, stream: str) -> bool:
        """Whether the stream has rules at all."""
        return stream in self._rules

    def count(self, fact: Fact, now: float) -> list[Trip]:
        """Counts what came of one recipient; returns the trips it made."""
        trips = []
        for rule, windows in self._rules.get(fact.stream, ()):
            hit = counted(rule.rate, fact)
            if hit is not None and (trip := self._count(rule, windows, fact, now, hit=hit)):
                trips.append(trip)
        return trips

    def _count(
        self, rule: BrakeRule, windows: Windows[str], fact: Fact, now: float, *, hit: bool
    ) -> Trip | None:
        key = rule.key(fact)
        if key is None or (self.trips and trip_id(fact.stream, rule.text, key) in self.trips):
            return None
        window = windows.count(key, now, hit=hit, known=fact.name in LATE)
        if not hit or window.total < rule.at_least or window.hits <= rule.above * window.total:
            return None
        seen = f"{window.hits} of {window.total}"
        windows.forget(key)
        return self._trip(rule, fact.stream, key, seen, now)

    def _trip(self, rule: BrakeRule, stream: str, key: str, seen: str, now: float) -> Trip:
        trip = Trip(
            trip_id(stream, rule.text, key), stream, rule.text, rule.by, key, rule.do, now,
            now + rule.for_s if rule.for_s else None, rule.rate_slow, seen, rule.where,
        )  # fmt: skip
        self.trips[trip.id] = trip
        return trip

    def pause(self, stream: str, until: float | None, now: float) -> Trip:
        """An operator stops the deliveries of a stream."""
        trip = Trip(trip_id(stream, OPERATOR, ""), stream, OPERATOR, STREAM, "", "pause", now, until)
        self.trips[trip.id] = trip
        return trip

    def release(self, which: str) -> Trip | None:
        """Ends a trip; None when there is none of that id."""
        self._buckets.pop(which, None)
        return self.trips.pop(which, None)

    def expire(self, now: float) -> list[Trip]:
        """Ends what has had its time; returns it."""
        return [trip for trip in list(self.trips.values()) if trip.over(now) and self.release(trip.id)]

    def why_not(self, stream: str, provider: str, now: float) -> tuple[Trip, float] | None:
        """The brake that keeps the stream from sending to the provider now, and when to ask again (inf:
        when it is released); None when it may."""
        for trip in self._on(stream, provider):
            if trip.do == "slow":
                ready = self._bucket(trip).ready_at(now)
                if ready > now:
                    return trip, ready
            else:
                return trip, float("inf") if trip.until is None else trip.until
        return None

    def started(self, stream: str, provider: str, now: float) -> None:
        """A message of the stream leaves."""
        for trip in self._on(stream, provider):
            if trip.do == "slow":
                self._bucket(trip).take(now)

    def holds(self, stream: str, credential: str, tags: Mapping[str, str]) -> Trip | None:
        """The brake for which a new message is to be stored held."""
        for trip in self.trips.values():
            if trip.stream == stream and trip.in_store:
                own = {STREAM: "", CREDENTIAL: credential}.get(trip.by)
                if trip.key == (tags.get(trip.by) if own is None else own):
                    return trip
        return None

    def _on(self, stream: str, provider: str) -> Iterator[Trip]:
        """Trips that lanes and gates must obey."""
        for trip in self.trips.values():
            if trip.stream != stream or trip.do == "alert":
                continue
            if trip.by == STREAM or (trip.by == PROVIDER and trip.key == provider):
                yield trip

    def _bucket(self, trip: Trip) -> TokenBucket:
        return self._buckets.setdefault(trip.id, TokenBucket(trip.rate_slow, 1.0, 1.0))


def trip_id(stream: str, rule: str, key: str) -> str:
    """The same for the same brake, so that operators and state files can name it."""
    return hashlib.blake2b("\0".join((stream, rule, key)).encode(), digest_size=4).hexdigest()
