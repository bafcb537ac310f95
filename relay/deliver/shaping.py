"""What keeps mail back beside limits: brakes, warm-up and paused sources, put to work on a running relay.

    bus ─► facts ─► core/brakes.py ─► trips ─► queue (held mail), lanes (why_not), events
    dispatcher ─► why_not, started ─► core/warmup.py, core/health.py

State is kept in the store: trips at once, warm-up counts every few seconds. Figures of windows are not: after
a restart a brake counts anew.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict
from typing import Protocol, TypeVar

from relay.core.brakes import LATE, STREAM, Brakes, Fact, Trip
from relay.core.events import Event
from relay.core.health import SourceHealth, SourcePause
from relay.core.pauses import End, of_brake, of_source
from relay.core.warmup import Hourly, WarmUps
from relay.deliver.held import held_filter, note_of, queued_filter
from relay.deliver.restraint import BRAKE, FREE, SOURCE_PAUSED, WARMUP, WhyNot
from relay.deliver.tasks import Tasks
from relay.observe.bus import Bus
from relay.policy.model import Policy
from relay.queue.store import Filter, StoreBroken, StoreBusy, StoreFull

log = logging.getLogger("relay.deliver")

T = TypeVar("T")
TICK_S = 1.0
KEEP_S = 5.0  # how many seconds of warm-up counts a crash may forget
AGAIN_S = 5.0  # after this time mail is held a second time: what was on its way into the queue at the first
KINDS = {"delivered", "deferred", "bounced", "expired", *LATE}
DOORS = {"banner", "ehlo"}
BRAKES, WARMUPS = "brakes", "warmup"  # kinds in the store


class Keeping(Protocol):
    """What is needed of the store."""

    async def recall(self, kind: str) -> dict[str, object]: ...

    async def remember(self, kind: str, changes: Mapping[str, object]) -> None: ...

    async def hold(self, which: Filter, note: str = "") -> int: ...

    async def release(self, which: Filter, now: float) -> int: ...


class Shaping:
    """The Restraint of one relay. `changed` is called when mail in the store was held or released, `wake` when
    what waits in memory may go, `left_alone` when a source is not used anywhere until a time."""

    def __init__(
        self, store: Keeping, bus: Bus, *, policy: Callable[[], Policy], clock: Callable[[], float],
        changed: Callable[[], None], wake: Callable[[], None],
    ) -> None:  # fmt: skip
        self.store, self.bus, self.policy, self.clock = store, bus, policy, clock
        self.changed, self.wake = changed, wake
        self.left_alone: Callable[[str, float], None] = _nobody
        self.brakes, self.warmups, self.health = Brakes(), WarmUps(), SourceHealth()
        self.tasks = Tasks()
        self._kept_at = clock()
        self.take_policy()
        bus.subscribe(self.on_event)

    def take_policy(self) -> None:
        """Takes the rules as they are now; what is in force stays so until it is over."""
        policy = self.policy()
        self.brakes.take_rules({stream.name: stream.brakes for stream in policy.streams.values()})
        sources = [source for pool in policy.pools.values() for source in pool.sources]
        self.warmups.take_plans({source.name: source.warmup for source in sources if source.warmup})

    # What the dispatcher asks and tells

    def why_not(self, stream: str, source: str, provider: str, now: float) -> WhyNot:
        """FREE, or what keeps mail of the stream from leaving from the source to the provider."""
        if self.health.paused and (pause := self.health.why_not(source, now)):
            return SOURCE_PAUSED, pause.until
        if self.brakes.trips and (found := self.brakes.why_not(stream, provider, now)):
            return BRAKE, found[1]
        if self.warmups.plans and (ready := self.warmups.why_not(source, provider, now)) is not None:
            return WARMUP, ready
        return FREE

    def started(self, stream: str, source: str, provider: str, now: float) -> None:
        """A message leaves."""
        if self.brakes.trips:
            self.brakes.started(stream, provider, now)
        if self.warmups.plans:
            self.warmups.started(source, provider, now)

    def unusable(self, source: str, reason: str, now: float) -> None:
        """The source's own address could not be used."""
        self._source_paused(self.health.unusable(source, reason, now))

    def held_by(self, stream: str, credential: str, tags: Mapping[str, str]) -> str:
        """The note with which a new message is stored held; "" when no brake holds it."""
        trip = self.brakes.holds(stream, credential, tags) if self.brakes.trips else None
        return note_of(trip) if trip else ""

    # What happens to mail

    def on_event(self, event: Event) -> None:
        """Counts what came of an attempt."""
        name, detail = event.event, event.detail
        if name in KINDS and self.brakes.watches(event.stream):
            for trip in self.brakes.count(_fact(event), self.clock()):
                self._tripped(trip)
        if name == "delivered" or (name == "attempted" and detail.get("phase") in DOORS):
            self._door(detail, shut=name == "attempted")

    def _door(self, detail: Mapping[str, object], *, shut: bool) -> None:
        if shut and not (isinstance(code := detail.get("code", 0), int) and code >= 500):
            return
        provider = str(detail.get("provider", ""))
        if provider == self.policy().providers[-1].name:
            provider = str(detail.get("mx", ""))
        self._source_paused(self.health.door(str(detail.get("source", "")), provider, self.clock(), shut=shut))

    def _source_paused(self, pause: SourcePause | None) -> None:
        if pause is None:
            return
        log.error("source %s is paused: %s", pause.source, pause.reason)
        self.left_alone(pause.source, pause.until)
        self.bus.publish(of_source(pause).begun(self.clock()))

    def _tripped(self, trip: Trip) -> None:
        log.warning("brake on %s: %s (%s): %s", trip.whom, trip.rule, trip.seen, trip.do)
        self.bus.publish(of_brake(trip).begun(trip.since))
        self.tasks.spawn(self._put_on(trip), f"brake {trip.id}")

    async def _put_on(self, trip: Trip) -> None:
        await surely(lambda: self.store.remember(BRAKES, {trip.id: asdict(trip)}))
        await self._hold(trip)
        await asyncio.sleep(AGAIN_S)
        await self._hold(trip)

    async def _hold(self, trip: Trip) -> None:
        if trip.in_store and trip.id in self.brakes.trips:
            count = await surely(lambda: self.store.hold(queued_filter(trip), note_of(trip)))
            self._told("held", trip, count)

    async def _take_off(self, trip: Trip) -> int:
        """The mail goes first: a crash before the end leaves the brake in force, never held mail without it."""
        count = 0
        if trip.in_store:
            count = await surely(lambda: self.store.release(held_filter(trip), self.clock()))
        if trip.id not in self.brakes.trips:
            await surely(lambda: self.store.remember(BRAKES, {trip.id: None}))
        self._told("released", trip, count)
        return count

    def _told(self, event: str, trip: Trip, count: int) -> None:
        if count:
            detail = {"recipients": count, "brake": trip.id}
            self.bus.publish(Event(event, self.clock(), stream=trip.stream, detail=detail))
            self.changed()

    def _over(self, trip: Trip, why: End) -> None:
        log.info("brake on %s is released (%s): %s", trip.whom, why, trip.rule)
        self.bus.publish(of_brake(trip).ended(self.clock(), why))
        self.wake()

    # What operators ask

    async def release(self, which: str) -> tuple[Trip, int] | None:
        """Ends a brake before its time; returns it and how many held recipients go on, None when there is no
        such brake."""
        trip = self.brakes.release(which)
        if trip is None:
            return None
        self._over(trip, End.OPERATOR)
        return trip, await self._take_off(trip)

    async def pause(self, stream: str, for_s: float) -> Trip:
        """Stops deliveries of a stream for some seconds, 0: until it is resumed."""
        now = self.clock()
        trip = self.brakes.pause(stream, now + for_s if for_s else None, now)
        self.bus.publish(of_brake(trip).begun(now))
        await surely(lambda: self.store.remember(BRAKES, {trip.id: asdict(trip)}))
        return trip

    async def resume(self, stream: str) -> int:
        """Releases everything that stops a whole stream; returns how many brakes there were."""
        mine = [one.id for one in self.brakes.trips.values() if one.stream == stream and one.by == STREAM]
        for which in mine:
            await self.release(which)
        return len(mine)

    # Life

    async def restore(self) -> None:
        """Takes up what was in force when the relay was stopped."""
        for row in (await self.store.recall(BRAKES)).values():
            trip = Trip(**row)  # type: ignore[arg-type]
            self.brakes.trips[trip.id] = trip
            await self._hold(trip)
        for key, pairs in (await self.store.recall(WARMUPS)).items():
            source, _, provider = key.partition("\n")
            if source in self.warmups.plans:
                self.warmups.left[(source, provider)] = Hourly.load(pairs)

    async def run(self) -> None:
        """Ends what has had its time and keeps counts, for ever."""
        while True:
            await asyncio.sleep(TICK_S)
            await self.tick()

    async def tick(self) -> None:
        """One round."""
        now = self.clock()
        for trip in self.brakes.expire(now):
            self._over(trip, End.TIME)
            self.tasks.spawn(self._take_off(trip), f"release brake {trip.id}")  # type: ignore[arg-type]
        for pause in self.health.expire(now):
            self.bus.publish(of_source(pause).ended(now, End.TIME))
            self.wake()
        if self.warmups.changed and not 0 <= now - self._kept_at < KEEP_S:
            await self.keep()

    async def close(self) -> None:
        """Finishes what is under way and writes the last counts."""
        await self.tasks.cancel()
        if self.warmups.changed:
            with contextlib.suppress(StoreBroken, StoreFull):
                await self.keep()

    async def keep(self) -> None:
        """Writes the warm-up counts that have changed."""
        self._kept_at, changed = self.clock(), set(self.warmups.changed)
        left = self.warmups.left
        rows = {"\n".join(key): left[key].as_list() if key in left else None for key in changed}
        try:
            await self.store.remember(WARMUPS, rows)
        except StoreBusy as error:
            log.warning("warm-up counts could not be kept, again later: %s", error)
            return
        self.warmups.changed -= changed


async def surely(work: Callable[[], Awaitable[T]]) -> T:
    """What the work returns, tried again while the queue is busy or full: a brake must not be half on."""
    while True:
        try:
            return await work()
        except (StoreBusy, StoreFull) as error:
            log.warning("a brake could not be put on or taken off, again in %g s: %s", AGAIN_S, error)
            await asyncio.sleep(AGAIN_S)


def _nobody(source: str, until: float) -> None:
    return None


def _fact(event: Event) -> Fact:
    detail = event.detail
    return Fact(
        event.event, event.stream, str(detail.get("provider", "")), str(detail.get("credential", "")),
        str(detail.get("class", "")), "mx" in detail, event.tags,
    )  # fmt: skip
