"""A start with a long queue: mail is taken at once, the first delivery follows soon, memory is bounded.
(The form with a million is tests/bench/million.py.)"""

import asyncio
import time

import pytest

from relay.core.content import Content, MemoryBody
from relay.core.envelope import Envelope, Recipient
from relay.core.ids import message_id
from relay.core.message import Prepared
from relay.queue.sqlite import SqliteStore
from tests.faults.form import rounds, within, workers
from tests.faults.load import message
from tests.faults.machine import processes, resident_mb

pytestmark = pytest.mark.peers
RECIPIENTS, EACH = rounds(50_000, 200_000), 20
PUTS = 500  # at once
OLD = b"Subject: news\r\n"


def queued(number, now):
    """One message as the relay stores it."""
    people = tuple(Recipient(f"p{number}.{n}@r{10 + number % 5}.receivers.test") for n in range(EACH))
    header, body = b"From: shop@shop.test\r\n" + OLD, MemoryBody(b"news\r\n" * 100)
    return Prepared(
        message_id(now + number / 1000, number.to_bytes(6)), now, now, Envelope("shop@shop.test", people),
        "shop@shop.test", "transactional", "main", "everything", content=Content(header, body),
    )  # fmt: skip


async def fill(data):
    store = await SqliteStore.open(
        data / "queue.db", data / "spool", stored=lambda *_: None, committed=lambda *_: None
    )
    now = time.time() - 60
    for first in range(0, RECIPIENTS // EACH, PUTS):
        many = range(first, min(first + PUTS, RECIPIENTS // EACH))
        await asyncio.gather(*(store.put(queued(number, now)) for number in many))
    await store.close()


@workers(short=True)
@pytest.mark.timeout(200)
def test_a_start_with_a_long_queue(relay, receive, note, workers):
    servers = [receive(10 + n) for n in range(5)]
    one = relay(started=False, stream={"retry": {"after": ["1m"], "then": "1m", "expire": "1h"}},
                config={"workers": workers})  # fmt: skip
    asyncio.run(fill(one.home / "data"))
    begun = time.monotonic()
    one.start()
    ready_s = time.monotonic() - begun
    one.send("shop@shop.test", "you@r10.receivers.test", message("new.1", 1000))
    accepting_s = time.monotonic() - begun
    one.wait(lambda: any(OLD in one.data for server in servers for one in server.accepted), "the first delivery", 30)
    first_s = time.monotonic() - begun
    peak = sum(resident_mb(pid, peak=True) for pid in set(processes(one).values()))  # shared pages with each
    note(f"12 start with {RECIPIENTS} queued recipients", workers=workers, rounds=1, accepted=RECIPIENTS + 1,
         again_s=f"{accepting_s:.2f}",
         more=f"ready after {ready_s:.2f} s, first delivery after {first_s:.2f} s, {peak:.0f} MB at most")
    assert accepting_s < within(5)
    assert first_s < within(30)
    assert peak < 400
    assert one.total("relay_accounting_gap") == 0
