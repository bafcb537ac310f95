"""The gates there are: one for each source address and provider (or site, where no provider is known), one for
each named limit, one for the machine; and breakers, which leave a site alone that a source cannot reach."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple, Protocol

from relay.core.gate import Gate
from relay.core.lanes import LaneRules
from relay.core.ledger import Action
from relay.core.limits import Breaker, Rates
from relay.deliver.outlets import Terms
from relay.policy.limits import NamedLimit
from relay.policy.model import Policy, Pool, Source
from relay.policy.sources import leaves_from

GateKey = tuple[str, str]
NO_LIMIT = 1_000_000
TRYING_S = 1.0  # how soon to look again where one connection tries


class Why(NamedTuple):
    """A reason, until when at least (Unix s, infinite when nobody can say), and the gate behind it."""

    reason: str
    until: float
    gate: Gate


class Heard(Protocol):
    """What replies led to."""

    def rates(self, source: str, terms: Terms) -> Rates: ...

    def source_pause(self, source: str, counted: str) -> Action | None: ...

    def on_trial(self, source: str, counted: str) -> bool: ...


class Gates:
    """`connections` is how many the machine may have in all; `heard` lowers limits after replies, and pauses
    sources. A breaker stands for each source and site: what
    one site of a provider is like says nothing of the others, and anyone may publish an MX that names a
    provider's host."""

    def __init__(self, connections: int, heard: Heard) -> None:
        self.heard = heard
        self.gates: dict[GateKey, Gate] = {}
        self.named: dict[str, Gate] = {}
        self.breakers: dict[tuple[str, str], Breaker] = {}
        self.machine = Gate(Rates(connections, 0), "machine")
        self._at_address: dict[str, Mapping[str, LaneRules]] = {}
        self._namesakes: dict[str, list[str]] = {}  # sources by the address they share

    def take_policy(self, policy: Policy, rules: Mapping[str, LaneRules]) -> None:
        """Which streams share what: reserves are kept only where their stream can come."""
        self.machine.rules = rules
        by_address: dict[str, dict[str, LaneRules]] = {}
        self._namesakes = {}
        for pool in policy.pools.values():
            for source in pool.sources:
                names = self._namesakes.setdefault(leaves_from(source), [])
                names += [source.name] if source.name not in names else []
        for stream in policy.streams.values():
            for source in policy.pools[stream.pool].sources:
                by_address.setdefault(leaves_from(source), {})[stream.name] = rules[stream.name]
        self._at_address = dict(by_address)
        for (address, _), gate in self.gates.items():
            gate.rules = by_address.get(address, {})
        for name, limit in policy.limits.items():
            gate = self.named.setdefault(name, Gate(_rates(limit), f"limit {name}"))
            gate.set_rates(_rates(limit))
            pools = {one.name for one in policy.pools.values() if name in one.shared}
            anyone = any(name in provider.shared for provider in policy.providers)
            gate.rules = {
                one.name: rules[one.name] for one in policy.streams.values() if anyone or one.pool in pools
            }

    def gate(self, source: Source, terms: Terms) -> Gate:
        """The gate of a source towards a provider, with the limits in force now: a reload counts at once. One that
        comes back from a pause has a window of one until a message of its own is taken."""
        key = (leaves_from(source), terms.counted)
        rates = terms.rates
        for name in self._namesakes.get(key[0], (source.name,)):
            rates = self.heard.rates(name, terms if rates is terms.rates else replace(terms, rates=rates))
        found = self.gates.get(key)
        if found is None:
            found = self.gates[key] = Gate(rates, rules=self._at_address.get(key[0], {}))
        found.set_rates(rates)
        if self.heard.on_trial(source.name, terms.counted):
            found.come_back()
        return found

    def way(self, source: Source, terms: Terms, pool: Pool) -> tuple[Gate, ...]:
        """All gates a connection must pass, the nearest to the destination first."""
        names = dict.fromkeys((*terms.shared, *pool.shared))
        named = (self.named[name] for name in names if name in self.named)
        return (self.gate(source, terms), *named, self.machine)

    def paused(self, source: Source, terms: Terms) -> bool:
        """Whether a reply rule keeps the source from there."""
        return self.heard.source_pause(source.name, terms.counted) is not None

    def left_alone(self, source: Source, site: str, now: float) -> float | None:
        """Until when the source is to leave the site alone after trouble, or None."""
        breaker = self.breakers.get((source.name, site))
        return breaker.until if breaker is not None and breaker.is_open(now) else None

    def trying(self, source: Source, site: str) -> bool:
        """Whether one connection of the source looks now whether the site's trouble is over."""
        breaker = self.breakers.get((source.name, site))
        return breaker is not None and breaker.trying

    def tries(self, source: Source, site: str, *, begun: bool) -> None:
        """A connection to the site is begun, or has failed: where there was trouble, no other beside it."""
        if (breaker := self.breakers.get((source.name, site))) is not None:
            breaker.trying = begun

    def why_not(
        self, source: Source, site: str, terms: Terms, pool: Pool, *, now: float, stream: str | None = None
    ) -> Why | None:
        """What keeps mail of the stream, or any, from leaving from the source to the site; None: nothing does."""
        if pause := self.heard.source_pause(source.name, terms.counted):
            return Why("reply_rule", pause.until, self.gate(source, terms))
        if (until := self.left_alone(source, site, now)) is not None:
            return Why("destination_paused", until, self.gate(source, terms))
        if self.trying(source, site):
            return Why("destination_paused", now + TRYING_S, self.gate(source, terms))
        gates = self.way(source, terms, pool)
        for gate in gates:
            if (ready_at := gate.messages.ready_at(now)) > now:
                return Why(_named("message_rate", gate), ready_at, gate)
        for gate in gates:
            reason, until = gate.why_not_connect(now, stream)
            if reason:
                return Why(_named(reason, gate), until, gate)
        return None

    def failed(self, source: Source, site: str, now: float, reason: str) -> None:
        """No host of the site could be used from the source."""
        self.breakers.setdefault((source.name, site), Breaker()).fail(now, reason)

    def answered(self, source: Source, site: str) -> bool:
        """The site answered; whether it was the one connection that looked whether trouble is over."""
        breaker = self.breakers.pop((source.name, site), None)
        return breaker is not None and breaker.trying

    def trouble(self, source: Source, site: str) -> str:
        """What the last trouble of a source with a site was, or ""."""
        breaker = self.breakers.get((source.name, site))
        return breaker.reason if breaker else ""

    def sweep(self, now: float) -> None:
        """Forgets what holds nothing worth keeping, so that a million sites cost no memory for ever."""
        self.gates = {key: gate for key, gate in self.gates.items() if not gate.at_rest(now)}
        self.breakers = {key: one for key, one in self.breakers.items() if not one.forgotten(now)}


def _named(reason: str, gate: Gate) -> str:
    """The reason with the kind of its gate: connections, limit_connections, machine_connections."""
    return f"{gate.name.partition(' ')[0]}_{reason}" if gate.name else reason


def _rates(limit: NamedLimit) -> Rates:
    return Rates(limit.connections or NO_LIMIT, 0, limit.connections_per_minute, limit.messages_per_second)
