"""What operators hear of brakes and sources, and how `relay explain` speaks of them."""

from __future__ import annotations

from dataclasses import asdict

from relay.core.brakes import OPERATOR, Trip
from relay.deliver.held import brake_of
from relay.deliver.restraint import BRAKE, SOURCE_PAUSED, WARMUP
from relay.policy.model import Source
from relay.service.relay import Relay
from relay.web.operator import Explanation
from relay.web.shaping import BrakeState, SourceState


class ShapingAnswers:
    """The ShapingOperator of one Relay."""

    relay: Relay

    async def brakes(self) -> list[BrakeState]:
        """Every brake in force, the oldest first."""
        trips = sorted(self.relay.shaping.brakes.trips.values(), key=lambda one: one.since)
        return [_brake(trip) for trip in trips]

    async def release_brake(self, which: str) -> int | None:
        """Ends a brake; returns how many held recipients go on, None when there is no such brake."""
        found = await self.relay.shaping.release(which)
        return None if found is None else found[1]

    async def pause_stream(self, name: str, for_s: float) -> BrakeState | None:
        """Stops a stream's deliveries for some seconds, 0: until resumed; None for an unknown stream."""
        if name not in self.relay.policy().streams:
            return None
        return _brake(await self.relay.shaping.pause(name, for_s))

    async def resume_stream(self, name: str) -> int | None:
        """Releases all that brakes the whole stream; returns how many brakes, None for an unknown stream."""
        known = {*self.relay.policy().streams, *(one.stream for one in self.relay.shaping.brakes.trips.values())}
        return await self.relay.shaping.resume(name) if name in known else None

    async def sources(self) -> list[SourceState]:
        """Every source of every pool."""
        pools = self.relay.policy().pools
        return [self._source(name, source) for name, pool in pools.items() for source in pool.sources]

    def _source(self, pool: str, source: Source) -> SourceState:
        relay, now, plan = self.relay, self.relay.clock(), source.warmup
        allowance = plan.allowance(now) if plan else None
        pause = relay.shaping.health.why_not(source.name, now)
        hands = relay.dispatcher.connector.hands.values()
        return SourceState(
            pool=pool, name=source.name, address=source.address, address6=source.address6,
            helo=source.helo or relay.config.hostname, weight=source.weight,
            day=plan.day(now) if plan and allowance is not None else 0, allowance=allowance,
            sent=relay.shaping.warmups.sent(source.name, now),
            paused_until=pause.until if pause else None, paused_why=pause.reason if pause else "",
            connections=sum(hand.source.name == source.name for hand in hands), where=source.where,
        )  # fmt: skip


def _brake(trip: Trip) -> BrakeState:
    row = asdict(trip)
    del row["rate_slow"]
    return BrakeState(**row)  # type: ignore[typeddict-item, no-any-return]


def held_because(relay: Relay, note: str) -> Explanation | None:
    """The brake that holds a recipient; None when somebody else does."""
    trip = relay.shaping.brakes.trips.get(brake_of(note))
    return None if trip is None else explain_brake(trip)


def kept_back(relay: Relay, stream: str, source: str, provider: str) -> Explanation | None:
    """What beside the limits keeps a stream's mail from leaving from a source to a provider now."""
    now, shaping = relay.clock(), relay.shaping
    reason, until = shaping.why_not(stream, source, provider, now)
    if reason == BRAKE and (found := shaping.brakes.why_not(stream, provider, now)):
        return explain_brake(found[0])
    if reason == SOURCE_PAUSED and (pause := shaping.health.why_not(source, now)):
        return Explanation(source, f"source {source} is paused: {pause.reason}", "", pause.until)
    if reason == WARMUP and (plan := shaping.warmups.plans.get(source)):
        where = f" to {provider}" if plan.per_provider else ""
        spent = f"its {plan.allowance(now)} messages an hour{where} are sent"
        words = f"source {source} warms up (day {plan.day(now)}): {spent}"
        return Explanation(source, words, plan.where, until)
    return None


def explain_brake(trip: Trip) -> Explanation:
    """A brake in one sentence, with its rule and its end."""
    if trip.rule == OPERATOR:
        reason = f"an operator paused {trip.whom}; relay stream resume {trip.stream} ends it"
    else:
        did = {"hold": "holds", "pause": "pauses", "slow": "slows"}.get(trip.do, trip.do)
        reason = f"a brake {did} {trip.whom}: {trip.rule} ({trip.seen}); relay brakes release {trip.id} ends it"
    return Explanation(trip.whom, reason, trip.where, trip.until)
