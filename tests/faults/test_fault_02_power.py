"""Power cuts: whatever was answered 250 before the cut is in the queue afterwards, or was delivered before it.

One run of the real relay under load is recorded, every change of its files with the replies it sent and the
messages the receiver took in between. Then the power is cut at random places of the record, thousands of times:
each time a disk is made up of what was synced and a random part of what was not, torn and out of order
(tests/faults/disk.py), and the queue is opened on it.

The control is the same relay with `synchronous=NORMAL`. It must lose mail: else the cuts prove nothing.
"""

import asyncio
import os
import random
import shutil
import sqlite3
import sys
import tempfile
import time
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from relay.core.content import Content
from relay.queue.sqlite import SqliteStore
from tests.faults.disk import Disk
from tests.faults.faulty import under_faults
from tests.faults.load import LARGE, LINE, NUMBER, SMALL, Client, Load
from tests.faults.trace import Marker, Op, read
from tests.peers.place import wait_for

pytestmark = pytest.mark.peers
CUTS = int(os.environ.get("RELAY_FAULTS_CUTS", "150"))
CONTROL_CUTS = max(40, CUTS // 10)
MESSAGES, BURSTS, CLIENTS, CONNECTIONS = 40, 3, 4, 10


@dataclass
class Found:
    """What the cuts came to."""

    cuts: int = 0
    accepted: int = 0
    lost: list[tuple[int, str]] = field(default_factory=list)
    torn: list[tuple[int, str]] = field(default_factory=list)
    gaps: list[tuple[int, int]] = field(default_factory=list)
    broken: list[tuple[int, str]] = field(default_factory=list)
    again: int = 0  # delivered before the cut, and queued after it: the most of any cut
    opened_s: float = 0.0


def recorded(relay, receive, *, command=None):
    """(the relay that is gone, id by number): one run from an empty folder to a clean stop, with idle moments in
    which the log of the queue is written back."""
    server = receive(10, {"dot": (b"250 2.0.0 Ok\r\n" for _ in iter(lambda: told(server), None))})
    one = relay(provider={"connections": CONNECTIONS}, started=False)
    faults = under_faults(one, traced=True)
    shutil.rmtree(one.home / "data")  # the folder is made in the record, too
    one.command = command or one.command
    marker = Marker(faults.trace)

    def told(server):
        marker.mark("delivered", NUMBER.search(server.seen.messages[-1].data)[1].decode())
        return True

    one.start()
    answered = {}
    for burst in range(BURSTS):
        clients = [Client(one, f"b{burst}c{n}", large_every=7) for n in range(CLIENTS)]
        for client in clients:
            client.most = MESSAGES // CLIENTS * (burst + 1)
        with Load(clients) as load:
            load.join()
        answered |= load.answered
        one.idle()
        synced = faults.syncs
        wait_for(lambda: faults.syncs > synced, "the log of the queue is written back", 5)  # noqa: B023
    one.stop()
    marker.close()
    return faults, answered


def cut_often(faults, ids, cuts, dice):
    """The power fails at so many places of the record."""
    records = list(read(faults.trace))
    first = next(at for at, record in enumerate(records) if record.op is Op.MARK)
    places = sorted(dice.choices(range(first // 2, len(records)), k=cuts))  # some before the first message
    disk, found = Disk(faults.root), Found()
    answered, delivered = set(), set()
    numbers = {id_: number for number, id_ in ids.items()}
    for at, record in enumerate(records):
        while places and places[0] == at:
            places.pop(0)
            with tempfile.TemporaryDirectory(prefix="relay-cut-", dir="/dev/shm") as target:
                disk.cut(Path(target) / "home", dice)
                asyncio.run(look(Path(target) / "home" / "data", at, found, numbers, answered, delivered))
            found.cuts += 1
            found.accepted += len(answered)
        if record.op is not Op.MARK:
            disk.take(record)
        elif record.path == "answered":
            answered.add(numbers[record.data.decode()])
        else:
            delivered.add(record.data.decode())
    assert len(answered) == len(ids)
    return found


async def look(data, at, found, numbers, answered, delivered):
    """Opens the queue as the relay does and counts what is there."""
    begun = time.monotonic()
    try:
        store = await SqliteStore.open(
            data / "queue.db", data / "spool", stored=lambda *_: None, committed=lambda *_: None
        )
    except Exception as error:
        found.broken.append((at, repr(error)))
        return
    try:
        found.opened_s = max(found.opened_s, time.monotonic() - begun)
        tally = await store.tally()
        if tally.gap:
            found.gaps.append((at, tally.gap))
        queued = set()
        for id_ in {place.message for place in await store.due("transactional", (-1e9, "", 0), 1e12, 100_000)}:
            stored = await store.load(id_)
            number = NUMBER.search(stored.message.content.header + b"\r\n")[1].decode()
            queued.add(number)
            if not whole(stored.message.content, number):
                found.torn.append((at, number))
        found.torn += [(at, numbers.get(id_, id_)) for id_ in store.swept[1]]
    finally:
        await store.close()
    found.lost += [(at, number) for number in answered - queued - delivered]
    found.again = max(found.again, len(queued & delivered))
    with closing(sqlite3.connect(data / "queue.db")) as database:
        if (said := database.execute("PRAGMA integrity_check").fetchone()[0]) != "ok":
            found.broken.append((at, said))


def whole(content: Content, number: str) -> bool:
    size = LARGE if int(number.split(".")[1]) % 7 == 0 else SMALL
    try:
        return b"".join(content.body.chunks()) == LINE * (size // len(LINE))
    except OSError:
        return False


@pytest.mark.slow
@pytest.mark.timeout(200 + CUTS)
def test_a_power_cut_loses_nothing(relay, receive, note):
    dice = random.Random()
    faults, ids = recorded(relay, receive)
    found = cut_often(faults, ids, CUTS, dice)
    note("2 power cuts", rounds=found.cuts, accepted=found.accepted, lost=len(found.lost), twice=found.again,
         again_s=f"{found.opened_s:.2f}", more=f"one run of {len(ids)} messages; twice: the most of one cut")
    assert not found.broken
    assert not found.lost
    assert not found.torn
    assert not found.gaps
    assert found.again <= 2 * CONNECTIONS  # each may have said 250 to one and be busy with the next
    assert found.opened_s < 5


@pytest.mark.slow
@pytest.mark.timeout(200 + CUTS)
def test_the_control_loses_mail(relay, receive, note):
    faults, ids = recorded(relay, receive, command=[sys.executable, str(Path(__file__).parent / "normal.py")])
    found = cut_often(faults, ids, CONTROL_CUTS, random.Random())
    note("2 the control: synchronous=NORMAL", rounds=found.cuts, accepted=found.accepted, lost=len(found.lost),
         twice=found.again, more="must lose")
    assert found.lost
