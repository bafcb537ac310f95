"""The connections of each outlet (one pool towards one site), and what they must pass: gates count what a
provider bears from a source, breakers leave a site alone that a source cannot reach."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from relay.core.ledger import Action
from relay.core.limits import Breaker, Gate, Rates
from relay.core.replies import ReplyRule
from relay.deliver.connection import Connection
from relay.deliver.resolve import Route
from relay.policy.model import Policy, Provider, Source
from relay.smtp.client import StartTls

STARTTLS = {
    "opportunistic": StartTls.OPPORTUNISTIC,
    "required": StartTls.REQUIRED,
    "never": StartTls.NEVER,
}


@dataclass(frozen=True, slots=True)
class Terms:
    """How a site is dealt with: limits, TLS, the name limits are counted under, where that is written, and the
    reply rules in the order in which they are asked."""

    provider: str
    counted: str
    rates: Rates
    starttls: StartTls
    where: str
    replies: tuple[ReplyRule, ...] = ()


OutletKey = tuple[str, str]
GateKey = tuple[str, str]


@dataclass(slots=True)
class Hand:
    """One connection's standing: whose mail it carries, from where, through which gate. `ending`: it takes
    nothing more; `heir` is the outlet to which its place was promised."""

    key: OutletKey
    source: Source
    terms: Terms
    gate: Gate
    ending: bool = False
    heir: OutletKey | None = None

    @property
    def passes(self) -> GateKey:
        """The gate's key."""
        return (self.source.name, self.terms.counted)


@dataclass(slots=True)
class Links:
    """The connections of one outlet: `all` there are, how many are being made and how many are promised."""

    route: Route
    all: set[Connection] = field(default_factory=set)
    opening: int = 0
    promised: int = 0

    @property
    def none(self) -> bool:
        """Whether the outlet has no connection and none in sight."""
        return not (self.all or self.opening or self.promised)

    def idle(self) -> list[Connection]:
        """Connections that wait for work."""
        return [connection for connection in self.all if connection.idle]


class Heard(Protocol):
    """What replies led to."""

    def rates(self, source: str, terms: Terms) -> Rates: ...

    def source_pause(self, source: str, counted: str) -> Action | None: ...


class Gates:
    """One gate for each source and provider; where no provider is known, for each source and site. A breaker
    for each source and site: what one site of a provider is like says nothing of the others, and anyone may
    publish an MX that names a provider's host. `heard` lowers limits after replies, and pauses sources."""

    def __init__(self, heard: Heard) -> None:
        self.heard = heard
        self.gates: dict[GateKey, Gate] = {}
        self.breakers: dict[tuple[str, str], Breaker] = {}

    def gate(self, source: Source, terms: Terms) -> Gate:
        """The gate, with the limits in force now: a reload counts at once."""
        key, rates = (source.name, terms.counted), self.heard.rates(source.name, terms)
        found = self.gates.get(key)
        if found is None:
            found = self.gates[key] = Gate(rates)
        found.set_rates(rates)
        return found

    def paused(self, source: Source, terms: Terms) -> bool:
        """Whether a reply rule keeps the source from there."""
        return self.heard.source_pause(source.name, terms.counted) is not None

    def why_not(self, source: Source, site: str, terms: Terms, now: float) -> tuple[str, float]:
        """("", now) when the source may connect to the site, or (reason, when to ask again)."""
        if pause := self.heard.source_pause(source.name, terms.counted):
            return "reply_rule", pause.until
        breaker = self.breakers.get((source.name, site))
        if breaker is not None and breaker.is_open(now):
            return "destination_paused", breaker.until
        gate = self.gate(source, terms)
        if (ready_at := gate.messages.ready_at(now)) > now:
            return "message_rate", ready_at
        return gate.why_not_connect(now)

    def failed(self, source: Source, site: str, now: float, reason: str) -> None:
        """No host of the site could be used from the source."""
        self.breakers.setdefault((source.name, site), Breaker()).fail(now, reason)

    def answered(self, source: Source, site: str) -> None:
        """The site answered."""
        self.breakers.pop((source.name, site), None)

    def trouble(self, source: Source, site: str) -> str:
        """What the last trouble of a source with a site was, or ""."""
        breaker = self.breakers.get((source.name, site))
        return breaker.reason if breaker else ""

    def sweep(self, now: float) -> None:
        """Forgets what holds nothing worth keeping, so that a million sites cost no memory for ever."""
        self.gates = {key: gate for key, gate in self.gates.items() if not gate.at_rest(now)}
        self.breakers = {key: one for key, one in self.breakers.items() if not one.forgotten(now)}


def terms_for(policy: Policy, route: Route) -> Terms:
    """The terms of the provider that runs the site's best host."""
    provider: Provider = policy.provider(route.hosts[0].name)
    limits = provider.limits
    rates = Rates(
        limits.connections, limits.messages_per_connection,
        limits.connections_per_minute, limits.messages_per_second,
    )  # fmt: skip
    catches_all = provider is policy.providers[-1]
    counted = f"site {route.site}" if catches_all else provider.name
    replies = provider.replies if catches_all else provider.replies + policy.providers[-1].replies
    return Terms(provider.name, counted, rates, STARTTLS[limits.tls], provider.where, replies)

