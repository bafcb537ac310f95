"""Where each domain's mail goes now: routes remembered for a minute, one lookup a domain at a time."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from relay.core.outcome import Outcome, Phase, Trouble, judge
from relay.core.waiting import Waiting
from relay.deliver.outlets import Terms, terms_for
from relay.deliver.resolve import Route
from relay.deliver.tasks import Tasks
from relay.policy.model import Policy

log = logging.getLogger("relay.deliver")

KEEP_S = 60.0
KEPT_MOST = 50_000

Routed = Callable[[Waiting, Route], None]
Unroutable = Callable[[Sequence[Waiting], Outcome], None]


class Resolving(Protocol):
    """What is needed of a resolver."""

    async def resolve(self, domain: str) -> Route | Outcome: ...


class FixedRoute:
    """A resolver for whom every domain leads to the same host: a smarthost, or the sandbox."""

    def __init__(self, find: Callable[[], Awaitable[Route | Outcome]]) -> None:
        self._find = find

    async def resolve(self, domain: str) -> Route | Outcome:
        """The one route, whatever the domain."""
        return await self._find()


class Routing:
    """`fixed` gives terms that hold for every site (smarthost, sandbox); None: the policy's providers."""

    def __init__(
        self, resolver: Resolving, *, policy: Callable[[], Policy], clock: Callable[[], float],
        fixed: Terms | None = None,
    ) -> None:  # fmt: skip
        self.resolver, self.policy, self.clock, self.fixed = resolver, policy, clock, fixed
        self._routes: dict[str, tuple[Route, float]] = {}
        self._asking: dict[str, list[Waiting]] = {}
        self._terms: dict[str, Terms] = {}
        self._terms_policy: Policy | None = None
        self._tasks = Tasks()

    def find(self, waiting: Waiting, routed: Routed, unroutable: Unroutable) -> None:
        """Calls `routed` at once for a domain that is known, and later for one that must be looked up."""
        domain = "" if self.fixed else waiting.domain
        known = self._routes.get(domain)
        if known is not None and known[1] > self.clock():
            routed(waiting, known[0])
        elif domain in self._asking:
            self._asking[domain].append(waiting)
        else:
            self._asking[domain] = [waiting]
            self._tasks.spawn(self._ask(domain, routed, unroutable), f"route to {domain}")

    async def _ask(self, domain: str, routed: Routed, unroutable: Unroutable) -> None:
        try:
            found: Route | Outcome = await self.resolver.resolve(domain)
        except Exception:
            log.exception("the way to %s could not be found, by a fault of ours", domain)
            found = judge(Trouble.OURS, Phase.RESOLVE)
        waiting = self._asking.pop(domain)
        if isinstance(found, Outcome):
            unroutable(waiting, found)
            return
        if len(self._routes) >= KEPT_MOST:
            self._routes.clear()
        self._routes[domain] = (found, self.clock() + KEEP_S)
        for one in waiting:
            routed(one, found)

    async def close(self) -> None:
        """Asks no more; who waits for an answer is in the store."""
        await self._tasks.cancel()

    def terms(self, route: Route) -> Terms:
        """How the site is dealt with, by the policy as it is now."""
        if self.fixed is not None:
            return self.fixed
        policy = self.policy()
        if policy is not self._terms_policy:
            self._terms, self._terms_policy = {}, policy
        found = self._terms.get(route.site)
        if found is None:
            if len(self._terms) >= KEPT_MOST:
                self._terms.clear()
            found = self._terms[route.site] = terms_for(policy, route)
        return found

    def forget(self) -> None:
        """Every domain is looked up again when next needed."""
        self._routes.clear()
