"""Room kept for recording deliveries; that it is enough on a full disk is shown in tests/faults."""

import asyncio
from types import SimpleNamespace

import pytest

from relay.queue import ballast as module
from relay.queue.ballast import Ballast
from relay.queue.store import StoreFull
from tests.unit.test_queue_store import message, opened

MB = 1 << 20


def disk(free, total=1 << 40):
    return lambda _: SimpleNamespace(f_bavail=free, f_blocks=total, f_frsize=1)


def test_it_is_made_once_and_stays(tmp_path, monkeypatch):
    monkeypatch.setattr(module.os, "statvfs", disk(100 * MB))
    ballast = Ballast(tmp_path / "ballast")
    assert ballast.gone
    ballast.take()
    assert not ballast.gone
    assert ballast.path.stat().st_size == module.BYTES
    assert ballast.path.stat().st_blocks * 512 >= module.BYTES
    monkeypatch.setattr(module.os, "statvfs", disk(0))
    again = Ballast(tmp_path / "ballast")
    again.take()
    assert not again.gone


def test_a_small_disk_has_a_small_one(tmp_path, monkeypatch):
    monkeypatch.setattr(module.os, "statvfs", disk(30 * MB, 40 * MB))
    Ballast(tmp_path / "ballast").take()
    assert (tmp_path / "ballast").stat().st_size == 10 * MB


def test_thrown_off_it_comes_back_when_there_is_twice_the_room(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "AGAIN_S", 0.0)
    monkeypatch.setattr(module.os, "statvfs", disk(100 * MB))
    ballast = Ballast(tmp_path / "ballast")
    ballast.take()
    assert not ballast.due()
    ballast.throw_off()
    assert (ballast.gone, ballast.due(), ballast.path.exists()) == (True, True, False)
    monkeypatch.setattr(module.os, "statvfs", disk(31 * MB))
    ballast.take()
    assert ballast.gone
    monkeypatch.setattr(module.os, "statvfs", disk(32 * MB))
    ballast.take()
    assert not ballast.gone


def test_without_it_no_mail_is_taken(tmp_path):
    async def scenario():
        async with opened(tmp_path) as store:
            store._ballast.throw_off()
            with pytest.raises(StoreFull):
                await store.put(message("m1"))
            store._ballast._looked_at = float("-inf")
            store._wake.set()
            while store._ballast.gone:
                await asyncio.sleep(0.01)
            await store.put(message("m1"))
            assert (await store.tally()).accepted == 1

    asyncio.run(scenario())
