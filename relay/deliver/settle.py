"""What came of an attempt: recorded in the store first, told to everyone after.

One place turns Outcomes into settlements, events and reports to the sender; whatever happens to a message
on its way out passes here. A report is stored before the recipient it speaks of is ended, so that a crash
between the two can send it twice but never lose it. Only what the store took is told: of two ends of one recipient
(an operator cancels what a connection carries) the first one counts, and the other is logged.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from relay.core.events import Event
from relay.core.outcome import Outcome, Trouble, Verdict
from relay.core.retry import Retry
from relay.core.waiting import Waiting
from relay.deliver.feed import Peer
from relay.deliver.reports import Reporter, Told
from relay.deliver.tasks import Tasks
from relay.observe.bus import Bus
from relay.policy.model import Policy, Stream
from relay.queue.store import End, Refused, Settlement, Stored

log = logging.getLogger("relay.deliver")

LAST_CHARS = 500  # of the last answer kept in the queue for operators
LAST_RESORT = Retry((300.0, 900.0), 3600.0, 5 * 86400.0)  # for a stream the policy no longer has


class Settling(Protocol):
    """What is needed of the store."""

    def settle_soon(self, settlements: Sequence[Settlement]) -> asyncio.Future[Refused]: ...


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
        if (peer := self.peer) is not None:
            facts |= {"source": peer.source, "mx": peer.mx, "address": peer.address, "tls": self.tls}
        if (reply := outcome.reply) is not None:
            facts |= {"code": reply.code, "enhanced": reply.enhanced, "text": reply.text}
        elif outcome.text:
            facts["text"] = outcome.text
        facts["seconds"] = round(self.ended_at - self.begun_at, 6)
        facts["delay_s"] = round(self.ended_at - place.received_at, 6)
        if outcome.kind:
            facts["class"] = outcome.kind
        if outcome.rule:
            facts["rule"] = outcome.rule
        return facts


@dataclass(slots=True)
class Ledger:
    """One attempt at one message, and what it leads to: a settlement and an event for each recipient, in the same
    order. `stream` None: the policy no longer has it. `passed_on`: the next server has taken over the duty to report
    successes."""

    stored: Stored
    attempt: Attempt
    stream: Stream | None
    passed_on: bool
    settlements: list[Settlement] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    again: list[Waiting] = field(default_factory=list)
    told: list[Told] = field(default_factory=list)

    def tell(self, name: str, place: Waiting, outcome: Outcome, **more: object) -> None:
        """Notes the event of one recipient."""
        message, attempt = self.stored.message, self.attempt
        if message.credential:
            more["credential"] = message.credential
        self.events.append(Event(
            name, attempt.ended_at, message=message.id, recipient=place.address, stream=message.stream,
            route=message.route, sender=message.envelope.sender, tags=message.tags,
            detail=attempt.facts(place, outcome, place.attempts + 1) | more,
        ))  # fmt: skip


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
        self.tasks = Tasks()

    def settle(
        self, stored: Stored, places: Sequence[Waiting], outcomes: Sequence[Outcome], attempt: Attempt,
        *, dsn_passed_on: bool = False,
    ) -> asyncio.Future[Refused]:  # fmt: skip
        """Records one outcome for each place; the answer ends when that is on stable storage."""
        stream = self.policy().streams.get(stored.message.stream)
        ledger = Ledger(stored, attempt, stream, dsn_passed_on)
        for place, outcome in zip(places, outcomes, strict=True):
            self._judge(ledger, place, outcome)
        if not ledger.told:
            return self._record(ledger, places)
        recorded: asyncio.Future[Refused] = asyncio.get_running_loop().create_future()
        self.tasks.spawn(self._report_first(ledger, places, recorded), "delivery report")
        return recorded

    def tried(self, peer: Peer, outcome: Outcome) -> None:
        """One host of a cycle failed; the next is tried. No message was touched by it."""
        text = outcome.text or str(outcome.reply)
        log.info("%s [%s] from %s: %s", peer.mx, peer.address, peer.source, text)
        detail: dict[str, object] = {
            "source": peer.source, "mx": peer.mx, "address": peer.address, "provider": peer.provider,
            "site": peer.site, "phase": outcome.phase.value, "class": outcome.kind, "text": text,
        }  # fmt: skip
        if outcome.reply is not None:
            detail |= {"code": outcome.reply.code, "enhanced": outcome.reply.enhanced}
        self.bus.publish(Event("attempted", self.clock(), detail=detail))

    def _judge(self, ledger: Ledger, place: Waiting, outcome: Outcome) -> None:
        """Whether this recipient has come to an end, and which."""
        if outcome.verdict is Verdict.DELIVERED:
            self._end(ledger, place, outcome, End.DELIVERED)
            return
        ended_at = ledger.attempt.ended_at
        retry = ledger.stream.retry if ledger.stream else LAST_RESORT
        if outcome.trouble is Trouble.EXPIRED:
            self._end(ledger, place, outcome, End.EXPIRED)
        elif outcome.verdict is Verdict.FAILED:
            self._end(ledger, place, outcome, End.BOUNCED)
        elif outcome.trouble is Trouble.LOST_AFTER_DOT and ledger.stream and ledger.stream.lost_after_dot == "hold":
            self._hold(ledger, place, outcome)
        elif retry.expired(now=ended_at, received_at=place.received_at):
            self._end(ledger, place, outcome, End.EXPIRED)
        else:
            self._defer(ledger, place, outcome, retry)

    def _end(self, ledger: Ledger, place: Waiting, outcome: Outcome, end: End) -> None:
        name = end.value
        ledger.settlements.append(Settlement(place.message, place.nth, place.attempts + 1, end))
        more = {"possible_duplicate": True} if place.lost and end is End.DELIVERED else {}
        ledger.tell(name, place, outcome, **more)
        if end is End.DELIVERED and ledger.passed_on:
            return
        if told := self.reporter.due(ledger.stored, place, name, outcome, ledger.attempt.peer):
            ledger.told.append(told)

    def _defer(self, ledger: Ledger, place: Waiting, outcome: Outcome, retry: Retry) -> None:
        now, count = self.clock(), place.attempts + 1
        due = retry.next_due(
            now=now, received_at=place.received_at, attempts=count, chance=self.chance(), asked_s=outcome.again_s
        )
        told = self._delay_notice(ledger, place, outcome, now)
        if told is not None:
            ledger.told.append(told)
        last = str(outcome.reply or outcome.text)[:LAST_CHARS]
        notified = place.notified or told is not None
        lost = outcome.trouble is Trouble.LOST_AFTER_DOT
        ledger.settlements.append(Settlement(
            place.message, place.nth, count, None, due, last, delay_notified=notified, lost="resend" if lost else "",
        ))  # fmt: skip
        ledger.again.append(
            place._replace(due_at=due, attempts=count, notified=notified, lost=place.lost + lost)
        )
        more: dict[str, object] = {"lost_after_dot": "resend"} if lost else {}
        ledger.tell("deferred", place, outcome, due_at=round(due, 3), **more)

    def _hold(self, ledger: Ledger, place: Waiting, outcome: Outcome) -> None:
        """Lost after the dot, and the stream would rather ask than send twice: an operator decides."""
        ledger.settlements.append(Settlement(
            place.message, place.nth, place.attempts + 1, None, place.due_at, outcome.text[:LAST_CHARS],
            delay_notified=place.notified, lost="hold",
        ))  # fmt: skip
        ledger.tell("deferred", place, outcome, lost_after_dot="hold")

    def _delay_notice(self, ledger: Ledger, place: Waiting, outcome: Outcome, now: float) -> Told | None:
        """The notice to a sender whose mail is late, once for each recipient."""
        notice_s = ledger.stream.delay_notice_s if ledger.stream else 0.0
        if not notice_s or place.notified or now - place.received_at < notice_s:
            return None
        return self.reporter.due(ledger.stored, place, "delayed", outcome, None)

    async def _report_first(
        self, ledger: Ledger, places: Sequence[Waiting], done: asyncio.Future[Refused]
    ) -> None:
        try:
            await self.reporter.send(ledger.stored, ledger.told)
        except Exception:  # a report that cannot be written today cannot be written tomorrow
            log.exception("message %s: its sender %s cannot be told what became of it",
                          ledger.stored.message.id, ledger.stored.message.envelope.sender)  # fmt: skip
        recorded = self._record(ledger, places)
        recorded.add_done_callback(lambda told: None if told.cancelled() else done.set_result(told.result()))

    def _record(self, ledger: Ledger, places: Sequence[Waiting]) -> asyncio.Future[Refused]:
        recorded = self.store.settle_soon(ledger.settlements)

        def tell(future: asyncio.Future[Refused]) -> None:
            if not future.cancelled() and future.exception() is None:
                self._tell(ledger, places, future.result())

        recorded.add_done_callback(tell)
        return recorded

    def _tell(self, ledger: Ledger, places: Sequence[Waiting], refused: Refused) -> None:
        """Tells what the store took; what it refused is logged."""
        if refused:
            _leave_out(ledger, refused)
        self.done(places, ledger.again)
        for event in ledger.events:
            self.bus.publish(event)


def _leave_out(ledger: Ledger, refused: Refused) -> None:
    """Takes out of the ledger what the store did not take."""
    gone, told = set(), []
    for settlement, event in zip(ledger.settlements, ledger.events, strict=True):
        if why := refused.get(settlement.key):
            gone.add((settlement.message, settlement.index))
            log.warning("message %s to %s: %r is not recorded: %s",
                        event.message, event.recipient, event.event, why)  # fmt: skip
        else:
            told.append(event)
    ledger.events, ledger.again = told, [one for one in ledger.again if one.key not in gone]
