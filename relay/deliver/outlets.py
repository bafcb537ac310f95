"""The connections of each outlet (one pool towards one site), and the gates they pass."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from relay.core.lanes import Outlet
from relay.core.limits import Gate, Rates
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


@dataclass(slots=True)
class Links:
    """The connections of one outlet."""

    route: Route
    all: set[Connection] = field(default_factory=set)
    opening: int = 0

    def idle(self) -> list[Connection]:
        """Connections that wait for work, the latest used first: the others may end."""
        return [connection for connection in self.all if connection.idle]


class Gates:
    """One gate for each source and provider; where no provider is known, for each source and site. `rates` gives
    the limits in force for a source: those of the terms, or less after a reply."""

    def __init__(self, rates: Callable[[str, Terms], Rates]) -> None:
        self.rates = rates
        self.gates: dict[tuple[str, str], Gate] = {}

    def gate(self, source: Source, terms: Terms) -> Gate:
        """The gate, with the limits in force now: a reload counts at once."""
        key, rates = (source.name, terms.counted), self.rates(source.name, terms)
        found = self.gates.get(key)
        if found is None:
            found = self.gates[key] = Gate(rates)
        found.set_rates(rates)
        return found

    def renew(self, all_terms: Iterable[Terms]) -> None:
        """Brings every gate to the limits in force, for those that connections use at this moment."""
        terms = {one.counted: one for one in all_terms}
        for (source, counted), gate in self.gates.items():
            if counted in terms:
                gate.set_rates(self.rates(source, terms[counted]))

    def sweep(self, now: float) -> None:
        """Forgets gates that hold nothing worth keeping, so that a million sites cost no memory for ever."""
        for key, gate in list(self.gates.items()):
            if not gate.open and not gate.breaker.failures and gate.connects.level >= gate.connects.burst:
                del self.gates[key]


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


OutletKey = tuple[str, str]
WhyNot = Callable[[Outlet], tuple[str, str, float]]
