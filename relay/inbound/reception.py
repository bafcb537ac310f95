"""What all sessions of one listener share: settings, doors, counters, and where finished mail goes."""

from __future__ import annotations

import asyncio
import ssl
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

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

    def take(self, amount: int, kept: float = 0.0) -> bool:
        """Reserves `amount` bytes; False, and nothing reserved, when they are not there. `kept`: the share of the
        budget that is for others."""
        if self.used + amount > self.limit * (1 - kept):
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


class Budget(Protocol):
    """A MemoryBudget, of this process or of several."""

    def take(self, amount: int, kept: float = 0.0) -> bool: ...

    def give(self, amount: int) -> None: ...

    @property
    def tight(self) -> bool: ...


class Seats:
    """The connections of one listener in this process; `relay/inbound/board.py` counts over several."""

    __slots__ = ("_all", "_by_client")

    def __init__(self) -> None:
        self._all = 0
        self._by_client: dict[str, int] = {}

    def take(self, client: str) -> tuple[int, int]:
        """Counts a connection of a client; how many the listener and the client have now."""
        self._all += 1
        of_client = self._by_client[client] = self._by_client.get(client, 0) + 1
        return self._all, of_client

    def give(self, client: str) -> None:
        """Counts it off."""
        self._all -= 1
        left = self._by_client.pop(client) - 1
        if left > 0:
            self._by_client[client] = left


class Seating(Protocol):
    """Seats of one process or of several."""

    def take(self, client: str) -> tuple[int, int]: ...

    def give(self, client: str) -> None: ...


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
    take them when they begin. `takes` says which addresses a listener for bounces has; `commits` holds a
    future for each message that is being stored; `crowded` says by listener, credential and the loop's time
    whether one more message would wait too long, `kept` which share of the memory is not for such mail. Whoever
    has a file descriptor of `descriptors` or above is sent away."""

    def __init__(
        self,
        settings: ListenerSettings,
        access: Access,
        accept: Accept,
        *,
        budget: Budget,
        seats: Seating | None = None,
        spool: Spool | None = None,
        tls: ssl.SSLContext | None = None,
        notify: Notify = lambda event: None,
        clock: Callable[[], float] = time.time,
        takes: Callable[[str], bool] = lambda address: False,
        crowded: Callable[[str, str, float], bool] = lambda listener, credential, now: False,
        kept: Callable[[str, str], float] = lambda listener, credential: 0.0,
        descriptors: int = sys.maxsize,
    ) -> None:
        self.settings = settings
        self.access = access
        self.accept = accept
        self.budget = budget
        self.spool = spool
        self.tls = tls
        self.notify = notify
        self.clock = clock
        self.takes = takes
        self.crowded, self.kept, self.descriptors = crowded, kept, descriptors
        self.draining = False
        self.sessions: set[Guest] = set()
        self.commits: set[asyncio.Future[None]] = set()
        self.seats: Seating = seats or Seats()
        self._left = asyncio.Event()

    def enter(self, session: Guest, address: str, descriptor: int = 0) -> None:
        """Lets a session in; raises Refused when the house is full, or closing."""
        settings = self.settings
        if self.draining:
            raise Refused("draining", hostname=settings.hostname)
        if descriptor >= self.descriptors:
            raise Refused("too-many-connections")
        near = neighbourhood(address)
        everyone, of_client = self.seats.take(near)
        if everyone > settings.max_connections or of_client > settings.max_connections_per_client:
            self.seats.give(near)
            full = everyone > settings.max_connections
            raise Refused("too-many-connections") if full else Refused("too-many-from-client", client=address)
        self.sessions.add(session)

    def leave(self, session: Guest, address: str) -> None:
        """Takes a session out; one that was never let in may leave too."""
        if session not in self.sessions:
            return
        self.sessions.remove(session)
        self.seats.give(neighbourhood(address))
        self._left.set()

    async def changed(self, within_s: float) -> None:
        """Returns when a session or a commit has ended, or after `within_s`."""
        self._left.clear()
        leaving = asyncio.ensure_future(self._left.wait())
        try:
            ends: list[asyncio.Future[Any]] = [leaving, *self.commits]
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
