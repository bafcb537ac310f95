"""Reports on our mail, wired: who takes them, what is known of the message, and which provider answers for it."""

from __future__ import annotations

import time
from collections.abc import Callable

from relay.config.model import Config
from relay.core.address import domain_of
from relay.core.events import Event
from relay.core.outcome import Outcome
from relay.deliver.routing import Routing
from relay.inbound.feedback import Feedback
from relay.observe.history import History
from relay.queue.sqlite import SqliteStore


async def open_feedback(
    config: Config, key: bytes, store: SqliteStore, routing: Routing, publish: Callable[[Event], None]
) -> Feedback:
    """The desk for reports, with what it has counted before; `key` signs return paths."""

    async def provider(address: str) -> str:
        """The provider that mail for the address goes to now, "" when DNS does not say."""
        route = await routing.resolver.resolve(domain_of(address))
        return "" if isinstance(route, Outcome) else routing.terms(route).provider

    feedback = Feedback(
        hostname=config.hostname, key=key, addresses=feedback_addresses(config), publish=publish, clock=time.time,
        find=History(config.events_dir).accepted, provider=provider, remember=store.remember,
    )  # fmt: skip
    await feedback.load(store.recall)
    return feedback


def feedback_addresses(config: Config) -> frozenset[str]:
    """The addresses that complaints may come to, in lower case."""
    return frozenset(address.lower() for one in config.listeners.values() for address in one.feedback)
