"""A store in trouble: a full disk, a failed sync, a busy database; what was answered stays true."""

import asyncio
import errno
import sqlite3

import pytest

from relay.queue import sqlite as module
from relay.queue.store import End, Settlement, StoreBroken, StoreBusy, StoreFull
from relay.queue.writing import fault
from tests.unit.test_queue_store import message, opened, spooled


@pytest.mark.parametrize(
    ("error", "known"),
    [
        (OSError(errno.ENOSPC, "no space"), StoreFull),
        (OSError(errno.EDQUOT, "quota"), StoreFull),
        (OSError(errno.EMFILE, "too many files"), StoreBusy),
        (OSError(errno.EIO, "I/O error"), StoreBroken),
        (RuntimeError("what is this"), StoreBroken),
    ],
)
def test_every_error_has_its_class(error, known):
    assert type(fault(error)) is known


@pytest.mark.parametrize(
    ("code", "known"),
    [
        (sqlite3.SQLITE_FULL, StoreFull),
        (sqlite3.SQLITE_BUSY, StoreBusy),
        (sqlite3.SQLITE_IOERR_FSYNC, StoreBroken),
        (sqlite3.SQLITE_CORRUPT, StoreBroken),
    ],
)
def test_every_sqlite_error_has_its_class(code, known):
    error = sqlite3.OperationalError("?")
    error.sqlite_errorcode = code
    assert type(fault(error)) is known


def test_a_full_disk_refuses_mail_keeps_settlements_and_recovers_by_itself(tmp_path):
    async def scenario():
        async with opened(tmp_path) as store:
            await store.put(message("m1"))
            async with store._writer.execute("PRAGMA max_page_count=1") as cursor:
                pages = (await cursor.fetchone())[0]
            async with store._writer.execute(f"PRAGMA max_page_count={pages}"):
                pass
            large = spooled(store, b"z" * 200_000)
            big = message("m2", body=type(message().content.body)(b"x" * 90_000 + b"\r\n"))
            refused = asyncio.create_task(store.put(big))
            settled = store.settle_soon([Settlement("m1", 0, 1, End.DELIVERED)])
            with pytest.raises(StoreFull):
                await store.put(message("m3", sender="x" * 90_000, body=large))
            with pytest.raises(StoreFull):
                await refused
            assert [entry.name for entry in (tmp_path / "spool").iterdir()] == ["tmp"]
            await settled
            tally = await store.tally()
            assert (tally.accepted, tally.ends["delivered"], tally.gap) == (1, 1, 0)
            assert store.unhealthy_reason() == ""
            async with store._writer.execute("PRAGMA max_page_count=1000000"):
                pass
            await store.put(big)
            assert (await store.tally()).accepted == 2

    asyncio.run(scenario())


def test_after_a_failed_sync_nothing_is_accepted_any_more(tmp_path, monkeypatch):
    def failing(connection, *, spool, group):
        raise fault(OSError(errno.EIO, "Input/output error"))

    async def scenario():
        async with opened(tmp_path) as store:
            await store.put(message("m1"))
            monkeypatch.setattr(module, "write_group", failing)
            with pytest.raises(StoreBroken):
                await store.put(message("m2"))
            assert "Input/output" in store.unhealthy_reason()
            with pytest.raises(StoreBroken):
                await store.put(message("m3"))
            await asyncio.wait([store.committer])
            assert isinstance(store.committer.exception(), StoreBroken)

    asyncio.run(scenario())
    monkeypatch.undo()

    async def after():
        async with opened(tmp_path) as store:
            assert (await store.tally()).accepted == 1

    asyncio.run(after())


def test_when_the_disk_fails_everyone_who_waits_is_told_also_who_came_meanwhile(tmp_path, monkeypatch):
    """A client without an answer keeps its session, and a session keeps the relay from stopping."""

    async def scenario():
        async with opened(tmp_path) as store:
            started, go = asyncio.Event(), asyncio.Event()

            async def fails(database, work):
                started.set()
                await go.wait()
                raise StoreBroken("input/output error")

            monkeypatch.setattr(module, "hop", fails)
            first = asyncio.create_task(store.put(message("m1")))
            await started.wait()
            later = asyncio.create_task(store.put(message("m2")))
            await asyncio.sleep(0)
            go.set()
            answers = await asyncio.wait_for(asyncio.gather(first, later, return_exceptions=True), 5)
            assert [type(one) for one in answers] == [StoreBroken, StoreBroken]
            assert store.unhealthy_reason()
            monkeypatch.undo()

    asyncio.run(scenario())


def test_a_listener_that_fails_stops_the_queue_but_what_is_durable_is_answered(tmp_path):
    async def scenario():
        def told(one, places):
            raise RuntimeError("a fault of ours")

        async with opened(tmp_path, stored=told) as store:
            await asyncio.wait_for(asyncio.gather(store.put(message("m1")), store.put(message("m2"))), 5)
            await asyncio.wait([store.committer], timeout=5)
            assert "a fault of ours" in store.unhealthy_reason()
            with pytest.raises(StoreBroken):
                await store.put(message("m3"))

    asyncio.run(scenario())


def test_a_stop_does_not_wait_for_room_on_a_full_disk(tmp_path, monkeypatch):
    """The attempt is not recorded, so the message goes once more: rare, and better than a stop that hangs."""

    def full(connection, *, spool, group):
        raise fault(OSError(errno.ENOSPC, "No space left on device"))

    async def scenario():
        async with asyncio.timeout(10), opened(tmp_path) as store:
            await store.put(message("m1"))
            monkeypatch.setattr(module, "write_group", full)
            store.settle_soon([Settlement("m1", 0, 1, End.DELIVERED)])
        monkeypatch.undo()
        async with opened(tmp_path) as again:
            assert (await again.tally()).queued == {"transactional": 1}

    asyncio.run(scenario())
