"""What came of an attempt: recorded in the store first, told to everyone after.

One place turns Outcomes into settlements, events and reports to the sender; whatever happens to a message
on its way out passes here. A report is stored before the recipient it speaks of is ended, so that a crash
between the two can send it twice but never lose it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from relay.core.events import Event
from relay.core.outcome import Outcome, Verdict
from relay.core.retry import Retry
from relay.core.waiting import Waiting
from relay.deliver.connection import Peer
from relay.deliver.reports import Reporter, Told
from relay.observe.bus import Bus
from relay.policy.model import Policy, Stream
from relay.queue.store import End, Settlement, Stored

LAST_RESORT = Retry((300.0, 900.0), 3600.0, 5 * 86400.0)  # for a stream the policy no longer has


class Settling(Protocol):
    """What is needed of the store."""

    def settle_soon(self, settlements: Sequence[Settlement]) -> asyncio.Future[None]: ...


@dataclass(frozen=True, slots=True)
class Attempt:
    """The circumstances of one attempt; `peer` None when no host was reached."""

    begun_at: float
    ended_at: float
    peer: Peer | None = None
    tls: str = ""
    provider: str = ""

    def facts(self, place: Waiting, outcome: Outcome, count: int) -> dict[str, object]:
        """What the event tells of it."""
        facts: dict[str, object] = {"provider": self.provider, "phase": outcome.phase.value, "attempt": count}
        if self.peer is not None:
            facts |= {"source": self.peer.source, "mx": self.peer.mx, "address": self.peer.address}
            facts["tls"] = self.tls
        if outcome.reply is not None:
            facts |= {"code": outcome.reply.code, "enhanced": outcome.reply.enhanced, "text": outcome.reply.text}
        elif outcome.text:
            facts["text"] = outcome.text
        facts["seconds"] = round(self.ended_at - self.begun_at, 6)
        facts["delay_s"] = round(self.ended_at - place.received_at, 6)
        if outcome.kind:
            facts["class"] = outcome.kind
        return facts


@dataclass(slots=True)
class Ledger:
    """What one attempt at one message leads to."""

    settlements: list[Settlement] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    again: list[Waiting] = field(default_factory=list)
    told: list[Told] = field(default_factory=list)


class Settler:
    """`done(finished, again)` is told what is in the store now: places that are finished with, and those
    that wait again. `chance` gives the dice for jitter, in [0, 1)."""

    def __init__(
        self, store: Settling, bus: Bus, reporter: Reporter, *, policy: Callable[[], Policy],
        clock: Callable[[], float], chance: Callable[[], float],
        done: Callable[[Sequence[Waiting], Sequence[Waiting]], None],
    ) -> None:  # fmt: skip
        self.store, self.bus, self.reporter = store, bus, reporter
        self.policy, self.clock, self.chance, self.done = policy, clock, chance, done
        self.tasks: set[asyncio.Task[None]] = set()

    def settle(
        self, stored: Stored, places: Sequence[Waiting], outcomes: Sequence[Outcome], attempt: Attempt,
        *, dsn_passed_on: bool = False,
    ) -> None:  # fmt: skip
        """Records one outcome for each place."""
        ledger = Ledger()
        stream = self.policy().streams.get(stored.message.stream)
        for place, outcome in zip(places, outcomes, strict=True):
            self._judge(ledger, stored, place, outcome, attempt, stream, dsn_passed_on)
        if ledger.told:
            task = asyncio.create_task(self._report_first(ledger, stored, places), name="delivery report")
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)
        else:
            self._record(ledger, places)

    def _judge(
        self, ledger: Ledger, stored: Stored, place: Waiting, outcome: Outcome, attempt: Attempt,
        stream: Stream | None, dsn_passed_on: bool,
    ) -> None:  # fmt: skip
        count = place.attempts + 1
        facts = attempt.facts(place, outcome, count)
        if outcome.verdict is Verdict.DEFERRED:
            retry = stream.retry if stream else LAST_RESORT
            if not retry.expired(now=attempt.ended_at, received_at=place.received_at):
                self._defer(ledger, stored, place, outcome, facts, retry, stream)
                return
            end, name = End.EXPIRED, "expired"
        elif outcome.verdict is Verdict.FAILED:
            end, name = End.BOUNCED, "bounced"
        else:
            end, name = End.DELIVERED, "delivered"
        ledger.settlements.append(Settlement(place.message, place.nth, count, end))
        ledger.events.append(event(name, attempt.ended_at, stored, place, facts))
        passed_on = dsn_passed_on and end is End.DELIVERED
        if not passed_on and (told := self.reporter.due(stored, place, name, outcome, attempt.peer)):
            ledger.told.append(told)

    def _defer(
        self, ledger: Ledger, stored: Stored, place: Waiting, outcome: Outcome, facts: dict[str, object],
        retry: Retry, stream: Stream | None,
    ) -> None:  # fmt: skip
        now, count = self.clock(), place.attempts + 1
        due = retry.next_due(now=now, received_at=place.received_at, attempts=count, chance=self.chance())
        notice_s = stream.delay_notice_s if stream else 0.0
        told = None
        if notice_s and not place.notified and now - place.received_at >= notice_s:
            told = self.reporter.due(stored, place, "delayed", outcome, None)
            if told is not None:
                ledger.told.append(told)
        last = str(outcome.reply or outcome.text)[:500]
        notified = place.notified or told is not None
        ledger.settlements.append(
            Settlement(place.message, place.nth, count, None, due, last, delay_notified=notified)
        )
        ledger.again.append(place._replace(due_at=due, attempts=count, notified=notified))
        ledger.events.append(event("deferred", now, stored, place, facts | {"due_at": round(due, 3)}))

    async def _report_first(self, ledger: Ledger, stored: Stored, places: Sequence[Waiting]) -> None:
        await self.reporter.send(stored, ledger.told)
        self._record(ledger, places)

    def _record(self, ledger: Ledger, places: Sequence[Waiting]) -> None:
        recorded = self.store.settle_soon(ledger.settlements)

        def tell(future: asyncio.Future[None]) -> None:
            if not future.cancelled() and future.exception() is None:
                self.done(places, ledger.again)
                for one in ledger.events:
                    self.bus.publish(one)

        recorded.add_done_callback(tell)

    async def wait(self) -> None:
        """Until every report under way is stored."""
        while self.tasks:
            await asyncio.gather(*self.tasks, return_exceptions=True)


def event(name: str, now: float, stored: Stored, place: Waiting, detail: dict[str, object]) -> Event:
    """An event about one recipient of a stored message."""
    message = stored.message
    return Event(
        name, now, message=message.id, recipient=place.address, stream=message.stream, route=message.route,
        sender=message.envelope.sender, tags=message.tags, detail=detail,
    )  # fmt: skip
