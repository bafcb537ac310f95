"""Objectives across a restart: what was counted stays counted, and what became late meanwhile counts, too."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping
from typing import Any, Protocol

from relay.core.ids import STRETCH_S, stretch_at, stretch_end, stretch_of
from relay.core.objective import HELD_MOST
from relay.observe.objectives import Objectives, Promise
from relay.policy.model import Policy
from relay.queue.store import SEND_NOTE, Filter, Row, StoreBroken, StoreBusy, StoreFull

log = logging.getLogger("relay")

KIND = "objective"
KEEP_S = 30.0  # a crash counts again what became late in at most this time; a clean stop nothing


class Remembering(Protocol):
    """What is needed of the store."""

    async def recall(self, kind: str) -> dict[str, object]: ...

    async def remember(self, kind: str, changes: Mapping[str, object]) -> None: ...

    async def waiting_since(self, stream: str, since: str) -> dict[str, int]: ...

    async def find(self, which: Filter, limit: int) -> list[Row]: ...


def promises(policy: Policy) -> dict[str, Promise]:
    """Seconds and share of every stream that has an objective."""
    goals = ((one.name, one.objective) for one in policy.streams.values())
    return {name: (goal.within_s, goal.target) for name, goal in goals if goal}


async def recall_objectives(objectives: Objectives, store: Remembering, now: float) -> None:
    """Goes on where the last process ended. Without one, mail that is late already was late before."""
    remembered = await store.recall(KIND)
    for stream, tracker in objectives.trackers.items():
        found = remembered.get(stream)
        kept: dict[str, Any] = found if isinstance(found, dict) else {}
        counted_until = min(now, float(kept.get("until", now)))
        since_s = counted_until - tracker.within_s
        waiting = await store.waiting_since(stream, stretch_at(since_s - STRETCH_S))
        held = await store.find(
            Filter(stream=stream, state="held", younger_than_s=now - since_s + STRETCH_S), HELD_MOST
        )
        later = await store.find(Filter(stream=stream, state="queued", note=f"{SEND_NOTE}*"), HELD_MOST)
        for row in later:
            waiting[stretch_of(row.message)] = waiting.get(stretch_of(row.message), 0) - 1
        objectives.restore(
            stream, kept,
            {stretch: count for stretch, count in waiting.items() if count > 0 and stretch_end(stretch) > since_s},
            {(stretch_of(row.message), row.message) for row in held},
            [(stretch_at(row.due_at), row.message) for row in later if row.due_at > since_s],
        )  # fmt: skip


async def keep_objectives(objectives: Objectives, store: Remembering, now: float) -> None:
    """Keeps what a restart must not forget. A store that cannot take it costs history, never mail."""
    try:
        await store.remember(KIND, objectives.keep(now))
    except (StoreFull, StoreBusy, StoreBroken) as error:
        log.warning("the figures of the objectives could not be kept: %s", error)


async def keep_for_ever(objectives: Objectives, store: Remembering) -> None:
    """Keeps them every KEEP_S seconds."""
    while True:
        await asyncio.sleep(KEEP_S)
        await keep_objectives(objectives, store, time.time())
