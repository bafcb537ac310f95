"""Backup and restore of a queue in files: whole or not at all, held when it comes back. No sockets, no sleeps."""

import asyncio
import json
import os
import sqlite3

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.core.content import Content, MemoryBody
from relay.core.envelope import Envelope, Recipient
from relay.core.message import Prepared
from relay.queue.backup import Place, back_up
from relay.queue.leases import LEASE_S, Leases
from relay.queue.manifest import read_manifest
from relay.queue.restore import NotEmpty, restore
from relay.queue.sqlite import SqliteStore
from relay.queue.store import End, Filter, Settlement, StoreBroken

BIG = b"large body\r\n" * 50_000


def place(folder):
    return Place(folder / "queue.db", folder / "spool", folder)


def opened(folder):
    return SqliteStore.open(folder / "queue.db", folder / "spool", stored=lambda *_: None, committed=lambda *_: None)


def mail(store, number, recipients=1, *, big=False, held=False):
    body = MemoryBody(b"small\r\n")
    if big:
        writer = store.spool.writer()
        writer.write(BIG)
        body = writer.finish()
    people = tuple(Recipient(f"r{nth}@site.test") for nth in range(recipients))
    return Prepared(
        f"0m{number:017d}", 1e9 + number, 1e9 + number, Envelope("s@shop.test", people), "", "main", "main", "all",
        held=held, held_by="brake 12ab: bounces" if held else "", content=Content(b"Subject: x\r\n", body),
    )


def copied(folder, target, **settings):
    options = {"hostname": "relay.test", "keys": False, "progress": lambda *_: None, "rest": lambda _: None}
    return back_up(place(folder), target, **{**options, **settings})


def put_back(source, folder):
    folder.mkdir(exist_ok=True)
    return restore(source, place(folder), progress=lambda *_: None, own=lambda _: None)


def rows(folder):
    with sqlite3.connect(folder / "queue.db") as database:
        return database.execute("SELECT message, idx, state, last FROM recipient ORDER BY 1, 2").fetchall()


async def filled(folder):
    """Three messages, one of them spooled, one held; one recipient has been delivered. Left without a clean end,
    as a power cut would, with everything still in the log."""
    store = await opened(folder)
    await store.put(mail(store, 1, recipients=3))
    await store.put(mail(store, 2, big=True))
    await store.put(mail(store, 3, held=True))
    await store.settle([Settlement("0m" + "1".rjust(17, "0"), 1, 1, End.DELIVERED)])
    return store


def test_there_and_back(tmp_path):
    async def run():
        store = await filled(tmp_path / "a")
        manifest = copied(tmp_path / "a", tmp_path / "copy")  # of a queue in use
        await store.close()
        assert dict(manifest.figures) == {
            "accepted": 5, "delivered": 1, "bounced": 0, "expired": 0, "suppressed": 0, "cancelled": 0,
            "queued": 3, "held": 1, "messages": 3, "bodies": 1}  # fmt: skip
        done = put_back(tmp_path / "copy", tmp_path / "b")
        assert (done.held, done.were_held) == (4, 1)
        assert [(state, last) for _, _, state, last in rows(tmp_path / "b")] == [
            ("held", "restored"), ("held", "restored"), ("held", "restored"),
            ("held", "restored; before: brake 12ab: bounces")]  # fmt: skip
        again = await opened(tmp_path / "b")
        assert again.swept == (0, set())
        tally = await again.tally()
        assert (tally.gap, tally.accepted, tally.held) == (0, 5, {"main": 4})
        assert await again.recall("restored") != {}
        assert await again.release(Filter(recipient="r0@*", note="restored"), 2e9) == 2
        assert await again.release(Filter(note="restored*"), 2e9) == 2
        loaded = await again.load("0m" + "2".rjust(17, "0"))
        assert b"".join(loaded.message.content.body.chunks()) == BIG
        await again.close()
        assert {last for _, _, _, last in rows(tmp_path / "b")} == {""}

    asyncio.run(run())


def test_a_queue_that_was_not_closed_is_copied_with_its_log(tmp_path):
    async def run():
        store = await filled(tmp_path / "a")
        os.makedirs(tmp_path / "dead" / "spool")
        for name in ("queue.db", "queue.db-wal"):  # what a power cut leaves: no shared memory file
            (tmp_path / "dead" / name).write_bytes((tmp_path / "a" / name).read_bytes())
        (tmp_path / "dead" / "spool" / ("0m" + "2".rjust(17, "0"))).write_bytes(BIG)
        await store.close()

    asyncio.run(run())
    assert copied(tmp_path / "dead", tmp_path / "copy").figures["queued"] == 3


def test_bodies_of_mail_that_ends_meanwhile_stay_until_the_copy_is_made(tmp_path):
    async def run():
        store = await filled(tmp_path / "a")
        body = tmp_path / "a" / "spool" / ("0m" + "2".rjust(17, "0"))
        lease = store.spool.leases.begin()
        ended = []

        def progress(done, total):
            if not ended:  # the snapshot is taken, bodies are not copied yet
                ended.append(store.settle_soon([Settlement(body.name, 0, 1, End.DELIVERED)]))

        manifest = copied(tmp_path / "a", tmp_path / "copy", progress=progress)
        await ended[0]
        assert manifest.figures["bodies"] == 1
        assert body.exists()
        assert store.spool.leases.end(lease)
        store.spool.remove()
        assert not body.exists()
        await store.close()

    asyncio.run(run())
    assert put_back(tmp_path / "copy", tmp_path / "b").held == 4


def test_without_a_lease_a_body_that_is_gone_fails_the_copy(tmp_path):
    async def run():
        store = await filled(tmp_path / "a")
        (tmp_path / "a" / "spool" / ("0m" + "2".rjust(17, "0"))).unlink()
        with pytest.raises(StoreBroken, match=r"body of message 0m0*2 is missing"):
            copied(tmp_path / "a", tmp_path / "copy")
        await store.close()

    asyncio.run(run())
    assert [one.name for one in tmp_path.iterdir()] == ["a"], "nothing half made is left"


def test_a_copy_that_is_given_up_leaves_nothing(tmp_path):
    async def run():
        store = await filled(tmp_path / "a")
        with pytest.raises(KeyboardInterrupt):
            copied(tmp_path / "a", tmp_path / "copy", progress=lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        await store.close()

    asyncio.run(run())
    assert [one.name for one in tmp_path.iterdir()] == ["a"]


@pytest.fixture
def made(tmp_path):
    async def run():
        store = await filled(tmp_path / "a")
        (tmp_path / "a" / "dkim" / "shop.test").mkdir(parents=True)
        (tmp_path / "a" / "dkim" / "shop.test" / "r1.pem").write_bytes(b"key")
        (tmp_path / "a" / "return-path.key").write_bytes(b"k" * 32)
        copied(tmp_path / "a", tmp_path / "copy", keys=True)
        await store.close()

    asyncio.run(run())
    return tmp_path / "copy"


def test_keys_come_along_when_asked_for(made, tmp_path):
    put_back(made, tmp_path / "b")
    assert (tmp_path / "b" / "dkim" / "shop.test" / "r1.pem").read_bytes() == b"key"
    assert (tmp_path / "b" / "return-path.key").read_bytes() == b"k" * 32
    assert {one.stat().st_mode & 0o777 for one in made.rglob("*") if one.is_file()} == {0o600}


def test_not_onto_a_queue_and_not_onto_another_key(made, tmp_path):
    with pytest.raises(NotEmpty, match="there is a queue already"):
        put_back(made, tmp_path / "a")
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "return-path.key").write_bytes(b"other")
    with pytest.raises(NotEmpty, match="another key"):
        put_back(made, tmp_path / "b")
    assert [one.name for one in (tmp_path / "b").iterdir()] == ["return-path.key"]
    with pytest.raises(FileExistsError):
        copied(tmp_path / "a", made)


@pytest.mark.parametrize("name", ["queue.db", "spool/0m" + "2".rjust(17, "0"), "return-path.key"])
def test_a_damaged_backup_puts_nothing_in_place(made, tmp_path, name):
    data = bytearray((made / name).read_bytes())
    data[len(data) // 2] ^= 1
    (made / name).write_bytes(data)
    with pytest.raises(StoreBroken, match="damaged"):
        put_back(made, tmp_path / "b")
    assert list((tmp_path / "b").iterdir()) == []


def test_what_a_killed_restore_left_is_no_obstacle(made, tmp_path):
    (tmp_path / "b" / "restoring" / "spool").mkdir(parents=True)
    (tmp_path / "b" / "queue.db.restoring").write_bytes(b"half")
    assert put_back(made, tmp_path / "b").held == 4


@pytest.mark.parametrize(
    "change",
    [
        {"format": 2}, {"files": {}}, {"schema": 10**6}, {"more": 1}, {"figures": {"queued": 9, "held": 9}},
        {"files": {"queue.db": {"bytes": 1, "sha256": "0" * 64}, "../x": {"bytes": 1, "sha256": "0" * 64}}},
        {"files": {"queue.db": {"bytes": 1, "sha256": "0" * 64}, "dkim/../x.pem": {"bytes": 1, "sha256": "0" * 64}}},
        {"files": {"queue.db": {"bytes": "1", "sha256": "0" * 64}}}, {"files": {"queue.db": {"bytes": 1}}},
        {"files": {"queue.db": 1}}, {"files": 1},
    ],
)  # fmt: skip
def test_a_manifest_that_is_not_ours_is_refused(made, tmp_path, change):
    manifest = json.loads((made / "manifest.json").read_bytes())
    (made / "manifest.json").write_text(json.dumps({**manifest, **change}))
    with pytest.raises(StoreBroken):
        put_back(made, tmp_path / "b")
    assert list((tmp_path / "b").iterdir()) == []


JSON = st.recursive(st.none() | st.text(), st.lists).map(json.dumps).map(str.encode)


@given(text=st.binary(max_size=60) | JSON)
def test_no_manifest_crashes_the_reader(tmp_path_factory, text):
    folder = tmp_path_factory.mktemp("backup")
    (folder / "manifest.json").write_bytes(text)
    with pytest.raises(StoreBroken):
        read_manifest(folder)


def test_a_lease_nobody_renews_ends_by_itself():
    now = [0.0]
    leases = Leases(lambda: now[0])
    lease = leases.begin()
    assert leases.removable(["a"]) == set()
    now[0] = LEASE_S - 1
    assert leases.renew(lease)
    now[0] = 2 * LEASE_S - 2
    assert leases.any
    now[0] = 2 * LEASE_S
    assert not leases.any
    assert not leases.renew(lease)
    assert leases.removable(["b"]) == {"a", "b"}
    assert not leases.end(lease)


def test_bodies_stay_for_the_last_of_two_copies():
    leases = Leases(lambda: 0.0)
    one, other = leases.begin(), leases.begin()
    leases.removable(["a"])
    assert leases.end(one)
    assert leases.removable([]) == set()
    assert leases.end(other)
    assert leases.removable([]) == {"a"}
