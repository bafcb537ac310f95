"""The connections of each outlet (one pool towards one site), and the terms they are made on."""

from __future__ import annotations

from dataclasses import dataclass, field

from relay.core.gate import Gate
from relay.core.limits import Rates
from relay.core.replies import ReplyRule
from relay.core.slots import Slot
from relay.deliver.connection import Connection
from relay.deliver.resolve import Route
from relay.deliver.restraint import Door
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
    reply rules in the order in which they are asked; `shared` are the named limits it has together with others."""

    provider: str
    counted: str
    rates: Rates
    starttls: StartTls
    where: str
    replies: tuple[ReplyRule, ...] = ()
    shared: tuple[str, ...] = ()


OutletKey = tuple[str, str]


@dataclass(slots=True)
class Hand:
    """One connection's standing: where from, under which terms, its slot at the gates, and who else has a say."""

    source: Source
    terms: Terms
    slot: Slot
    door: Door

    @property
    def key(self) -> OutletKey:
        """The outlet it works for."""
        return self.slot.key

    @property
    def gate(self) -> Gate:
        """The gate of its source and provider."""
        return self.slot.gates[0]


@dataclass(slots=True)
class Links:
    """The connections of one outlet: all there are, and how many are being made."""

    route: Route
    all: set[Connection] = field(default_factory=set)
    opening: int = 0

    @property
    def none(self) -> bool:
        """Whether the outlet has no connection and none in sight."""
        return not (self.all or self.opening)

    def idle(self) -> list[Connection]:
        """Connections that wait for work."""
        return [connection for connection in self.all if connection.idle]


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
    return Terms(provider.name, counted, rates, STARTTLS[limits.tls], provider.where, replies, provider.shared)
