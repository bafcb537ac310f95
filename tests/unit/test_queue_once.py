"""Idempotency keys in the store: one message for each, also at the same instant and after a restart."""

import asyncio

from relay.core.message import Once
from relay.queue.store import End, Receipt, Settlement
from tests.unit.test_queue_store import NOW, message, opened, run, spooled

DAY_S = 86400.0


def keyed(id_: str, key: str = "order-17", *, digest: str = "abc", owner: str = "credential shop", at=NOW, **more):
    return message(id_, received_at=at, due_at=at, once=Once(owner, key, digest, at + DAY_S), **more)


def test_the_second_is_the_first(tmp_path):
    async def scenario():
        told = []
        async with opened(tmp_path, stored=lambda one, places: told.append(one.id)) as store:
            assert await store.put(keyed("m1")) == Receipt("m1", "stored")
            assert await store.put(keyed("m2")) == Receipt("m1", "repeat")
            assert await store.put(keyed("m3", digest="xyz")) == Receipt("m1", "conflict")
            assert await store.put(keyed("m4", owner="credential crm")) == Receipt("m4")
            assert await store.put(keyed("m5", key="order-18")) == Receipt("m5")
            assert await store.put(message("m6")) == Receipt("m6")
        async with opened(tmp_path) as store:
            assert await store.put(keyed("m7")) == Receipt("m1", "repeat")
            await store.settle([Settlement("m1", 0, 1, End.DELIVERED)])
            assert await store.put(keyed("m8")) == Receipt("m1", "repeat")  # whatever became of it
            tally = await store.tally()
            assert (tally.accepted, tally.gap) == (4, 0)
            assert store.stock.held["transactional"][0] == 3
        assert told == ["m1", "m4", "m5", "m6"]

    run(scenario())


def test_of_many_at_once_one_is_stored(tmp_path):
    async def scenario():
        groups = []
        async with opened(tmp_path, committed=lambda seconds, count: groups.append(count)) as store:
            found = await asyncio.gather(*(store.put(keyed(f"m{number}")) for number in range(20)))
            assert sorted(one.verdict for one in found) == ["repeat"] * 19 + ["stored"]
            assert {one.id for one in found} == {"m0"}
            assert sum(groups) == (await store.tally()).accepted == 1

    run(scenario())


def test_the_file_of_a_repeat_goes(tmp_path):
    async def scenario():
        async with opened(tmp_path) as store:
            await store.put(keyed("m1", body=spooled(store, b"large\r\n")))
            await store.put(keyed("m2", body=spooled(store, b"large\r\n")))
            assert sorted(entry.name for entry in (tmp_path / "spool").iterdir()) == ["m1", "tmp"]
            assert list((tmp_path / "spool" / "tmp").iterdir()) == []

    run(scenario())


def test_a_key_counts_for_its_window_and_is_forgotten_after_it(tmp_path):
    async def scenario():
        async with opened(tmp_path) as store:
            for number in range(5):
                await store.put(keyed(f"m{number}", key=f"k{number}"))
            assert (await store.put(keyed("n1", key="k0", at=NOW + DAY_S - 1))).verdict == "repeat"
            for number in range(5):
                assert (await store.put(keyed(f"o{number}", key=f"k{number}", at=NOW + DAY_S))).verdict == "stored"
            async with store._reader.execute("SELECT message FROM once ORDER BY key") as rows:
                assert [row[0] for row in await rows.fetchall()] == [f"o{number}" for number in range(5)]

    run(scenario())


def test_a_receipt_survives_any_wire():
    import json

    assert Receipt(*json.loads(json.dumps(Receipt("m1", "repeat")))) == Receipt("m1", "repeat")
    once = Once("credential shop", "k", "abc", NOW)
    assert Once(*json.loads(json.dumps(once))) == once
