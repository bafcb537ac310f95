"""Delivery: from recipients that are due to connections that carry them, and back to the settler.

1. `place` finds where a recipient's mail goes and puts it into the lanes (routing is remembered for a while).
2. The connector finds hands for what is ready.
3. A connection asks `next_job` at every message boundary; lanes and gates decide.
4. `finished` gives the outcomes to the settler; what was not touched goes back into its lane.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from relay.core.gate import too_much
from relay.core.lanes import LaneRules, Lanes
from relay.core.outcome import Outcome, Trouble, Verdict
from relay.core.slots import Step
from relay.core.waiting import Waiting
from relay.deliver.actions import Actions
from relay.deliver.connection import Connection
from relay.deliver.connector import Connector
from relay.deliver.contact import Contact
from relay.deliver.feed import Peer
from relay.deliver.job import Job, make_job
from relay.deliver.loading import Loader
from relay.deliver.outlets import Terms
from relay.deliver.parking import Parking
from relay.deliver.resolve import Route
from relay.deliver.restraint import UNRESTRAINED, Restraint
from relay.deliver.routing import Routing
from relay.deliver.settle import Attempt
from relay.deliver.tasks import Tasks
from relay.policy.model import Policy, Source
from relay.queue.store import Refused
from relay.queue.underway import UnderWay
from relay.smtp.happenings import Result


class Dispatcher:
    """The feed of all connections. `left` hears how many of a stream's due recipients got under way;
    `make_contact` knows how to connect (service wires it); `again` has a stream's queue read anew."""

    def __init__(
        self, routing: Routing, loader: Loader, *,
        policy: Callable[[], Policy], make_contact: Callable[[Source, Route, Terms, Dispatcher], Contact],
        left: Callable[[str, int], None], clock: Callable[[], float], connections: int,
        actions: Actions, again: Callable[[str], None],
        restraint: Restraint = UNRESTRAINED, journal: UnderWay | None = None,
    ) -> None:  # fmt: skip
        self.restraint = restraint
        self.journal = journal or UnderWay(None)
        self.routing, self.loader, self.settler, self.recent = routing, loader, loader.settler, loader.recent
        self.policy, self.left, self.clock = policy, left, clock
        self.lanes, self.actions = Lanes({}), actions
        self.parking = Parking(self, actions, again)
        self.connector = Connector(
            self.lanes, routing, policy=policy, settle=self._settle, clock=clock, connections=connections,
            make_contact=lambda source, route, terms: make_contact(source, route, terms, self),
            heard=actions, park=self.parking.park, restraint=restraint,
        )  # fmt: skip
        self.jobs: set[Job] = set()
        self.tasks = Tasks()
        self.take_policy()

    def take_policy(self) -> None:
        """Takes the rules of now: mail that waits goes by its stream's pool of now, connections under rules
        that are gone end with their message."""
        policy = self.policy()
        self.lanes.rules = {
            name: LaneRules(stream.priority, stream.weight, stream.reserve)
            for name, stream in policy.streams.items()
        }
        self.connector.renew()
        for outlet in self.lanes:
            if any(lane and self._pool(name) != outlet.pool for name, lane in outlet.lanes.items()):
                for waiting in self.lanes.drain(outlet):
                    self.place(waiting)
            self.connector.serve_again((outlet.pool, outlet.site))

    def _pool(self, stream: str) -> str:
        found = self.policy().streams.get(stream)
        return found.pool if found else next(iter(self.policy().pools))

    # From the pager

    def place(self, waiting: Waiting) -> None:
        """One recipient is due: into its lane, or deferred or failed if there is no way."""
        self.routing.find(waiting, self._routed, self.unroutable)

    def _routed(self, waiting: Waiting, route: Route) -> None:
        if self.parking.takes(waiting, route):
            return
        pool = self._pool(waiting.stream)
        self.connector.reach(self.lanes.push(waiting, pool, route.site), route)

    def unroutable(self, places: Sequence[Waiting], outcome: Outcome) -> None:
        """Settles recipients for which there is no way, or no time left."""
        self._settle(places, outcome, "")

    def _settle(self, places: Sequence[Waiting], outcome: Outcome, provider: str) -> None:
        for waiting in places:
            self.left(waiting.stream, 1)
        if not places:
            return
        self.tasks.spawn(self.loader.settle_unloaded(places, outcome, provider), "settle mail without an attempt")

    # Feed: what connections ask and tell

    def next_job(self, connection: Connection, *, behind: bool = False) -> Job | None:
        """The next message for this connection, if lanes and gate allow one."""
        hand, now = self.connector.hands[connection], self.clock()
        outlet = self.lanes.outlets.get(hand.slot.key)
        if behind and outlet is not None and outlet.ready and self.lanes.higher_waits(outlet, hand.slot.stream):
            return None  # a code does not wait for what the receiver thinks of a newsletter
        turn = self.connector.turn(connection, hand, now)
        if turn.step is not Step.TAKE:
            return None
        assert outlet is not None  # it has what is to be taken
        taken = self.lanes.take(outlet, turn.stream)
        self.connector.places.taken(outlet, turn.stream)
        return self._start(connection, taken, now)

    def _start(self, connection: Connection, taken: list[Waiting], now: float) -> Job | None:
        stream = taken[0].stream
        self.left(stream, len(taken))
        self.restraint.started(stream, connection.peer.source, connection.peer.provider, now)
        stored = self.recent.get(taken[0].message)
        if stored is not None and (job := make_job(stored, taken, now)):
            self.jobs.add(job)
            return job
        connection.loading = True
        self.tasks.spawn(self._load_for(connection, taken), "load a message")
        return None

    async def _load_for(self, connection: Connection, taken: list[Waiting]) -> None:
        stored = await self.loader.load(taken[0].message)
        job = make_job(stored, taken, self.clock()) if stored else None
        gone = [waiting for waiting in taken if job is None or waiting not in job.waiting]
        self.settler.done(gone, [])
        if job is not None:
            self.jobs.add(job)
        if not connection.offer(job) and job is not None:
            self.jobs.discard(job)
            job.end()
            for waiting in job.waiting:
                self._back(waiting)

    def sending(self, connection: Connection, job: Job) -> None:
        """The job's dot leaves: a kill from now on may leave it delivered and not recorded."""
        if not job.marks:
            job.marks = self.journal.sent(job.stored.message.id, [(one.nth, one.attempts) for one in job.waiting])

    def finished(self, connection: Connection, job: Job, result: Result) -> asyncio.Future[Refused] | None:
        """Outcomes go to the settler; recipients that were not touched go back into their lane."""
        self.jobs.discard(job)
        job.end()
        self.recent.forget(job.waiting[0].message)
        now, places, outcomes = self.clock(), list[Waiting](), list[Outcome]()
        for waiting, outcome in zip(job.waiting, result.outcomes, strict=True):
            if outcome.untouched:
                self._back(waiting)
            else:
                places.append(waiting)
                outcomes.append(outcome)
        if not places:
            self.journal.clear(job.marks)
            return None
        peer, passed_on = connection.peer, result.dsn_passed_on
        if not _all_delivered(outcomes):
            outcomes = self.actions.judge(peer, self._terms(connection), job.stream, outcomes)
        attempt = Attempt(job.begun_at, now, peer, connection.tls_version, peer.provider)
        taken = self._note(job, places, outcomes, passed_on=passed_on)
        recorded = self.settler.settle(job.stored, places, outcomes, attempt, dsn_passed_on=passed_on)
        recorded.add_done_callback(lambda _: self.journal.clear(job.marks))
        self._felt(connection, outcomes, now, taken=taken)
        return recorded if taken else None

    def _felt(self, connection: Connection, outcomes: Sequence[Outcome], now: float, *, taken: bool) -> None:
        """What the answers say of how much the other side bears; `taken`: of one message at least."""
        hand = self.connector.hands[connection]
        if taken:
            if self.actions.comebacks:
                self.actions.comebacks.taken(hand.source.name, hand.terms.counted)
            if hand.gate.worked():
                self.connector.at_gates.set(hand.gate, 0.0)
        elif any(map(too_much, outcomes)):
            hand.gate.deferred(now)

    def _note(
        self, job: Job, places: Sequence[Waiting], outcomes: Sequence[Outcome], *, passed_on: bool
    ) -> bool:
        """Says in the journal what the receiver took, and whether it took any. One whose report must be written first
        stays as sent: after a crash the report would be missing."""
        taken, sure = 0, []
        for one, outcome in zip(places, outcomes, strict=True):
            if outcome.verdict is Verdict.DELIVERED:
                taken += 1
                if passed_on or "SUCCESS" not in job.stored.recipients[one.nth].notify:
                    sure.append((one.nth, one.attempts))
        if sure and len(sure) >= taken:
            whole = len(sure) == len(job.waiting)
            job.marks = self.journal.taken(job.marks, job.stored.message.id, sure, all_of_it=whole)
        elif not taken and not any(outcome.trouble is Trouble.LOST_AFTER_DOT for outcome in outcomes):
            self.journal.clear(job.marks)
            job.marks = []
        return bool(taken)

    def _terms(self, connection: Connection) -> Terms:
        return self.routing.terms(self.connector.links[self.connector.hands[connection].key].route)

    def tried(self, terms: Terms, peer: Peer, outcome: Outcome) -> None:
        """One host of a cycle failed; the next is tried."""
        self.settler.tried(peer, outcome)
        self.actions.hear(peer, terms, outcome)

    def closed(self, connection: Connection, outcome: Outcome | None) -> None:
        """The connection is gone: its slot is free for another."""
        self.connector.gone(connection)

    def _back(self, waiting: Waiting) -> None:
        self.left(waiting.stream, -1)
        self.place(waiting)

    # Housekeeping

    def serve_all(self) -> None:
        """Something that kept mail back is over."""
        for key in list(self.connector.links):
            self.connector.serve_again(key)

    def empty_lanes(self) -> list[Waiting]:
        """Takes everything out that is not under way, because the store was changed by an operator."""
        taken = [waiting for outlet in self.lanes for waiting in self.lanes.drain(outlet)]
        for waiting in taken:
            self.left(waiting.stream, 1)
        return taken


def _all_delivered(outcomes: Sequence[Outcome]) -> bool:
    for outcome in outcomes:  # noqa: SIM110  a generator for each message costs more than it says
        if outcome.verdict is not Verdict.DELIVERED:
            return False
    return True
