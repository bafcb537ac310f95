"""What a connection knows of the rest: where it leads, and where its work comes from."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from relay.core.outcome import Outcome
from relay.deliver.job import Job
from relay.queue.store import Refused
from relay.smtp.happenings import Result

if TYPE_CHECKING:
    from relay.deliver.connection import Connection


@dataclass(frozen=True, slots=True)
class Peer:
    """Where a connection leads: for events and explanations."""

    source: str
    mx: str
    address: str
    site: str
    provider: str


class Feed(Protocol):
    """Where a connection gets its work and reports what came of it."""

    def next_job(self, connection: Connection, *, behind: bool = False) -> Job | None:
        """The next message for this connection, or None: wait idle or quit. `behind`: one was sent whose answer
        has not come; it is asked for again when that has come."""
        ...

    def sending(self, connection: Connection, job: Job) -> None:
        """The job's final dot is about to leave."""
        ...

    def finished(self, connection: Connection, job: Job, result: Result) -> asyncio.Future[Refused] | None:
        """A transaction ended. Where the receiver took it, the answer ends when that is on stable storage."""
        ...

    def closed(self, connection: Connection, outcome: Outcome | None) -> None:
        """The connection is gone; every job it had was reported before."""
        ...
