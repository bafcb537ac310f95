"""After an unclean stop: the quick part of the check, while mail goes on, and what it found in the log."""

from __future__ import annotations

import logging
from collections.abc import Awaitable
from typing import Protocol

from relay.queue.checking import Findings
from relay.queue.store import StoreBroken

log = logging.getLogger("relay.queue")

SAID_MOST = 20  # lines of the log; `relay queue check` has them all


class Provable(Protocol):
    """What is needed of the store."""

    def check(self, *, full: bool) -> Awaitable[Findings]: ...


async def prove_quickly(store: Provable) -> None:
    """Checks and says what it found."""
    log.warning("the last process did not close the queue: checking it")
    try:
        found = await store.check(full=False)
    except StoreBroken as error:
        log.error("the queue could not be checked: %s", error)
        return
    tally = found.tally
    waiting = sum(tally.queued.values()) + sum(tally.held.values())
    log.log(
        logging.ERROR if found.problems else logging.WARNING,
        "checked %d messages with %d waiting recipients in %.1f s: %s; all of it: relay queue check",
        found.messages, waiting, found.seconds, f"{len(found.problems)} problems" if found.problems else "all is well",
    )  # fmt: skip
    for one in found.problems[:SAID_MOST]:
        log.error("%s", one)
