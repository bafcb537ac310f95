"""What the running relay does for a backup, and what it says of a queue that came from one."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

from relay.core.events import Event
from relay.queue.leases import LEASE_S
from relay.queue.restore import KIND
from relay.queue.sqlite import SqliteStore
from relay.service.relay import Relay

log = logging.getLogger("relay")


class BackupAnswers:
    """The BackupOperator of one Relay."""

    relay: Relay

    async def begin_copy(self) -> tuple[str, float]:
        """A lease: from now no body leaves the spool and no checkpoint waits for readers."""
        return self.relay.store.spool.leases.begin(), LEASE_S

    async def renew_copy(self, lease: str) -> bool:
        """Whether the lease goes on."""
        return self.relay.store.spool.leases.renew(lease)

    async def end_copy(self, lease: str) -> bool:
        """Gives the lease back; what was kept for it goes."""
        spool = self.relay.store.spool
        going_on = spool.leases.end(lease)
        await asyncio.to_thread(spool.remove)  # thousands of files take a while
        return going_on


async def tell_restored(store: SqliteStore, publish: Callable[[Event], None]) -> None:
    """Says once, as event and in the log, that this queue came from a backup and is held."""
    for key, told in (await store.recall(KIND)).items():
        if isinstance(told, dict):
            when = time.strftime("%Y-%m-%d %H:%M:%SZ", time.gmtime(told["taken_at"]))
            log.warning(
                "this queue was restored from a backup of %s, taken %s: %d recipients are held, as they may have"
                " been delivered since. `relay queue list --state held`, then `relay queue release`",
                told["from"], when, told["recipients"],
            )  # fmt: skip
            publish(Event("restored", time.time(), detail=dict(told)))
        await store.remember(KIND, {key: None})
