"""A stage for delivery without sockets: a loop whose clock jumps, a receiver in memory, a queue in a dict."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any

from relay.core.content import Content, MemoryBody
from relay.core.envelope import Envelope, Recipient
from relay.core.events import Event
from relay.core.limits import Rates
from relay.core.message import Prepared
from relay.core.outcome import Outcome
from relay.core.retry import Retry
from relay.core.waiting import Mark, Part, Waiting
from relay.deliver.actions import Actions
from relay.deliver.connection import Connection
from relay.deliver.dispatcher import Dispatcher
from relay.deliver.drain import drain
from relay.deliver.feed import Feed, Peer
from relay.deliver.loading import Loader
from relay.deliver.outlets import Terms
from relay.deliver.pager import Pager
from relay.deliver.recent import Recent
from relay.deliver.reports import Reporter
from relay.deliver.resolve import Host, Route
from relay.deliver.routing import Routing
from relay.deliver.settle import Settler
from relay.observe.bus import Bus
from relay.policy.model import Limits, Policy, Pool, Provider, Source, Stream
from relay.queue.rows import places
from relay.queue.store import Refused, Settlement, Stored
from relay.smtp.client import Conversation, StartTls
from relay.smtp.timeouts import Timeouts

NOON = 1_795_000_000.0
EHLO = ["mx.example.net", "PIPELINING", "8BITMIME", "ENHANCEDSTATUSCODES"]


class JumpingLoop(asyncio.SelectorEventLoop):
    """Time stands still while anything can run, and jumps to the next timer when nothing can."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def time(self) -> float:
        return self.now

    def _run_once(self) -> None:
        waiting = [timer._when for timer in self._scheduled if not timer._cancelled]
        if not self._ready and waiting:
            self.now = max(self.now, min(waiting)) + 1e-6  # time never stands still where it is waited for
        super()._run_once()


def play(scenario: Coroutine[Any, Any, Any]) -> Any:
    """Runs a scenario in no time; whatever a task leaves unhandled is an error."""
    with asyncio.Runner(loop_factory=JumpingLoop) as runner:
        troubles: list[dict[str, Any]] = []
        runner.get_loop().set_exception_handler(lambda loop, context: troubles.append(context))
        result = runner.run(scenario)
    assert not troubles
    return result


class Wire(asyncio.Transport):
    """Our end of a connection in memory. `limit`: bytes written before the protocol is told to pause."""

    def __init__(self, receiver: Receiver, connection: Connection, *, limit: int | None = None) -> None:
        super().__init__()
        self.receiver, self.connection, self.limit = receiver, connection, limit
        self.loop = asyncio.get_running_loop()
        self.unsent = 0
        self.writes: list[bytes] = []
        self.gone = False
        connection.connection_made(self)
        self.loop.call_soon(receiver.greet, self)

    def write(self, data: bytes) -> None:
        if self.gone:
            return
        self.writes.append(bytes(data))
        self.unsent += len(data)
        if self.limit is not None and self.unsent > self.limit:
            self.connection.pause_writing()
        else:
            self.loop.call_soon(self.receiver.read, self, bytes(data))

    def flow(self) -> None:
        """The network takes what was held back."""
        self.unsent = 0
        self.connection.resume_writing()

    def say(self, data: bytes) -> None:
        if not self.gone:
            self.connection.data_received(data)

    def hang_up(self) -> None:
        if not self.gone:
            self.gone = True
            self.loop.call_soon(self.connection.connection_lost, None)

    close = abort = hang_up

    def is_closing(self) -> bool:
        return self.gone


class Receiver:
    """A mail server. `answers` replaces the reply to a verb: a text, a function of the line giving one, or
    None for silence from then on; "hang up" hangs up. It takes `slow_s` over
    each final dot. `taken` are the messages: (sender, recipients, bytes)."""

    def __init__(self, *, ehlo: Sequence[str] = EHLO, slow_s: float = 0.0, **answers: Any) -> None:
        self.slow_s = slow_s
        self._busy: set[Wire] = set()
        self.ehlo = list(ehlo)
        self.answers: dict[str, Any] = {"BANNER": "220 mx.example.net", "QUIT": "221 bye"} | answers
        self.taken: list[tuple[str, list[str], bytes]] = []
        self.wires: list[Wire] = []
        self.open_most = 0
        self.reads: list[bytes] = []
        self._left: dict[Wire, bytes] = {}
        self._in_data: set[Wire] = set()
        self._silent: set[Wire] = set()
        self._envelopes: dict[Wire, tuple[str, list[str]]] = {}

    @property
    def open(self) -> int:
        return sum(not wire.gone for wire in self.wires)

    def greet(self, wire: Wire) -> None:
        self.wires.append(wire)
        self.open_most = max(self.open_most, self.open)
        self._answer(wire, "BANNER", "", "")

    def read(self, wire: Wire, data: bytes) -> None:
        if wire.gone:
            return
        self.reads.append(data)
        self._left[wire] = self._left.get(wire, b"") + data
        while not wire.gone and wire not in self._busy and self._step(wire):
            pass

    def _step(self, wire: Wire) -> bool:
        left = self._left[wire]
        if wire in self._in_data:
            whole = b"\r\n" + left
            end = whole.find(b"\r\n.\r\n")
            if end < 0:
                return False
            self._left[wire] = whole[end + 5 :]
            self._in_data.discard(wire)
            if self.slow_s:
                self._busy.add(wire)
                wire.loop.call_later(self.slow_s, self._ended, wire, whole[2 : end + 2])
            else:
                self._ended(wire, whole[2 : end + 2])
            return True
        line, newline, rest = left.partition(b"\r\n")
        if not newline:
            return False
        self._left[wire] = rest
        self._command(wire, line.decode())
        return True

    def _ended(self, wire: Wire, body: bytes) -> None:
        sender, recipients = self._envelopes.pop(wire)
        if not wire.gone and self._answer(wire, "DOT", body.decode("latin-1"), "250 2.0.0 taken").startswith("2"):
            self.taken.append((sender, recipients, body))
        if wire in self._busy:
            self._busy.discard(wire)
            self.read(wire, b"")

    def _command(self, wire: Wire, line: str) -> None:
        verb = line.split(" ", 1)[0].upper()
        if verb == "EHLO":
            lines = [f"250{'-' if one != self.ehlo[-1] else ' '}{one}" for one in self.ehlo]
            self._answer(wire, verb, line, "\r\n".join(lines))
        elif verb == "MAIL":
            self._envelopes[wire] = (line.partition("<")[2].partition(">")[0], [])
            self._answer(wire, verb, line, "250 2.1.0 ok")
        elif verb == "RCPT":
            said = self._answer(wire, verb, line, "250 2.1.5 ok")
            if said.startswith("2") and wire in self._envelopes:
                self._envelopes[wire][1].append(line.partition("<")[2].partition(">")[0])
        elif verb == "DATA":
            if self._envelopes.get(wire, ("", []))[1]:
                if self._answer(wire, verb, line, "354 go on").startswith("3"):
                    self._in_data.add(wire)
            else:
                self._answer(wire, "NOBODY", line, "503 5.5.1 nobody to send to")
        else:
            if self._answer(wire, verb, line, "250 2.0.0 ok") and verb == "QUIT":
                wire.hang_up()

    def _answer(self, wire: Wire, verb: str, line: str, usual: str) -> str:
        answer = self.answers.get(verb, usual)
        if callable(answer):
            answer = answer(line)
            answer = usual if answer == "usual" else answer
        if answer is None:
            self._silent.add(wire)
        if wire in self._silent:
            return ""
        if answer == "hang up":
            wire.hang_up()
        else:
            wire.say(answer.encode() + b"\r\n")
        return answer


def connected(
    receiver: Receiver, feed: Feed, *, limit: int | None = None, timeouts: Timeouts | None = None, source: str = "t1",
    site: str = "example.net",
) -> Connection:
    """A connection to the receiver; its banner comes when the loop next turns."""
    talk = Conversation(helo="relay.example.com", starttls=StartTls.NEVER, timeouts=timeouts)
    peer = Peer(source, f"mx.{site}", "192.0.2.1", site, "everyone")
    connection = Connection(talk, feed, peer=peer, tls=None)
    Wire(receiver, connection, limit=limit)
    return connection


def message(id_: str = "m1", *recipients: str, **more: Any) -> Prepared:
    sender = more.pop("sender", "shop@example.com")
    body = more.pop("body", MemoryBody(b"hello\r\n"))
    named = tuple(Recipient(address, more.get("notify", frozenset())) for address in recipients or ("bob@example.net",))
    more.pop("notify", None)
    header = f"Subject: {id_}\r\n".encode()
    at = more.pop("at", NOON)
    fields = {"stream": "transactional", "pool": "main", "route": "all", "due_at": at, "received_at": at} | more
    envelope = Envelope(sender, named)
    return Prepared(id=id_, envelope=envelope, return_path=sender, content=Content(header, body), **fields)


def subject(taken: bytes) -> str:
    return taken.split(b"\r\n")[0].removeprefix(b"Subject: ").decode()


STREAMS = (
    Stream("transactional", "main", Retry((60.0, 120.0), 600.0, 3600.0, 0.0), priority=100),
    Stream("marketing", "main", Retry((900.0,), 3600.0, 86400.0, 0.0)),
)


def rules(
    *streams: Stream, pools: Sequence[Pool] = (Pool("main", (Source("t1"),)),), limits: Limits | None = None,
    providers: Sequence[Provider] = (),
) -> Policy:
    everyone = Provider("everyone", (), limits or Limits())
    return Policy(
        {one.name: one for one in streams or STREAMS}, {one.name: one for one in pools}, (), (*providers, everyone)
    )


class Queue:
    """A store in memory, with the accounting: every recipient is waiting or has one end."""

    def __init__(self) -> None:
        self.messages: dict[str, Prepared] = {}
        self.waiting: dict[tuple[str, int], Waiting] = {}
        self.held: set[tuple[str, int]] = set()
        self.ends: dict[tuple[str, int], list[str]] = {}
        self.stored: Callable[[Prepared, list[Waiting]], None] = lambda message, places: None
        self.troubles: list[Exception] = []  # of reading
        self.refusals: list[Exception] = []  # of writing
        self.kept: dict[str, object] = {}

    async def put(self, message: Prepared) -> None:
        await asyncio.sleep(0)
        if self.refusals:
            raise self.refusals.pop(0)
        self.messages[message.id] = message
        waits = places(message)
        self.waiting |= {one.key: one for one in waits}
        self.stored(message, waits)

    async def due(
        self, stream: str, after: Mark, before: float, limit: int, only: Part | None = None
    ) -> list[Waiting]:
        await asyncio.sleep(0.001)
        if self.troubles:
            raise self.troubles.pop(0)
        found = [
            one for key, one in self.waiting.items()
            if one.stream == stream and one.mark > after and one.due_at <= before and key not in self.held
            and (only is None or one.part == only)
        ]  # fmt: skip
        return sorted(found, key=lambda one: one.mark)[:limit]

    async def streams(self) -> list[str]:
        await asyncio.sleep(0)
        if self.troubles:
            raise self.troubles.pop(0)
        return sorted({one.stream for one in self.waiting.values()})

    async def load(self, message: str) -> Stored | None:
        await asyncio.sleep(0.001)
        here = {nth for id_, nth in self.waiting if id_ == message and (id_, nth) not in self.held}
        whole = self.messages.get(message)
        if whole is None or not any(id_ == message for id_, _ in self.waiting):
            return None
        return Stored(whole, {nth: whole.envelope.recipients[nth] for nth in sorted(here)})

    def settle_soon(self, settlements: Sequence[Settlement]) -> asyncio.Future[Refused]:
        loop = asyncio.get_running_loop()
        future = loop.create_future()
        loop.call_later(0.002, self._settle, list(settlements), future)
        return future

    def _settle(self, settlements: Sequence[Settlement], future: asyncio.Future[Refused]) -> None:
        refused = {}
        for one in settlements:
            key = (one.message, one.index)
            place = self.waiting.get(key)
            if place is None or place.attempts >= one.attempt:
                refused[one.key] = "it has come to an end before"
                continue
            if one.end is not None:
                del self.waiting[key]
                self.ends.setdefault(key, []).append(one.end.value)
            else:
                notified = place.notified or one.delay_notified
                lost = place.lost + bool(one.lost)
                self.waiting[key] = place._replace(
                    due_at=one.due_at, attempts=one.attempt, notified=notified, lost=lost
                )
                if one.lost == "hold":
                    self.held.add(key)
        future.set_result(refused)


    async def recall(self, kind: str) -> dict[str, object]:
        return dict(self.kept)

    async def remember(self, kind: str, changes: Mapping[str, object]) -> None:
        await asyncio.sleep(0.002)
        if self.refusals:
            raise self.refusals.pop(0)
        self.kept = {key: one for key, one in (self.kept | dict(changes)).items() if one is not None}


class FakeContact:
    """Connects to the receiver of a site; an Outcome in `receivers` is what the cycle comes to."""

    def __init__(self, stage: Stage, source: Source, route: Route, terms: Terms, feed: Dispatcher) -> None:
        self.stage, self.source, self.route, self.terms, self.feed = stage, source, route, terms, feed

    async def make(self) -> Connection | Outcome:
        self.stage.cycles.append((self.source.name, self.route.site))
        await asyncio.sleep(0.01)
        receiver = self.stage.receivers[self.route.site]
        if callable(receiver):
            receiver = receiver(self.source)
        if isinstance(receiver, Outcome):
            return receiver
        connection = connected(
            receiver, self.feed, source=self.source.name, site=self.route.site, timeouts=self.stage.timeouts
        )
        outcome = await connection.opened
        if outcome is not None and outcome.reply is not None:
            self.feed.tried(self.terms, connection.peer, outcome)
        return connection if outcome is None else outcome


class Stage:
    """The delivery side of a relay, whole but for sockets and disk."""

    def __init__(self, policy: Policy, *, connections: int = 200, backlog: int = 20_000, remember: bool = True,
                 timeouts: Timeouts | None = None, fixed: Terms | None = None) -> None:
        self.rules = policy
        self.timeouts = timeouts
        self.queue = Queue()
        self.queue.stored = self._stored
        self.receivers: dict[str, Any] = {}
        self.hosts: dict[str, tuple[str, ...]] = {}
        self.cycles: list[tuple[str, str]] = []
        self.lookups: list[str] = []
        self.events: list[Event] = []
        bus = Bus()
        bus.subscribe(self.events.append)
        self.recent = Recent(32 << 20 if remember else 0)
        self.reporter = Reporter("relay.example.com", self.queue.put, clock=self.clock, expires=lambda one: 0.0)
        self.settler = Settler(
            self.queue, bus, self.reporter, policy=lambda: self.rules, clock=self.clock, chance=lambda: 0.5,
            done=self._settled,
        )  # fmt: skip
        routing = Routing(self, policy=lambda: self.rules, clock=self.clock, fixed=fixed)
        self.actions = Actions(self.queue, policy=lambda: self.rules, publish=bus.publish, clock=self.clock)
        self.dispatcher = Dispatcher(
            routing, Loader(self.queue, self.recent, self.settler, self.clock), policy=lambda: self.rules,
            make_contact=lambda source, route, terms, feed: FakeContact(self, source, route, terms, feed),
            left=lambda stream, count: self.pager.backlog(stream).left(count), clock=self.clock,
            connections=connections, actions=self.actions,
            again=lambda stream: self.pager.reread(stream),  # noqa: PLW0108 (made below)
        )  # fmt: skip
        self.pager = Pager(self.queue, most=backlog, clock=self.clock, place=self.dispatcher.place)
        self.step_s = 0.0  # how far the wall clock was set

    def clock(self) -> float:
        return NOON + asyncio.get_running_loop().time() + self.step_s

    async def resolve(self, domain: str) -> Route | Outcome:
        """The resolver: every domain is a site of its own with one host, but for those in `hosts`."""
        self.lookups.append(domain)
        await asyncio.sleep(0.005)
        found = self.receivers.get(domain)
        if isinstance(found, Outcome) and found.phase.value == "resolve":
            return found
        names = self.hosts.get(domain, (f"mx.{domain}",))
        return Route(domain, tuple(Host(name, 10, ("192.0.2.1",)) for name in names))

    async def accept(self, *messages: Prepared) -> None:
        for one in messages:
            await self.queue.put(one)

    def _stored(self, message: Prepared, waits: list[Waiting]) -> None:
        self.recent.add(message)
        self.pager.stored(waits)

    def _settled(self, finished: Sequence[Waiting], again: Sequence[Waiting]) -> None:
        for waiting in finished:
            self.pager.backlog(waiting.stream).finished(waiting)
        for waiting in again:
            self.pager.backlog(waiting.stream).add(waiting)

    def reread(self) -> None:
        """What service.relay does after an operator's change."""
        self.recent.clear()
        for waiting in self.dispatcher.empty_lanes():
            self.pager.backlog(waiting.stream).finished(waiting)
        self.pager.restart()

    def told(self, name: str) -> list[tuple[str, str]]:
        return [(event.message, event.recipient) for event in self.events if event.event == name]

    async def __aenter__(self) -> Stage:
        self._pages = asyncio.create_task(self.pager.run())
        await asyncio.sleep(0.01)
        return self

    async def __aexit__(self, *exc: object) -> None:
        assert not self._pages.done(), self._pages.exception()
        self._pages.cancel()
        await drain(self.dispatcher, 60)

    def quiet(self) -> None:
        """Nothing is under way and nothing is counted that is not there."""
        assert not self.dispatcher.jobs
        connector = self.dispatcher.connector
        gates = connector.gates.gates.values()
        links = sum(len(one.all) for one in connector.links.values())
        assert connector.open == sum(gate.open for gate in gates) == links
        assert not any(count for gate in gates for count in gate.busy.values())
        assert not any(one.opening for one in connector.links.values())
        assert all(backlog.out >= 0 for backlog in self.pager.backlogs.values())


def host_terms(rates: Rates) -> Terms:
    return Terms("sandbox", "sandbox", rates, StartTls.NEVER, "relay.yaml:1")
