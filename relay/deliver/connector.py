"""Connections made and given back: for which outlet, from which source, and who waits for whose place.

1. `serve` wakes idle connections of an outlet, and opens new ones while more is ready than hands are free.
2. Breakers say which sites are left alone; when no host of a site can be used, its breaker opens and all that
   waits there is deferred.
3. `core.places` decides whether a connection may be made now, and which one ends for another; this module
   acts: it connects, wakes and says goodbye.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from relay.core.gate import Gate
from relay.core.lanes import Lanes, Outlet
from relay.core.outcome import Outcome, Phase, Scope, Trouble, judge
from relay.core.places import Places
from relay.core.slots import Slot, Step, Turn
from relay.core.waiting import Waiting
from relay.deliver.connection import Connection
from relay.deliver.contact import Contact
from relay.deliver.gates import TRYING_S, Gates, Heard
from relay.deliver.outlets import Hand, Links, OutletKey, Terms
from relay.deliver.resolve import Route
from relay.deliver.restraint import OF_SOURCE, UNRESTRAINED, Door, Restraint
from relay.deliver.routing import Routing
from relay.deliver.sources import usable
from relay.deliver.tasks import Reminders, Tasks
from relay.policy.model import Policy, Source

PAUSED = "not tried: {reason}; this destination is left alone until it may be tried again"


class Connector:
    """All connections. `make_contact` knows how to connect; `settle` takes mail for which no delivery was
    begun, with its outcome and provider; `park` takes mail whose sources are all paused by replies.
    `connections` bounds them all."""

    def __init__(
        self, lanes: Lanes, routing: Routing, *, policy: Callable[[], Policy],
        make_contact: Callable[[Source, Route, Terms], Contact],
        settle: Callable[[Sequence[Waiting], Outcome, str], None], clock: Callable[[], float], connections: int,
        heard: Heard, park: Callable[[Sequence[Waiting]], None],
        restraint: Restraint = UNRESTRAINED,
    ) -> None:  # fmt: skip
        self.restraint, self.park = restraint, park
        self.lanes, self.routing, self.policy, self.settle = lanes, routing, policy, settle
        self.make_contact, self.clock = make_contact, clock
        self.gates = Gates(connections, heard)
        self.links: dict[OutletKey, Links] = {}
        self.hands: dict[Connection, Hand] = {}
        self._by_slot: dict[Slot, Connection] = {}
        self._reached: dict[OutletKey, None] = {}
        self.draining = False
        self.one_closed = asyncio.Event()
        self.reminders = Reminders(self.serve_again)
        self.at_gates = Reminders(self.admit)
        self.places = Places(lanes, serve=self.serve_again, end=self._end, remind=self.at_gates.set)
        self.tasks = Tasks()

    @property
    def open(self) -> int:
        """Connections there are or that are being made."""
        return self.gates.machine.open

    def reach(self, outlet: Outlet, route: Route) -> None:
        """Mail has come into the outlet; `route` is where its site is now."""
        key = (outlet.pool, outlet.site)
        links = self.links.get(key)
        if links is None:
            links = self.links[key] = Links(route)
        links.route = route
        if not self._reached:  # served once for all that is placed in this turn: recipients of one message
            asyncio.get_running_loop().call_soon(self._serve_reached)  # share a transaction
        self._reached[key] = None

    def _serve_reached(self) -> None:
        reached, self._reached = self._reached, {}
        for key in reached:
            self.serve_again(key)

    def serve_again(self, key: OutletKey) -> None:
        """Something may go by now that could not before."""
        outlet, links = self.lanes.outlets.get(key), self.links.get(key)
        if outlet is not None and links is not None and outlet.ready:
            self.serve(outlet, links)

    def renew(self) -> None:
        """Takes the rules of now: connections under rules that are gone end with their message."""
        policy = self.policy()
        self.gates.take_policy(policy, self.lanes.rules)
        for connection, hand in list(self.hands.items()):
            terms = self.routing.terms(self.links[hand.key].route)
            pool = policy.pools.get(hand.key[0])
            same = terms.counted == hand.terms.counted and terms.starttls is hand.terms.starttls
            same = same and pool is not None and hand.source in pool.sources
            if not same or pool is None or self.gates.way(hand.source, terms, pool) != hand.slot.gates:
                hand.slot.leave()
                connection.quit()
        for gate in (*self.gates.gates.values(), *self.gates.named.values(), self.gates.machine):
            self.admit(gate)

    def sweep(self) -> None:
        """Serves every outlet, so that none depends on one wake-up, and forgets what holds nothing."""
        for key, links in list(self.links.items()):
            self.serve_again(key)
            if links.none and key not in self.lanes.outlets:
                del self.links[key]
        self.gates.sweep(self.clock())

    def gone(self, connection: Connection) -> None:
        """A connection has ended: its place is another's."""
        hand = self.hands.pop(connection, None)
        if hand is None:
            return  # it ended before it was ours: its contact says so
        del self._by_slot[hand.slot]
        self.links[hand.key].all.discard(connection)
        self.one_closed.set()
        hand.slot.release()
        self.places.pass_on(hand.slot, self.clock())

    def serve(self, outlet: Outlet, links: Links) -> None:
        """Finds hands for what is ready in an outlet."""
        if self.draining:
            return
        for connection in links.idle():
            if not outlet.ready:
                return
            connection.wake()
        if any(self.hands[connection].slot.waits for connection in links.idle()):
            return  # more hands would not send sooner
        hands = links.opening + sum(connection.loading for connection in links.all)
        while outlet.messages > hands and self._open_one(outlet, links):
            hands += 1
        if outlet.messages <= hands:
            self.places.wants_no_more(outlet.key)

    def _open_one(self, outlet: Outlet, links: Links) -> bool:
        """Opens one more connection for the outlet, if some source may, for the first stream that may."""
        now, terms, key = self.clock(), self.routing.terms(links.route), outlet.key
        pool = self.policy().pools.get(outlet.pool)
        sources, paused, parted, again = usable(pool, links.route) if pool else [], 0, 0, float("inf")
        for source in sources:
            assert pool is not None
            door = Door(self.restraint, source.name, terms.provider)
            door.ask(now)
            streams = [stream for stream in self.lanes.order(outlet) if door.may(stream)]
            again = min(again, door.until)
            if not streams:
                continue
            if self.gates.paused(source, terms):
                parted += 1
            elif (until := self.gates.left_alone(source, outlet.site, now)) is not None:
                paused, again = paused + 1, min(again, until)
            elif self.gates.trying(source, outlet.site):
                again = min(again, now + TRYING_S)
            elif slot := self.places.find(
                outlet, self.gates.way(source, terms, pool), now, first=links.none, streams=streams
            ):
                self._connect(links, Hand(source, terms, slot, door))
                return True
        self._keep_back(outlet, links, terms, sources=sources, paused=paused, parted=parted)
        self.reminders.set(key, again - now)
        return False

    def _keep_back(
        self, outlet: Outlet, links: Links, terms: Terms, *, sources: list[Source], paused: int, parted: int
    ) -> None:
        """What becomes of mail that no source may carry now: parked by a reply rule, or deferred with its site."""
        if sources and parted == len(sources):
            self.places.wants_no_more(outlet.key)
            self.park(self.lanes.drain(outlet))
        elif sources and paused == len(sources) and links.none:
            self.places.wants_no_more(outlet.key)
            text = PAUSED.format(reason=self.gates.trouble(sources[0], outlet.site))
            self.settle(self.lanes.drain(outlet), judge(Trouble.CONNECT_FAILED, Phase.CONNECT, text), terms.provider)

    def _connect(self, links: Links, hand: Hand) -> None:
        links.opening += 1
        self.gates.tries(hand.source, hand.key[1], begun=True)
        contact = self.make_contact(hand.source, links.route, hand.terms)
        self.tasks.spawn(self._make(contact, links, hand), f"connect to {hand.key[1]}")

    async def _make(self, contact: Contact, links: Links, hand: Hand) -> None:
        found: Connection | Outcome = judge(Trouble.OURS, Phase.CONNECT)
        try:
            found = await contact.make()
        finally:
            links.opening -= 1
            if isinstance(found, Outcome):
                hand.slot.release()
                self.gates.tries(hand.source, hand.key[1], begun=False)
        if isinstance(found, Outcome):
            self._unreachable(links, hand, found)
            self.places.pass_on(hand.slot, self.clock())
            return
        comes_back = self.gates.answered(hand.source, hand.key[1])
        if comes_back and hand.gate.open == 1:
            hand.gate.come_back()
        links.all.add(found)
        self.hands[found] = hand
        self._by_slot[hand.slot] = found
        found.wake()
        if comes_back:
            self.serve_again(hand.key)

    def _unreachable(self, links: Links, hand: Hand, outcome: Outcome) -> None:
        """A cycle over all hosts failed. If others work, they refuse more, not us; if their words paused this
        source, another may."""
        if self.gates.paused(hand.source, hand.terms):
            self.serve_again(hand.key)
            return
        reason = outcome.text or str(outcome.reply or outcome.phase.value)
        if links.all:
            hand.gate.refused_more()
            if self.gates.trouble(hand.source, hand.key[1]):  # the others are another source's
                self.gates.failed(hand.source, hand.key[1], self.clock(), reason)
            return
        if outcome.trouble is Trouble.SOURCE_UNUSABLE:
            self.restraint.unusable(hand.source.name, reason, self.clock())
        self.gates.failed(hand.source, hand.key[1], self.clock(), reason)
        outlet = self.lanes.outlets.get(hand.key)
        if outlet is None or not outlet.ready:
            return
        if outcome.scope is Scope.SOURCE:  # it never came to the site: another source may
            self.serve(outlet, links)
        else:
            self.places.wants_no_more(hand.key)
            self.settle(self.lanes.drain(outlet), outcome, hand.terms.provider)

    # Places

    def turn(self, connection: Connection, hand: Hand, now: float) -> Turn:
        """What the connection, which carries nothing, is to do."""
        most, door = hand.gate.rates.messages_per_connection, hand.door
        over = self.draining or 0 < most <= connection.begun or self.gates.paused(hand.source, hand.terms)
        door.ask(now)
        turn = self.places.turn(hand.slot, now, over=over, may=door.may)
        if turn.step is Step.IDLE and door.reason:
            self.reminders.set(hand.key, door.until - now)
            if door.reason in OF_SOURCE:
                hand.slot.leave()
                turn = Turn(Step.QUIT)
        if turn.step is Step.QUIT:
            asyncio.get_running_loop().call_soon(connection.quit)
        return turn

    def admit(self, gate: Gate) -> None:
        """Something may pass a gate that could not before."""
        if gate.line or gate.tokens:
            self.places.admit(gate, self.clock())

    def _end(self, slot: Slot) -> None:
        self._by_slot[slot].quit()
