"""Delivery: from recipients that are due to connections that carry them, and back to the settler.

1. `place` finds where a recipient's mail goes and puts it into the lanes (routing is remembered for a while).
2. `_serve` wakes idle connections of the outlet, and opens new ones while more is ready than hands are free.
3. A connection asks `next_job` at every message boundary; lanes and gates decide.
4. `finished` gives the outcomes to the settler; what was not touched goes back into its lane.
5. When no host of a site can be used, the gate's breaker opens and all that waits there is deferred.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Protocol

from relay.core.lanes import LaneRules, Lanes, Outlet
from relay.core.limits import Gate
from relay.core.outcome import Outcome, Phase, Trouble, Verdict, judge
from relay.core.waiting import Waiting
from relay.deliver.connection import Connection, Peer
from relay.deliver.contact import Contact
from relay.deliver.job import Job, make_job
from relay.deliver.outlets import Gates, Links, OutletKey, Terms
from relay.deliver.recent import Recent
from relay.deliver.resolve import Route
from relay.deliver.routing import Routing
from relay.deliver.settle import Attempt, Settler
from relay.deliver.sources import in_turn
from relay.policy.model import Policy, Source
from relay.queue.store import StoreBusy, Stored
from relay.smtp.happenings import Result

log = logging.getLogger("relay.deliver")

EXPIRY_GRACE_S = 60.0  # a message at its expiry still gets its last attempt
SWEEP_S = 30.0
PAUSED = "not tried: {reason}; this destination is left alone until it may be tried again"


class Loading(Protocol):
    """What is needed of the store."""

    async def load(self, message: str) -> Stored | None: ...


class Dispatcher:
    """The feed of all connections. `left` hears how many of a stream's due recipients got under way;
    `make_contact` knows how to connect (service wires it)."""

    def __init__(
        self, store: Loading, routing: Routing, settler: Settler, recent: Recent, *,
        policy: Callable[[], Policy], make_contact: Callable[[Source, Route, Terms, Dispatcher], Contact],
        left: Callable[[str, int], None], clock: Callable[[], float], connections: int,
    ) -> None:  # fmt: skip
        self.store, self.routing, self.settler, self.recent = store, routing, settler, recent
        self.policy, self.make_contact, self.left, self.clock = policy, make_contact, left, clock
        self.connections = connections
        self.lanes = Lanes({})
        self.gates = Gates()
        self.links: dict[OutletKey, Links] = {}
        self.open = 0
        self.draining = False
        self.jobs: set[Job] = set()
        self._gate_of: dict[Connection, tuple[Gate, OutletKey]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._later: dict[OutletKey, asyncio.TimerHandle] = {}
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
        self.routing.find(waiting, self._routed, self._unroutable)

    def _routed(self, waiting: Waiting, route: Route) -> None:
        stream = self.policy().streams.get(waiting.stream)
        pool = stream.pool if stream else next(iter(self.policy().pools))
        outlet = self.lanes.push(waiting, pool, route.site)
        links = self.links.get((pool, route.site))
        if links is None:
            links = self.links[(pool, route.site)] = Links(route)
        links.route = route
        self._serve(outlet, links)

    def _unroutable(self, places: Sequence[Waiting], outcome: Outcome) -> None:
        self.left(places[0].stream, len(places))
        self._spawn(self._settle_unloaded(places, outcome, ""), "settle unroutable mail")

    # Connections

    def _serve(self, outlet: Outlet, links: Links) -> None:
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
        again = float("inf")
        for source in in_turn(pool, outlet.site) if pool else ():
            gate = self.gates.gate(source, terms)
            reason, until = gate.why_not_connect(now)
            if not reason:
                self._connect(outlet, links, source, gate, terms)
                return True
            if reason == "destination_paused" and not links.all and not links.opening:
                self._pause(outlet, gate, terms)
                return False
            again = min(again, until)
        self._serve_later((outlet.pool, outlet.site), again)
        return False

    def _connect(self, outlet: Outlet, links: Links, source: Source, gate: Gate, terms: Terms) -> None:
        gate.open += 1
        gate.connects.take(self.clock())
        self.open += 1
        links.opening += 1
        key = (outlet.pool, outlet.site)
        contact = self.make_contact(source, links.route, terms, self)
        self._spawn(self._make(contact, key, links, gate, terms), f"connect to {outlet.site}")

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
            self._unreachable(key, links, gate, terms, found)
            return
        gate.breaker.succeed()
        links.all.add(found)
        self._gate_of[found] = (gate, key)
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
        self._spawn(self._settle_unloaded(places, outcome, terms.provider), "defer mail of a site")

    async def _settle_unloaded(self, places: Sequence[Waiting], outcome: Outcome, provider: str) -> None:
        """Settles places whose messages were not loaded, message by message."""
        now = self.clock()
        attempt = Attempt(now, now, provider=provider)
        by_message: dict[str, list[Waiting]] = {}
        for waiting in places:
            by_message.setdefault(waiting.message, []).append(waiting)
        for message, waiting_here in by_message.items():
            stored = self.recent.get(message) or await self._load(message)
            still = [waiting for waiting in waiting_here if stored and waiting.nth in stored.recipients]
            if stored and still:
                self.settler.settle(stored, still, [outcome] * len(still), attempt)
            gone = [waiting for waiting in waiting_here if waiting not in still]
            self.settler.done(gone, [])
            self.recent.forget(message)

    # Feed: what connections ask and tell

    def next_job(self, connection: Connection) -> Job | None:
        """The next message for this connection, if lanes and gate allow one."""
        gate, key = self._gate_of[connection]
        outlet = self.lanes.outlets.get(key)
        now = self.clock()
        self._free_slot(connection, gate)
        most = gate.rates.messages_per_connection
        if self.draining or (most and connection.begun >= most) or gate.open > gate.most:
            asyncio.get_running_loop().call_soon(connection.quit)
            return None
        if outlet is None or not outlet.ready:
            return None
        if (ready_at := gate.messages.ready_at(now)) > now:
            self._serve_later(key, ready_at)
            return None
        taken = self.lanes.take(outlet, lambda stream: self.lanes.may_take(stream, gate.busy, gate.most))
        return self._start(connection, gate, taken, now) if taken else None

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
        self._spawn(self._load_for(connection, taken), "load a message")
        return None

    async def _load_for(self, connection: Connection, taken: list[Waiting]) -> None:
        stored = await self._load(taken[0].message)
        job = make_job(stored, taken, self.clock()) if stored else None
        gone = [waiting for waiting in taken if job is None or waiting not in job.waiting]
        self.settler.done(gone, [])
        if job is not None:
            self.jobs.add(job)
        if not connection.offer(job) and job is not None:
            self.jobs.discard(job)
            self._back(job.waiting)

    async def _load(self, message: str) -> Stored | None:
        while True:
            try:
                return await self.store.load(message)
            except StoreBusy as error:
                log.warning("message %s could not be read, again in 1 s: %s", message, error)
                await asyncio.sleep(1)

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
            attempt = Attempt(job.begun_at, now, peer, connection.tls_version, peer.provider)
            self.settler.settle(job.stored, places, outcomes, attempt, dsn_passed_on=result.dsn_passed_on)
        if any(outcome.verdict is Verdict.DELIVERED for outcome in outcomes):
            self._gate_of[connection][0].worked()

    def closed(self, connection: Connection, outcome: Outcome | None) -> None:
        """The connection is gone: its slot is free for another."""
        gate, key = self._gate_of.pop(connection)
        self._free_slot(connection, gate)
        gate.open -= 1
        self.open -= 1
        links = self.links[key]
        links.all.discard(connection)
        outlet = self.lanes.outlets.get(key)
        if outlet is not None and outlet.ready:
            self._serve(outlet, links)

    def _free_slot(self, connection: Connection, gate: Gate) -> None:
        if connection.stream:
            gate.end(connection.stream)
            connection.stream = ""

    def _back(self, places: Sequence[Waiting]) -> None:
        for waiting in places:
            self.left(waiting.stream, -1)
            self.place(waiting)

    # Housekeeping

    def _serve_later(self, key: OutletKey, when: float) -> None:
        """Looks at an outlet again when a rate allows it; one timer an outlet."""
        if when == float("inf") or key in self._later:
            return
        loop = asyncio.get_running_loop()
        self._later[key] = loop.call_later(max(0.001, when - self.clock()), self._serve_again, key)

    def _serve_again(self, key: OutletKey) -> None:
        self._later.pop(key, None)
        outlet, links = self.lanes.outlets.get(key), self.links.get(key)
        if outlet is not None and links is not None and outlet.ready:
            self._serve(outlet, links)

    async def sweep_for_ever(self) -> None:
        """Ends what expired without ever getting a slot, and forgets what is empty."""
        while True:
            await asyncio.sleep(SWEEP_S)
            self.sweep()

    def sweep(self) -> None:
        """One round of it; also serves every outlet, so that none depends on a wake-up that was missed."""
        now = self.clock()
        streams = self.policy().streams

        def expired(waiting: Waiting) -> bool:
            stream = streams.get(waiting.stream)
            return stream is not None and stream.retry.expired(
                now=now - EXPIRY_GRACE_S, received_at=waiting.received_at
            )

        for waiting in self.lanes.sweep(expired):
            self._unroutable([waiting], judge(Trouble.EXPIRED, Phase.CONNECT))
        for key, links in list(self.links.items()):
            outlet = self.lanes.outlets.get(key)
            if outlet is not None:
                self._serve(outlet, links)
            elif not links.all and not links.opening:
                del self.links[key]
        self.gates.sweep(now)

    def waiting(self) -> dict[tuple[str, str], int]:
        """Due recipients by stream and the limit they wait for."""
        found: dict[tuple[str, str], int] = {}
        for outlet in self.lanes:
            reason = self._why(outlet)
            for stream, lane in outlet.lanes.items():
                if lane:
                    found[(stream, reason)] = found.get((stream, reason), 0) + len(lane)
        return found

    def _why(self, outlet: Outlet) -> str:
        links, pool = self.links.get((outlet.pool, outlet.site)), self.policy().pools.get(outlet.pool)
        if links is None or pool is None:
            return "no_source"
        now, terms = self.clock(), self.routing.terms(links.route)
        for source in in_turn(pool, outlet.site):
            gate = self.gates.gate(source, terms)
            if gate.messages.ready_at(now) > now:
                return "message_rate"
            if reason := gate.why_not_connect(now)[0]:
                return reason
        return "turn"

    def empty_lanes(self) -> list[Waiting]:
        """Takes everything out that is not under way, because the store was changed by an operator."""
        taken = [waiting for outlet in self.lanes for waiting in self.lanes.drain(outlet)]
        for waiting in taken:
            self.left(waiting.stream, 1)
        return taken

    async def drain(self, within_s: float) -> int:
        """Starts nothing new, lets what is under way finish; returns how many deliveries were cut off."""
        self.draining = True
        end = self.clock() + within_s
        for connection in list(self._gate_of):
            connection.quit()
        while (self._gate_of or self.settler.tasks) and self.clock() < end:
            await asyncio.sleep(0.05)
        left = len(self.jobs)
        for connection in list(self._gate_of):
            connection.abort()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.settler.wait()
        return left

    def _spawn(self, work: asyncio._CoroutineLike[None], name: str) -> None:
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def tried(self, peer: Peer, outcome: Outcome) -> None:
        """One host of a cycle failed; the next is tried."""
        log.info("%s [%s] from %s: %s", peer.mx, peer.address, peer.source, outcome.text or outcome.reply)
