"""What a start makes of the journal that the last process left: deliveries that nobody recorded.

What a receiver had taken is recorded as delivered and not sent again. What had no answer is lost after the dot
(RFC 1047): it may have been delivered, and its stream says whether it is sent again or held. Marks of attempts that
were recorded after all are of no account.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from relay.core.events import Event
from relay.policy.model import Policy
from relay.queue.sqlite import SqliteStore
from relay.queue.store import End, Filter, Row, Settlement
from relay.queue.underway import Mark, UnderWay, read_marks

log = logging.getLogger("relay")

WAIT_S = 5.0  # a disk that takes nothing must not keep the relay from starting
TEXT = "the relay ended while this was under way; it may have been delivered"


@dataclass(frozen=True, slots=True)
class Recovered:
    """How many recipients the journal knew: `delivered` by their receiver's answer, `lost` without one."""

    delivered: int = 0
    lost: int = 0


async def recover(
    path: Path, store: SqliteStore, *, policy: Policy, publish: Callable[[Event], None], now: float
) -> tuple[UnderWay, Recovered]:
    """A fresh journal, and what became of the one that was there. Raises OSError, StoreBroken."""
    found = await _unrecorded(store, read_marks(path))
    settlements = [_settlement(row, policy, taken=taken) for row, taken in found]
    recovered = Recovered(sum(taken for _, taken in found), sum(not taken for _, taken in found))
    if settlements:
        log.warning("the journal of what was under way: %d delivered and not recorded, %d lost after the dot",
                    recovered.delivered, recovered.lost)  # fmt: skip
        recorded = store.settle_soon(settlements)
        await asyncio.wait((recorded,), timeout=WAIT_S)
        if not recorded.done():
            log.error("the queue does not take it yet: %d recipients may get a second copy", len(settlements))
        refused = recorded.result() if recorded.done() else {}
        for (row, _), settlement in zip(found, settlements, strict=True):
            if why := refused.get(settlement.key):
                log.warning("message %s to %s: not recorded: %s", row.message, row.recipient, why)
            else:
                publish(_event(row, settlement, now))
    return UnderWay(path), recovered


async def _unrecorded(store: SqliteStore, marks: Iterable[Mark]) -> list[tuple[Row, bool]]:
    """The recipients whose marked attempt is not in the queue, and whether their receiver had answered."""
    found: dict[tuple[str, int], tuple[Row, bool]] = {}
    for mark in sorted(marks, key=lambda one: one.taken):  # an answer goes before its absence
        rows = {row.index: row for row in await store.find(Filter(message=mark.message), -1)}
        for nth, attempts in mark.places:
            if nth in rows and rows[nth].attempts == attempts:
                found[mark.message, nth] = (rows[nth], mark.taken)
    return list(found.values())


def _settlement(row: Row, policy: Policy, *, taken: bool) -> Settlement:
    attempt = row.attempts + 1
    if taken:
        return Settlement(row.message, row.index, attempt, End.DELIVERED)
    stream = policy.streams.get(row.stream)
    lost = stream.lost_after_dot if stream else "resend"
    return Settlement(row.message, row.index, attempt, None, row.due_at, TEXT, lost=lost)


def _event(row: Row, settlement: Settlement, now: float) -> Event:
    detail: dict[str, object] = {"recovered": True, "attempt": settlement.attempt}
    if settlement.lost:
        detail |= {"lost_after_dot": settlement.lost, "text": TEXT}
        if settlement.lost == "resend":
            detail["due_at"] = round(settlement.due_at, 3)
    if row.lost and settlement.end:
        detail["possible_duplicate"] = True
    return Event(
        "delivered" if settlement.end else "deferred", now, message=row.message, recipient=row.recipient,
        stream=row.stream, route=row.route, sender=row.sender, tags=row.tags, detail=detail,
    )  # fmt: skip
