"""What holds mail back in a simulation, by the code that holds it back in the relay: reply rules and their ledger,
brakes, the health of sources, warm-up. Time is the caller's; what is written down goes into `pauses`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from relay.core.brakes import Brakes, Fact, Trip
from relay.core.health import SourceHealth, SourcePause
from relay.core.hearing import Hearing
from relay.core.limits import Rates
from relay.core.outcome import Outcome, Verdict
from relay.core.replies import ReplyRule, deciding
from relay.core.warmup import WarmUps
from relay.policy.model import Policy
from relay.policy.pauses import Pauses, Span, of_action, of_source, of_trip

RULES_KEPT = 20_000  # which rule takes a reply is looked up once for each reply


class Terms(NamedTuple):
    """How a host is dealt with: its provider, the name limits are counted under, rates, reply rules, named limits."""

    provider: str
    counted: str
    rates: Rates
    replies: tuple[ReplyRule, ...]
    shared: tuple[str, ...]
    catches_all: bool


class Restraints:
    """One policy's. `ends` hears when something begun now will be over (Unix s); `limited` for which counted name
    the rates are other ones now, `well_again` which source may be used again everywhere."""

    def __init__(self, policy: Policy, *, ends: Callable[[float], None], limited: Callable[[str], None],
                 well_again: Callable[[str], None]) -> None:  # fmt: skip
        self.ends, self.limited, self.well_again = ends, limited, well_again
        self.pauses = Pauses()
        self.hearing = Hearing()
        self.ledger, self.comebacks = self.hearing.ledger, self.hearing.comebacks
        self.brakes, self.warmups, self.health = Brakes(), WarmUps(), SourceHealth()
        self.brakes.take_rules({stream.name: stream.brakes for stream in policy.streams.values()})
        sources = [source for pool in policy.pools.values() for source in pool.sources]
        self.warmups.take_plans({source.name: source.warmup for source in sources if source.warmup})
        self._deciding: dict[tuple[object, ...], ReplyRule | None] = {}

    # What keeps mail from leaving

    @property
    def quiet(self) -> bool:
        """Whether nothing is in force that could."""
        return not (self.brakes.trips or self.ledger.limits or self.health.paused or self.warmups.plans)

    def source_held(self, source: str, terms: Terms, now: float) -> float | None:
        """Until when a source is not used towards there, None when it may be."""
        if self.health.paused and (pause := self.health.why_not(source, now)):
            return pause.until
        if self.ledger.limits and (action := self.ledger.pause((source, "", terms.counted), now)):
            return action.until
        return self.warmups.why_not(source, terms.provider, now) if self.warmups.plans else None

    def stream_held(self, stream: str, terms: Terms, now: float) -> float | None:
        """Until when a stream is not sent there (infinite: until an operator releases it), None when it is."""
        if self.ledger.limits and (action := self.ledger.pause(("", stream, terms.counted), now)):
            return action.until
        if self.brakes.trips and (found := self.brakes.why_not(stream, terms.provider, now)):
            return found[1]
        return None

    def held_by(self, stream: str, credential: str, tags: Mapping[str, str]) -> str:
        """The id of the brake that has taken the message out of the schedule, "" for none."""
        trip = self.brakes.holds(stream, credential, tags) if self.brakes.trips else None
        return trip.id if trip else ""

    def rates(self, source: str, counted: str, rates: Rates, now: float) -> Rates:
        """The rates under the actions in force."""
        return self.ledger.rates(source, counted, rates, now) if self.ledger.limits else rates

    def started(self, stream: str, source: str, provider: str, now: float) -> None:
        """A message leaves."""
        if self.brakes.trips:
            self.brakes.started(stream, provider, now)
        if self.warmups.plans:
            self.warmups.started(source, provider, now)

    # What is learned from answers

    def hear(self, outcome: Outcome, terms: Terms, *, source: str, stream: str, now: float) -> Outcome:
        """The outcome as the reply rules want it; what they ask for is in force from now on."""
        if outcome.reply is None or outcome.verdict is Verdict.DELIVERED or not terms.replies:
            return outcome
        rule = self._rule(outcome, terms)
        if rule is None:
            return outcome
        ruled, found = self.hearing.hear(
            outcome, rule, source=source, stream=stream, provider=terms.provider, counted=terms.counted, now=now
        )
        for action, is_new in found:
            if is_new:
                self.pauses.begin(action.id, of_action(action), Span(now, None, action.reply, action.where))
                self.ends(action.until)
                self.limited(terms.counted)
        return ruled

    def _rule(self, outcome: Outcome, terms: Terms) -> ReplyRule | None:
        reply, phase = outcome.reply, outcome.phase.value
        assert reply is not None, "asked only about replies"
        key = (reply, outcome.kind, phase, terms.provider)
        if key not in self._deciding:
            if len(self._deciding) >= RULES_KEPT:
                self._deciding.clear()
            self._deciding[key] = deciding(terms.replies, reply, outcome.kind, phase)
        return self._deciding[key]

    def count(self, fact: Fact, now: float) -> None:
        """Counts what came of one recipient."""
        for trip in self.brakes.count(fact, now):
            self.pauses.begin(trip.id, of_trip(trip), Span(now, None, f"{trip.rule}: {trip.seen}", trip.where))
            if trip.until is not None:
                self.ends(trip.until)

    def door(self, source: str, terms: Terms, host: str, now: float, *, shut: bool) -> None:
        """A receiver let a source in, or turned it away before any message was named."""
        pause = self.health.door(source, host if terms.catches_all else terms.provider, now, shut=shut)
        if pause is not None:
            self._paused(pause, now)

    def _paused(self, pause: SourcePause, now: float) -> None:
        self.comebacks.left_alone(pause.source, pause.until)
        self.pauses.begin(f"source {pause.source}", of_source(pause.source), Span(now, None, pause.reason))
        self.ends(pause.until)

    # What has had its time

    def expire(self, now: float) -> list[Trip]:
        """Ends what is over; returns the brakes among it."""
        for action in self.hearing.expire(now):
            self.pauses.end(action.id, now)
            self.limited(action.counted)
        for pause in self.health.expire(now):
            self.well_again(pause.source)
            self.pauses.end(f"source {pause.source}", now)
        trips = self.brakes.expire(now)
        for trip in trips:
            self.pauses.end(trip.id, now)
        return trips

    def next_end(self) -> float:
        """When the next of all that is in force will be over, infinite when nothing is."""
        ends = [trip.until for trip in self.brakes.trips.values() if trip.until is not None]
        ends += [pause.until for pause in self.health.paused.values()]
        return min(*ends, self.ledger.next_end() or float("inf"), float("inf"))
