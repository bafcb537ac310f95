"""Delivery: from recipients that are due to connections that carry them, and back to the settler.

1. `place` finds where a recipient's mail goes and puts it into the lanes (routing is remembered for a while).
2. `_serve` wakes idle connections of the outlet, and opens new ones while more is ready than hands are free.
3. A connection asks `next_job` at every message boundary; lanes and gates decide.
4. `finished` gives the outcomes to the settler; what was not touched goes back into its lane.
5. When no host of a site can be used, the gate's breaker opens and all that waits there is deferred.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from relay.core.lanes import LaneRules, Lanes, Outlet
from relay.core.limits import Gate
from relay.core.outcome import Outcome, Phase, Trouble, Verdict, judge
from relay.core.waiting import Waiting
from relay.deliver.actions import Actions
from relay.deliver.connection import Connection, Peer
from relay.deliver.contact import Contact
from relay.deliver.job import Job, make_job
from relay.deliver.loading import Loader
from relay.deliver.outlets import Gates, Links, OutletKey, Terms
from relay.deliver.parking import Parking
from relay.deliver.resolve import Route
from relay.deliver.routing import Routing
from relay.deliver.settle import Attempt
from relay.deliver.sources import in_turn
from relay.deliver.tasks import Reminders, Tasks
from relay.policy.model import Policy, Source
from relay.smtp.happenings import Result

PAUSED = "not tried: {reason}; this destination is left alone until it may be tried again"


class Dispatcher:
    """The feed of all connections. `left` hears how many of a stream's due recipients got under way;
    `make_contact` knows how to connect (service wires it); `again` has a stream's queue read anew."""

    def __init__(
        self, routing: Routing, loader: Loader, *,
        policy: Callable[[], Policy], make_contact: Callable[[Source, Route, Terms, Dispatcher], Contact],
        left: Callable[[str, int], None], clock: Callable[[], float], connections: int,
        actions: Actions, again: Callable[[str], None],
    ) -> None:  # fmt: skip
        self.routing, self.loader, self.settler, self.recent = routing, loader, loader.settler, loader.recent
        self.policy, self.make_contact, self.left, self.clock = policy, make_contact, left, clock
        self.connections, self.lanes = connections, Lanes({})
        self.actions, self.gates = actions, Gates(actions.rates)
        self.links: dict[OutletKey, Links] = {}
        self.open = 0
        self.draining = False
        self.jobs: set[Job] = set()
        self.gate_of: dict[Connection, tuple[Gate, OutletKey]] = {}
        self.tasks = Tasks()
        self._touched: dict[OutletKey, None] = {}
        self.one_closed = asyncio.Event()
        self.reminders = Reminders(self.serve_again)
        self.parking = Parking(self, actions, again)
        self.take_policy()

    def take_policy(self) -> None:
        """Reads priorities, weights and reserves anew; limits are read at every use."""
        self.lanes.rules = {
            name: LaneRules(stream.priority, stream.weight, stream.reserve)
            for name, stream in self.policy().streams.items()
        }

    # From the pager

    def place(self, waiting: Waiting) -> None:
        """One recipient is due: into its lane, or deferred or failed if there is no way."""
        self.routing.find(waiting, self._routed, self.unroutable)

    def _routed(self, waiting: Waiting, route: Route) -> None:
        stream = self.policy().streams.get(waiting.stream)
        pool = stream.pool if stream else next(iter(self.policy().pools))
        if self.parking.takes(waiting, route):
            return
        self.lanes.push(waiting, pool, route.site)
        links = self.links.get((pool, route.site))
        if links is None:
            links = self.links[(pool, route.site)] = Links(route)
        links.route = route
        if not self._touched:  # served once for all that is placed in this turn: recipients of one message
            asyncio.get_running_loop().call_soon(self._serve_touched)  # share a transaction
        self._touched[(pool, route.site)] = None

    def _serve_touched(self) -> None:
        touched, self._touched = self._touched, {}
        for key in touched:
            self.serve_again(key)

    def unroutable(self, places: Sequence[Waiting], outcome: Outcome) -> None:
        """Settles recipients of one stream for which there is no way, or no time left."""
        self.left(places[0].stream, len(places))
        self.tasks.spawn(self.loader.settle_unloaded(places, outcome, ""), "settle unroutable mail")

    # Connections

    def serve(self, outlet: Outlet, links: Links) -> None:
        """Finds hands for what is ready in an outlet."""
        if self.draining:
            return
        for connection in links.idle():
            if not outlet.ready:
                return
            connection.wake()
        free = links.opening + sum(connection.loading for connection in links.all)
        while outlet.ready > free and self._open_one(outlet, links):
            free += 1

    def _open_one(self, outlet: Outlet, links: Links) -> bool:
        """Opens one more connection for the outlet, if some source may."""
        now, terms = self.clock(), self.routing.terms(links.route)
        if self.open >= self.connections:
            return False
        pool = self.policy().pools.get(outlet.pool)
        again, paused = float("inf"), True
        for source in in_turn(pool, outlet.site) if pool else ():
            if pause := self.actions.source_pause(source.name, terms.counted):
                again = min(again, pause.until)
                continue
            paused = False
            gate = self.gates.gate(source, terms)
            reason, until = gate.why_not_connect(now)
            if not reason:
                self._connect(outlet, links, source, gate, terms)
                return True
            if reason == "destination_paused" and not links.all and not links.opening:
                self._pause(outlet, gate, terms)
                return False
            again = min(again, until)
        if paused and pool:
            self.parking.park(self.lanes.drain(outlet))
        self.reminders.set((outlet.pool, outlet.site), again - now)
        return False

    def _connect(self, outlet: Outlet, links: Links, source: Source, gate: Gate, terms: Terms) -> None:
        gate.open += 1
        gate.connects.take(self.clock())
        self.open += 1
        links.opening += 1
        key = (outlet.pool, outlet.site)
        contact = self.make_contact(source, links.route, terms, self)
        self.tasks.spawn(self._make(contact, key, links, gate, terms), f"connect to {outlet.site}")

    async def _make(self, contact: Contact, key: OutletKey, links: Links, gate: Gate, terms: Terms) -> None:
        found: Connection | Outcome = judge(Trouble.OURS, Phase.CONNECT)
        try:
            found = await contact.make()
        finally:
            links.opening -= 1
            if isinstance(found, Outcome):
                gate.open -= 1
                self.open -= 1
        if isinstance(found, Outcome):
            if self.actions.source_pause(contact.source.name, terms.counted):
                self.serve_again(key)  # another source may; the words that paused this one say nothing of the mail
            else:
                self._unreachable(key, links, gate, terms, found)
            return
        gate.breaker.succeed()
        links.all.add(found)
        self.gate_of[found] = (gate, key)
        found.wake()

    def _unreachable(self, key: OutletKey, links: Links, gate: Gate, terms: Terms, outcome: Outcome) -> None:
        """A cycle over all hosts failed. If others work, they refuse more, not us."""
        if links.all:
            gate.refused_more()
            return
        gate.breaker.fail(self.clock(), outcome.text or str(outcome.reply or outcome.phase.value))
        outlet = self.lanes.outlets.get(key)
        if outlet is not None and outlet.ready:
            self._defer_all(outlet, outcome, terms)

    def _pause(self, outlet: Outlet, gate: Gate, terms: Terms) -> None:
        text = PAUSED.format(reason=gate.breaker.reason)
        self._defer_all(outlet, judge(Trouble.CONNECT_FAILED, Phase.CONNECT, text), terms)

    def _defer_all(self, outlet: Outlet, outcome: Outcome, terms: Terms) -> None:
        places = self.lanes.drain(outlet)
        for waiting in places:
            self.left(waiting.stream, 1)
        self.tasks.spawn(self.loader.settle_unloaded(places, outcome, terms.provider), "defer mail of a site")

    # Feed: what connections ask and tell

    def next_job(self, connection: Connection) -> Job | None:
        """The next message for this connection, if lanes and gate allow one."""
        gate, key = self.gate_of[connection]
        outlet = self.lanes.outlets.get(key)
        now = self.clock()
        self._free_slot(connection, gate)
        most = gate.rates.messages_per_connection
        if self.draining or (most and connection.begun >= most) or gate.open > gate.most or self._is_paused(connection):
            asyncio.get_running_loop().call_soon(connection.quit)
            return None
        if outlet is None or not outlet.ready:
            return None
        if (ready_at := gate.messages.ready_at(now)) > now:
            self.reminders.set(key, ready_at - now)
            return None
        taken = self.lanes.take(outlet, lambda stream: self.lanes.may_take(stream, gate.busy, gate.most))
        return self._start(connection, gate, taken, now) if taken else None

    def _is_paused(self, connection: Connection) -> bool:
        if not self.actions.ledger.limits:
            return False
        return bool(self.actions.source_pause(connection.peer.source, self._terms(connection).counted))

    def _terms(self, connection: Connection) -> Terms:
        return self.routing.terms(self.links[self.gate_of[connection][1]].route)

    def _start(self, connection: Connection, gate: Gate, taken: list[Waiting], now: float) -> Job | None:
        stream = taken[0].stream
        self.left(stream, len(taken))
        connection.stream = stream
        gate.start(stream, now)
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
            self._back(job.waiting)

    def finished(self, connection: Connection, job: Job, result: Result) -> None:
        """Outcomes go to the settler; recipients that were not touched go back into their lane."""
        self.jobs.discard(job)
        self.recent.forget(job.waiting[0].message)
        now = self.clock()
        untouched = [outcome.untouched for outcome in result.outcomes]
        self._back([waiting for waiting, skip in zip(job.waiting, untouched, strict=True) if skip])
        places = [waiting for waiting, skip in zip(job.waiting, untouched, strict=True) if not skip]
        outcomes = [outcome for outcome, skip in zip(result.outcomes, untouched, strict=True) if not skip]
        if places:
            peer = connection.peer
            if not all(outcome.verdict is Verdict.DELIVERED for outcome in outcomes):
                outcomes = self.actions.judge(peer, self._terms(connection), job.stream, outcomes)
            attempt = Attempt(job.begun_at, now, peer, connection.tls_version, peer.provider)
            self.settler.settle(job.stored, places, outcomes, attempt, dsn_passed_on=result.dsn_passed_on)
        if any(outcome.verdict is Verdict.DELIVERED for outcome in outcomes):
            self.gate_of[connection][0].worked()

    def closed(self, connection: Connection, outcome: Outcome | None) -> None:
        """The connection is gone: its slot is free for another."""
        gate, key = self.gate_of.pop(connection)
        self._free_slot(connection, gate)
        gate.open -= 1
        self.open -= 1
        self.one_closed.set()
        links = self.links[key]
        links.all.discard(connection)
        outlet = self.lanes.outlets.get(key)
        if outlet is not None and outlet.ready:
            self.serve(outlet, links)

    def _free_slot(self, connection: Connection, gate: Gate) -> None:
        if connection.stream:
            gate.end(connection.stream)
            connection.stream = ""

    def _back(self, places: Sequence[Waiting]) -> None:
        for waiting in places:
            self.left(waiting.stream, -1)
            self.place(waiting)

    def tried(self, terms: Terms, peer: Peer, outcome: Outcome) -> None:
        """One host of a cycle failed; the next is tried."""
        self.settler.tried(peer, outcome)
        self.actions.hear(peer, terms, outcome)

    # Housekeeping

    def serve_again(self, key: OutletKey) -> None:
        """There may be something to do in an outlet."""
        outlet, links = self.lanes.outlets.get(key), self.links.get(key)
        if outlet is not None and links is not None and outlet.ready:
            self.serve(outlet, links)

    def empty_lanes(self) -> list[Waiting]:
        """Takes everything out that is not under way, because the store was changed by an operator."""
        taken = [waiting for outlet in self.lanes for waiting in self.lanes.drain(outlet)]
        for waiting in taken:
            self.left(waiting.stream, 1)
        return taken
