"""The gatekeeper of a relay, wired, and how its counts outlive it."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

from relay.config.model import Config
from relay.core.events import Event
from relay.inbound.credentials import Credential
from relay.inbound.disk import Disk
from relay.inbound.gate import Gatekeeper
from relay.policy.model import Policy, Stream
from relay.prepare.keys import KeyRing
from relay.queue.sqlite import SqliteStore
from relay.queue.store import StoreBroken, StoreBusy, StoreFull
from relay.service.settings import allowances, ways

log = logging.getLogger("relay")

SAVE_S = 5.0  # what a power cut may forget of today's counts


async def open_gate(
    config: Config, credentials: dict[str, Credential], store: SqliteStore, keys: KeyRing, *,
    policy: Callable[[], Policy], publish: Callable[[Event], None],
) -> Gatekeeper:  # fmt: skip
    """The gatekeeper, with today's counts as they were last kept."""

    def signing(stream: Stream, domain: str) -> list[str]:
        return [signer.domain for signer in keys.signers(stream.signings, domain)]

    gate = Gatekeeper(
        policy=policy, stock=lambda: store.stock, clock=time.time, signing=signing, publish=publish,
        disk=Disk((config.data, config.queue_file.parent), config.queue.reserve),
        allowances=allowances(config, credentials), ways=ways(config),
    )  # fmt: skip
    await gate.load(store.recall)
    return gate


def take_limits(gate: Gatekeeper, config: Config, credentials: dict[str, Credential]) -> None:
    """Hands a running gatekeeper what a reload has changed."""
    gate.take(allowances(config, credentials), ways(config))


async def save_counts(gate: Gatekeeper, store: SqliteStore) -> None:
    """Keeps today's counts; a queue that cannot be written now gets them later."""
    try:
        await gate.save(store.remember)
    except (StoreFull, StoreBusy, StoreBroken) as error:
        log.warning("today's counts of clients are not kept: %s", error)


async def save_for_ever(gate: Gatekeeper, store: SqliteStore) -> None:
    """The side task that keeps them."""
    while True:
        await asyncio.sleep(SAVE_S)
        await save_counts(gate, store)
