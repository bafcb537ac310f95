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
