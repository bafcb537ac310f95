"""What all sessions of one listener share: settings, doors, counters, and where finished mail goes."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Protocol

from relay.core.envelope import Submission
from relay.core.events import Event
from relay.core.reply import Reply
from relay.inbound.access import Access
from relay.inbound.refusals import Refused
from relay.inbound.settings import ListenerSettings, neighbourhood
from relay.queue.spool import Spool

Accept = Callable[[Submission], Awaitable[Reply]]
Notify = Callable[[Event], None]


class MemoryBudget:
    """Bytes of message that all sessions together may hold in memory."""

    __slots__ = ("limit", "used")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.used = 0

    def take(self, amount: int) -> bool:
        """Reserves `amount` bytes; False, and nothing reserved, when they are not there."""
        if self.used + amount > self.limit:
            return False
        self.used += amount
        return True

    @property
    def tight(self) -> bool:
        """Whether more than half of it is taken."""
        return self.used > self.limit // 2

    def give(self, amount: int) -> None:
        """Returns bytes taken before."""
        self.used -= amount


class Guest(Protocol):
    """A session, as far as its listener needs to know it."""

    def drain(self) -> None:
        """Ends now if idle, after the message under way if not."""

    def dismiss(self) -> None:
        """Ends now with a word, also in the middle of a message; after its reply if one is about to leave."""

    def abort(self) -> None:
        """Ends now."""


class Reception:
    """Shared by the sessions of one listener; `settings`, `tls` may be replaced while it runs: sessions
    take them when they begin. `takes` says which addresses a listener for bounces has; `commits` holds the
    tasks in which accepted mail is being stored."""

    def __init__(
        self,
        settings: ListenerSettings,
        access: Access,
        accept: Accept,
        *,
        budget: MemoryBudget,
        spool: Spool | None = None,
        tls: ssl.SSLContext | None = None,
        notify: Notify = lambda event: None,
        on_connection: Callable[[int], None] = lambda delta: None,
        clock: Callable[[], float] = time.time,
        takes: Callable[[str], bool] = lambda address: False,
    ) -> None:
        self.settings = settings
        self.access = access
        self.accept = accept
        self.budget = budget
        self.spool = spool
        self.tls = tls
        self.notify = notify
        self.on_connection = on_connection
        self.clock = clock
        self.takes = takes
        self.draining = False
        self.sessions: set[Guest] = set()
        self.commits: set[asyncio.Task[Reply]] = set()
        self._by_client: Counter[str] = Counter()
        self._left = asyncio.Event()

    def enter(self, session: Guest, address: str) -> None:
        """Lets a session in; raises Refused when the house is full, or closing."""
        settings = self.settings
        if self.draining:
            raise Refused("draining", hostname=settings.hostname)
        if len(self.sessions) >= settings.max_connections:
            raise Refused("too-many-connections")
        near = neighbourhood(address)
        if self._by_client[near] >= settings.max_connections_per_client:
            raise Refused("too-many-from-client", client=address)
        self.sessions.add(session)
        self._by_client[near] += 1
        self.on_connection(1)

    def leave(self, session: Guest, address: str) -> None:
        """Takes a session out; one that was never let in may leave too."""
        if session not in self.sessions:
            return
        self.sessions.remove(session)
        near = neighbourhood(address)
        self._by_client[near] -= 1
        if self._by_client[near] <= 0:
            del self._by_client[near]
        self.on_connection(-1)
        self._left.set()

    async def changed(self, within_s: float) -> None:
        """Returns when a session or a commit has ended, or after `within_s`."""
        self._left.clear()
        leaving = asyncio.ensure_future(self._left.wait())
        try:
            ends = [leaving, *self.commits]
            await asyncio.wait(ends, timeout=within_s, return_when=asyncio.FIRST_COMPLETED)
        finally:
            leaving.cancel()

    def refused(self, reason: str, answer: Reply, *, client: str, sender: str = "") -> None:
        """Publishes a refusal with its reason (a key of REFUSALS)."""
        detail = {
            "listener": self.settings.name, "reason": reason, "client": client,
            "code": answer.code, "enhanced": answer.enhanced, "text": answer.text,
        }  # fmt: skip
        self.notify(Event("refused", self.clock(), sender=sender, detail=detail))
