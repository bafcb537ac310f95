"""Many disks made from one record, the queue opened on each, and what was found there."""

from __future__ import annotations

import asyncio
import random
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from relay.core.content import Content
from relay.queue.sqlite import SqliteStore
from relay.queue.store import StoreBroken
from tests.faults.disk import Disk
from tests.faults.faulty import Faults
from tests.faults.load import LARGE, LINE, NUMBER, SMALL
from tests.faults.trace import Op, read

LARGE_EVERY = 7
MEMORY = Path("/dev/shm")  # a disk made up needs no disk


@dataclass
class Found:
    """What the disks came to: `at` is a place in the record, messages go by their numbers."""

    cuts: int = 0
    accepted: int = 0
    lost: list[tuple[int, str]] = field(default_factory=list)
    torn: list[tuple[int, str]] = field(default_factory=list)
    gaps: list[tuple[int, int]] = field(default_factory=list)
    broken: list[tuple[int, str]] = field(default_factory=list)
    again: int = 0  # delivered before the cut, and queued after it: the most of any cut
    opened_s: float = 0.0

    def clean(self) -> bool:
        """Whether nothing is wrong."""
        return not (self.lost or self.torn or self.gaps or self.broken)


class World:
    """What clients and receivers know at a place in the record."""

    def __init__(self, ids: dict[str, str]) -> None:
        self.number_of = {id_: number for number, id_ in ids.items()}
        self.answered: set[str] = set()
        self.delivered: set[str] = set()

    def hear(self, what: str, text: str) -> None:
        """One mark."""
        if what == "delivered":
            self.delivered.add(text)
        elif text in self.number_of:  # else the client was cut off before it read its reply
            self.answered.add(self.number_of[text])


def cut_often(
    faults: Faults, ids: dict[str, str], choose: Callable[[int, int], Iterable[int]], dice: random.Random
) -> Found:
    """The power fails at places of the record: `choose` takes (the first mark, the length)."""
    records = list(read(faults.trace))
    first = next(at for at, record in enumerate(records) if record.op is Op.MARK)
    places = sorted(choose(first, len(records)))
    disk, found, world = Disk(faults.root), Found(), World(ids)
    for at, record in enumerate(records):
        while places and places[0] <= at:
            places.pop(0)
            _cut(disk, at, found, world, dice)
        if record.op is Op.MARK:
            world.hear(record.path, record.data.decode())
        else:
            disk.take(record)
    for _ in places:
        _cut(disk, len(records), found, world, dice)
    assert world.answered == set(ids), "the record knows of every reply"
    return found


def _cut(disk: Disk, at: int, found: Found, world: World, dice: random.Random) -> None:
    with tempfile.TemporaryDirectory(prefix="relay-cut-", dir=MEMORY if MEMORY.is_dir() else None) as target:
        disk.cut(Path(target) / "home", dice)
        asyncio.run(look(Path(target) / "home" / "data", at, found, world))
    found.cuts += 1
    found.accepted += len(world.answered)


def look_at_copy(data: Path, found: Found, world: World, *, at: int = 0) -> None:
    """The same for a copy of the folder."""
    with tempfile.TemporaryDirectory(prefix="relay-copy-") as target:
        copy = Path(shutil.copytree(data, Path(target) / "data", ignore=shutil.ignore_patterns("*.sock")))
        asyncio.run(look(copy, at, found, world))


async def look(data: Path, at: int, found: Found, world: World) -> None:
    """Opens the queue as the relay does and notes what is there."""
    begun = time.monotonic()
    try:
        store = await SqliteStore.open(
            data / "queue.db", data / "spool", stored=lambda *_: None, committed=lambda *_: None
        )
    except (StoreBroken, OSError) as error:
        found.broken.append((at, repr(error)))
        return
    found.opened_s = max(found.opened_s, time.monotonic() - begun)
    try:
        tally = await store.tally()
        if tally.gap:
            found.gaps.append((at, tally.gap))
        queued = await _queued(store, at, found)
    finally:
        await store.close()
    found.lost += [(at, number) for number in world.answered - queued - world.delivered]
    found.again = max(found.again, len(queued & world.delivered))
    with closing(sqlite3.connect(data / "queue.db")) as database:
        if (said := database.execute("PRAGMA integrity_check").fetchone()[0]) != "ok":
            found.broken.append((at, said))


async def _queued(store: SqliteStore, at: int, found: Found) -> set[str]:
    """The numbers of what waits; every body is read."""
    queued = set()
    places = await store.due("transactional", (float("-inf"), "", 0), float("inf"), 1_000_000)
    for id_ in {place.message for place in places}:
        stored = await store.load(id_)
        assert stored is not None
        content = stored.message.content
        named = NUMBER.search(content.header + b"\r\n")
        assert named is not None
        number = named[1].decode()
        queued.add(number)
        if not _whole(content, number):
            found.torn.append((at, number))
    return queued


def _whole(content: Content, number: str) -> bool:
    size = LARGE if int(number.split(".")[1]) % LARGE_EVERY == 0 else SMALL
    try:
        return b"".join(content.body.chunks()) == LINE * (size // len(LINE))
    except OSError:
        return False
