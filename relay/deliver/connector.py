"""Connections made and given back: for which outlet, from which source, and who waits for whose place.

1. `serve` wakes idle connections of an outlet, and opens new ones while more is ready than hands are free.
2. Gates and breakers say which source may connect; when no host of a site can be used, its breaker opens and
   all that waits there is deferred.
3. An outlet without a place asks for one (`room`): idle connections of others end for it at once, busy ones
   at their next message boundary if it has none at all.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from relay.core.lanes import Lanes, Outlet
from relay.core.outcome import Outcome, Phase, Scope, Trouble, judge
from relay.core.waiting import Waiting
from relay.deliver.connection import Connection
from relay.deliver.contact import Contact
from relay.deliver.outlets import GateKey, Gates, Hand, Heard, Links, OutletKey, Terms
from relay.deliver.resolve import Route
from relay.deliver.restraint import UNRESTRAINED, Door, Restraint
from relay.deliver.room import EVERYWHERE, Room, Standing
from relay.deliver.routing import Routing
from relay.deliver.sources import usable
from relay.deliver.tasks import Reminders, Tasks
from relay.policy.model import Policy, Source

PAUSED = "not tried: {reason}; this destination is left alone until it may be tried again"
SHARE_AFTER = 10  # messages a connection carries before it gives way to a site of equal urgency that has none


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
        self.restraint = restraint
        self.lanes, self.routing, self.policy, self.settle = lanes, routing, policy, settle
        self.make_contact, self.clock, self.connections = make_contact, clock, connections
        self.gates, self.park = Gates(heard), park
        self.links: dict[OutletKey, Links] = {}
        self.hands: dict[Connection, Hand] = {}
        self.open = 0
        self.draining = False
        self._reached: dict[OutletKey, None] = {}
        self.one_closed = asyncio.Event()
        self.room = Room(self._standing)
        self.reminders = Reminders(self.serve_again)
        self.tasks = Tasks()

    def reach(self, outlet: Outlet, route: Route) -> None:
        """Mail has come into the outlet; `route` is where its site is now."""
        key = (outlet.pool, outlet.site)
        links = self.links.get(key)
        if links is None:
            links = self.links[key] = Links(route)
        links.route = route
        if not self._reached:  # served once for all that comes in this turn: recipients share a transaction
            asyncio.get_running_loop().call_soon(self._serve_reached)
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
        for connection, hand in list(self.hands.items()):
            terms = self.routing.terms(self.links[hand.key].route)
            pool = self.policy().pools.get(hand.key[0])
            same = terms.counted == hand.terms.counted and terms.starttls is hand.terms.starttls
            if same and pool and hand.source in pool.sources:
                self.gates.gate(hand.source, terms)  # which takes the limits in force
            else:
                hand.ending = True
                connection.quit()

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
        self.free_slot(connection, hand)
        hand.gate.open -= 1
        self.open -= 1
        self.one_closed.set()
        self.links[hand.key].all.discard(connection)
        self._pass_on(hand)

    def free_slot(self, connection: Connection, hand: Hand) -> None:
        """The connection carries nothing now."""
        if connection.stream:
            hand.gate.end(connection.stream)
            connection.stream = ""

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
        now, terms, key = self.clock(), self.routing.terms(links.route), (outlet.pool, outlet.site)
        pool = self.policy().pools.get(outlet.pool)
        sources, again, paused, parted = usable(pool, links.route) if pool else [], float("inf"), 0, 0
        for source in sources:
            reason, until = Door(self.restraint, source.name, terms.provider, now).why_not(self.lanes.order(outlet))
            if not reason:
                reason, until = self.gates.why_not(source, outlet.site, terms, now)
            hand = Hand(key, source, terms, self.gates.gate(source, terms))
            may, room = self._may_carry(outlet, links, hand), self.open < self.connections
            if not reason and may and room:
                self._connect(links, hand)
                return True
            if reason in ("", "connections"):
                self._ask_for_place(links, key, hand.passes if room else EVERYWHERE, idle=may)
            paused += reason == "destination_paused"
            parted += reason == "reply_rule"
            again = min(again, until if reason else again)
        if sources and parted == len(sources):
            self.park(self.lanes.drain(outlet))
        elif sources and paused == len(sources) and not links.all and not links.opening:
            text = PAUSED.format(reason=self.gates.trouble(sources[0], outlet.site))
            self.settle(self.lanes.drain(outlet), judge(Trouble.CONNECT_FAILED, Phase.CONNECT, text), terms.provider)
        else:
            self.reminders.set(key, again - now)
        return False

    def _may_carry(self, outlet: Outlet, links: Links, hand: Hand) -> bool:
        """Whether one more connection would have something to do: a reserved share may be all that is left."""
        busy, most = hand.gate.busy, hand.gate.most
        due = [stream for stream, lane in outlet.lanes.items() if lane]
        return any(self.lanes.may_take(one, busy | {one: busy.get(one, 0) + links.opening}, most) for one in due)

    def _connect(self, links: Links, hand: Hand) -> None:
        hand.gate.open += 1
        hand.gate.connects.take(self.clock())
        self.open += 1
        links.opening += 1
        contact = self.make_contact(hand.source, links.route, hand.terms)
        self.tasks.spawn(self._make(contact, links, hand), f"connect to {hand.key[1]}")

    async def _make(self, contact: Contact, links: Links, hand: Hand) -> None:
        found: Connection | Outcome = judge(Trouble.OURS, Phase.CONNECT)
        try:
            found = await contact.make()
        finally:
            links.opening -= 1
            if isinstance(found, Outcome):
                hand.gate.open -= 1
                self.open -= 1
        if isinstance(found, Outcome):
            self._unreachable(links, hand, found)
            self._pass_on(hand)
            return
        self.gates.answered(hand.source, hand.key[1])
        links.all.add(found)
        self.hands[found] = hand
        found.wake()

    def _unreachable(self, links: Links, hand: Hand, outcome: Outcome) -> None:
        """A cycle over all hosts failed. If others work, they refuse more, not us; if their words paused this
        source, another may."""
        if self.gates.paused(hand.source, hand.terms):
            self.serve_again(hand.key)
            return
        if links.all:
            hand.gate.refused_more()
            return
        reason = outcome.text or str(outcome.reply or outcome.phase.value)
        if outcome.trouble is Trouble.SOURCE_UNUSABLE:
            self.restraint.unusable(hand.source.name, reason, self.clock())
        self.gates.failed(hand.source, hand.key[1], self.clock(), reason)
        outlet = self.lanes.outlets.get(hand.key)
        if outlet is None or not outlet.ready:
            return
        if outcome.scope is Scope.SOURCE:  # it never came to the site: another source may
            self.serve(outlet, links)
        else:
            self.settle(self.lanes.drain(outlet), outcome, hand.terms.provider)

    # Places: who gives way to whom

    def _standing(self, key: OutletKey) -> Standing | None:
        """How urgently an outlet wants a place."""
        outlet, links = self.lanes.outlets.get(key), self.links.get(key)
        priority = self.lanes.priority(outlet) if outlet else None
        return None if priority is None or links is None else (priority, links.none)

    def _ask_for_place(self, links: Links, key: OutletKey, gate: GateKey, *, idle: bool) -> None:
        """Notes the want; with `idle`, the place of an idle connection is all that is missing."""
        news = self.room.want(gate, key)
        if not idle or links.promised or not (news or links.none):
            return
        for connection, hand in self.hands.items():
            if connection.idle and hand.key != key and gate in (hand.passes, EVERYWHERE):
                self._promise(hand, gate, key)
                connection.quit()
                return

    def _promise(self, hand: Hand, gate: GateKey, key: OutletKey) -> None:
        self.room.served(gate, key)
        self.links[key].promised += 1
        hand.ending, hand.heir = True, key

    def _gives_way(self, connection: Connection, hand: Hand) -> bool:
        """Whether this connection's place is to be another outlet's: it has nothing to do, or the other is
        more urgent, or as urgent and without any connection for long enough."""
        outlet = self.lanes.outlets.get(hand.key)
        mine = self.lanes.priority(outlet) if outlet else None
        for gate in (hand.passes, EVERYWHERE) if self.room else ():
            found = self.room.first(gate, but=hand.key)
            if found is None:
                continue
            key, (priority, has_none) = found
            due = mine is None or (has_none and priority > mine)
            due = due or (has_none and priority == mine and connection.begun >= SHARE_AFTER)
            may = gate is EVERYWHERE or self._may_carry(self.lanes.outlets[key], self.links[key], hand)
            if due and may:
                self._promise(hand, gate, key)
                return True
        return False

    def _pass_on(self, hand: Hand) -> None:
        """A place came free: to whom it was promised, or who waits longest, then to the outlet it came from."""
        if hand.heir is not None:
            self.links[hand.heir].promised -= 1
            self.serve_again(hand.heir)
        for gate in (hand.passes, EVERYWHERE) if self.room else ():
            if found := self.room.first(gate):
                self.room.served(gate, found[0])
                self.serve_again(found[0])
        self.serve_again(hand.key)

    def must_end(self, connection: Connection, hand: Hand) -> bool:
        """Whether a connection at a message boundary takes nothing more."""
        most = hand.gate.rates.messages_per_connection
        if not hand.ending:
            hand.ending = (
                self.draining or 0 < most <= connection.begun or self._too_many(hand)
                or self.gates.paused(hand.source, hand.terms) or self._gives_way(connection, hand)
            )  # fmt: skip
        return hand.ending

    def _too_many(self, hand: Hand) -> bool:
        """Whether the gate allows fewer than it has, without those that are ending already."""
        gate = hand.gate
        if gate.open <= gate.most:
            return False
        return gate.open - sum(one.gate is gate and one.ending for one in self.hands.values()) > gate.most
