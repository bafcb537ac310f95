"""One relay, wired: every part is made here and handed what it needs.

    listeners ─► intake ─► store ─► (stored) ─► pager ─► dispatcher ─► connections
                             ▲                              │
                             └────────── settler ◄──────────┘ ─► bus ─► metrics, event log
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import ssl
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from relay.config.model import Config
from relay.core.events import accepted_event
from relay.core.headers import Headers
from relay.core.message import Prepared
from relay.core.outcome import Outcome
from relay.core.waiting import Waiting
from relay.deliver.actions import Actions
from relay.deliver.contact import Contact
from relay.deliver.dispatcher import Dispatcher
from relay.deliver.drain import drain
from relay.deliver.loading import Loader
from relay.deliver.outlets import Terms
from relay.deliver.pager import Pager
from relay.deliver.recent import RECENT_BYTES, Recent
from relay.deliver.reports import Reporter
from relay.deliver.resolve import Resolver, Route
from relay.deliver.routing import FixedRoute, Routing
from relay.deliver.sandbox import Sandbox
from relay.deliver.settle import LAST_RESORT, Settler
from relay.deliver.shaping import Shaping
from relay.deliver.targets import TargetGuard
from relay.inbound.board import Board
from relay.observe.attempts import Attempts
from relay.observe.bus import Bus
from relay.observe.eventlog import EventLog
from relay.observe.metrics import Metrics
from relay.observe.objectives import Objectives
from relay.policy.model import Policy, Source
from relay.prepare.keys import KeyRing
from relay.prepare.signing import SigningDesk
from relay.queue.spool import Spool
from relay.queue.sqlite import SqliteStore
from relay.queue.takeover import Takeover
from relay.queue.underway import UnderWay
from relay.service.clock import Clock, OnWallTime, keep_reading, take_up
from relay.service.doors import Doors, OwnDoors
from relay.service.feedback import feedback_addresses, open_feedback
from relay.service.fronts import Counter, FrontDoors
from relay.service.gate import open_gate, save_counts, take_limits
from relay.service.inlet import RETURN_PATH_KEY, Inlet, Sockets, Ways
from relay.service.keyfile import secret_file
from relay.service.objectives import keep_objectives, promises, recall_objectives
from relay.service.recovery import recover
from relay.service.rules import Rules
from relay.service.settings import (
    SANDBOX,
    delivery_settings,
    fixed_terms,
    own_addresses,
    resolver_settings,
    tls_context,
)

log = logging.getLogger("relay")


class Relay:
    """All parts of the relay, or of its engine where fronts take the mail (then there is a `board`). `open` makes
    them, `listen` lets mail in, `close` ends in order."""

    def __init__(self, config: Config, rules: Rules, board: Board | None = None) -> None:
        self.config, self.rules = config, rules
        self.clock, self.bus = Clock(), Bus()
        self.started_at = self.clock()
        self.keys = KeyRing(config.data / "dkim")
        self.desk = SigningDesk()
        self.board = board
        self.doors: Doors | None = None
        self.recent = Recent(RECENT_BYTES)
        self.sandbox: Sandbox | None = None
        self.stopping = False
        self.journal: UnderWay | None = None
        self._opened = contextlib.AsyncExitStack()
        self._metrics_and_log()

    def _metrics_and_log(self) -> None:
        config = self.config
        self.metrics = Metrics()
        self.objectives = Objectives(promises(self.rules.policy))
        self.event_log = EventLog(config.events_dir, node=config.hostname, keep_days=config.events.keep_days)
        self.bus.subscribe(self.metrics.on_event)
        self.bus.subscribe(self.objectives.on_event)
        self.attempts = Attempts()
        self.bus.subscribe(self.event_log.on_event)
        self.bus.subscribe(self.attempts.on_event)

    def policy(self) -> Policy:
        """The policy as it is now."""
        return self.rules.policy

    async def open(self) -> None:
        """Opens the queue and makes everything that delivers; raises StoreBroken, OSError."""
        config = self.config
        self.store = await SqliteStore.open(
            config.queue_file, Spool(config.data / "spool", "engine" if self.board else ""),
            stored=self._stored, committed=self.metrics.committed, clock=self.clock, onto=self.clock.queued,
        )  # fmt: skip
        self._opened.push_async_callback(self._close_store)
        self.taken = await take_up(self.clock, self.store)
        self._opened.push_async_callback(keep_reading, self.clock, self.store)
        self.journal, self.recovered = await recover(
            config.data / "underway", self.store, policy=self.policy(), publish=self.bus.publish, now=time.time()
        )
        await recall_objectives(self.objectives, self.store, time.time())
        self._opened.push_async_callback(self._keep_objectives)
        port = await self._start_sandbox()
        self.delivery = delivery_settings(config, port)
        self._make_delivery()
        self._opened.push_async_callback(self.shaping.close)
        await self.actions.restore()
        await self.shaping.restore()
        self.gate = await open_gate(
            config, self.rules.credentials, self.store, self.keys, policy=self.policy, publish=self.bus.publish
        )
        self._opened.push_async_callback(save_counts, self.gate, self.store)
        verp_key = secret_file(config.data / RETURN_PATH_KEY)
        self.feedback = await open_feedback(config, verp_key, self.store, self.routing, self.bus.publish)

    async def _start_sandbox(self) -> int:
        if self.config.delivery.mode != SANDBOX:
            return 0
        self.sandbox = Sandbox(self.config.data / "sandbox", dns_txt=self.keys.record_of)
        self._opened.push_async_callback(self.sandbox.close)
        return await self.sandbox.start()

    def _make_delivery(self) -> None:
        config, settings, clock = self.config, self.delivery, self.clock
        bus = OnWallTime(self.bus, clock)
        self.resolver = Resolver(resolver_settings(config, own_addresses(config)))
        self._opened.push_async_callback(self.resolver.close)
        self.guard = TargetGuard(tuple(str(network) for network in config.delivery.allow_targets))
        self.context = tls_context(config)
        self.routing = Routing(
            FixedRoute(self._fixed_route) if settings.fixed else self.resolver,
            policy=self.policy, clock=clock, fixed=fixed_terms(config, settings),
        )  # fmt: skip
        self.reporter = Reporter(
            config.hostname, self.store.put, clock=time.time, expires=self._expires, sign=self._sign_report
        )
        self.settler = Settler(
            self.store, bus, self.reporter, policy=self.policy, clock=clock,
            chance=random.random, done=self._settled,
        )  # fmt: skip
        self.shaping = Shaping(
            self.store, bus, policy=self.policy, clock=clock, changed=self.reread_queue,
            wake=lambda: self.dispatcher.serve_all(),  # noqa: PLW0108 - it is made later
        )  # fmt: skip
        self.actions = Actions(self.store, policy=self.policy, publish=bus.publish, clock=clock)
        self.shaping.left_alone = self.actions.comebacks.left_alone
        self.dispatcher = Dispatcher(
            self.routing, Loader(self.store, self.recent, self.settler, clock), policy=self.policy,
            make_contact=self._contact, left=self._left, clock=clock, connections=settings.connections,
            restraint=self.shaping, actions=self.actions, journal=self.journal,
            again=lambda stream: self.pager.reread(stream),  # noqa: PLW0108 (made below)
        )  # fmt: skip
        self.pager = Pager(self.store, most=settings.backlog, clock=clock, place=self.dispatcher.place)

    async def listen(self, sockets: Sockets, ended: asyncio.Event) -> None:
        """Lets mail in through bound sockets, here or at the fronts that hold them too; does not wait for them any
        longer when the relay is told to stop. Raises OSError."""
        self.doors = self._own_doors(sockets) if self.board is None else self._front_doors(self.board, sockets)
        await self.doors.open(ended)

    def _own_doors(self, sockets: Sockets) -> Doors:
        ways = Ways(
            self.gate, self.store.put_soon, self.bus.publish, self.store.spool, self.feedback, self.shaping.held_by
        )
        inlet = Inlet(self.config, self.rules, ways, policy=self.policy, keys=self.keys, desk=self.desk)
        return OwnDoors(inlet, sockets, self.metrics)

    def _front_doors(self, board: Board, sockets: Sockets) -> Doors:
        self.gate.crowd = board.under_way
        counter = Counter(
            gate=self.gate, policy=self.policy, held_by=self.shaping.held_by,
            put_soon=self.store.put_soon, publish=self.bus.publish, report=self.feedback.accept,
        )  # fmt: skip
        takeover = Takeover(counter, self.store.spool, mark=self.rules.mark, files=self.rules.files)
        return FrontDoors(takeover, board, sockets, path=self.config.handoff_socket, metrics=self.metrics)

    def take(self, config: Config, rules: Rules, contexts: dict[str, ssl.SSLContext | None]) -> None:
        """Replaces policy, credentials, keys, certificates and the listeners' settings in one step; mail
        already queued follows the new rules from its next attempt, sessions that live keep their settings.
        `config` has what only a restart changes as it was (relay/service/changes.py)."""
        self.config, self.rules = config, rules
        self.keys.refresh()
        self.feedback.addresses = feedback_addresses(config)
        take_limits(self.gate, config, rules.credentials)
        self.objectives.take(promises(rules.policy))
        self.shaping.take_policy()
        self.dispatcher.take_policy()
        if self.doors is not None:
            self.doors.take(config, rules, contexts)

    async def stop(self, within_s: float) -> None:
        """Lets nobody in, finishes what is under way within the time, closes. Nothing accepted is lost:
        what is not delivered is in the queue."""
        self.stopping = True
        # at once: a client that is slow to finish must not use up the time of deliveries under way
        doors = [self.doors.drain(within_s)] if self.doors is not None else []
        cut, *_ = await asyncio.gather(drain(self.dispatcher, within_s), *doors)
        if cut:
            log.warning("%d deliveries were cut off; they are in the queue and will be tried again", cut)
        await self.close()

    async def close(self) -> None:
        """Closes everything that was opened, in the order in which mail flows; also after a failed start."""
        if self.doors is not None:
            await self.doors.close()
        self.desk.close()
        await self._opened.aclose()
        self.event_log.close()

    async def _close_store(self) -> None:
        await self.store.close()
        if self.journal is not None:
            self.journal.close()

    async def _keep_objectives(self) -> None:
        await keep_objectives(self.objectives, self.store, time.time())

    def reread_queue(self) -> None:
        """The store was changed by an operator: what is not under way is read from it anew."""
        self.recent.clear()
        for waiting in self.dispatcher.empty_lanes():
            self.pager.backlog(waiting.stream).finished(waiting)
        self.pager.restart()

    # What the parts tell each other

    def _stored(self, message: Prepared, places: Sequence[Waiting]) -> None:
        """A message is on stable storage: told once, and under way at once."""
        self.bus.publish(accepted_event(message, time.time()))
        if self.sandbox is not None:
            self.sandbox.note(message.id, message.stream, self.clock.wall(message.starts_at))
        if not message.held:
            if message.due_at <= message.received_at:
                self.recent.add(message)
            self.pager.stored(places)

    def _settled(self, finished: Sequence[Waiting], again: Sequence[Waiting]) -> None:
        for waiting in finished:
            self.pager.backlog(waiting.stream).finished(waiting)
        for waiting in again:
            self.pager.backlog(waiting.stream).add(waiting)

    def _left(self, stream: str, count: int) -> None:
        self.pager.backlog(stream).left(count)

    def _contact(self, source: Source, route: Route, terms: Terms, feed: Dispatcher) -> Contact:
        return Contact(
            source, route, terms.provider, terms.starttls, self.delivery, self.guard, self.context, feed,
            partial(feed.tried, terms),
        )  # fmt: skip

    async def _fixed_route(self) -> Route | Outcome:
        assert self.delivery.fixed is not None
        return await self.resolver.fixed_route(*self.delivery.fixed)

    async def _sign_report(self, message: Prepared) -> Prepared:
        stream = self.policy().streams.get(message.stream)
        headers = Headers.parse(message.content.header)
        signers = self.keys.signers(stream.signings if stream else (), self.config.hostname)
        return replace(message, content=await self.desk.sign(message.content, headers, signers))

    def _expires(self, message: Prepared) -> float:
        stream = self.policy().streams.get(message.stream)
        return message.received_at + (stream.retry if stream else LAST_RESORT).expire_s
