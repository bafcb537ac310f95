"""The store's contract, told to every back end. Files, no sockets, no sleeps."""

import asyncio
import contextlib
import sqlite3
from functools import partial

import pytest

from relay.core.content import Content, MemoryBody
from relay.core.envelope import Envelope, Recipient
from relay.core.message import Prepared
from relay.core.waiting import START
from relay.queue.opening import PAGE_BYTES, damage, open_writer
from relay.queue.sqlite import SqliteStore
from relay.queue.statements import statements
from relay.queue.store import End, Filter, Settlement, StoreBroken, StoreBusy

NOW = 1_795_000_000.0


def message(id_: str = "m1", *recipients: str, **more) -> Prepared:
    sender = more.pop("sender", "shop@example.com")
    body = more.pop("body", MemoryBody(b"hello\r\n"))
    names = recipients or ("a@example.net",)
    envelope = Envelope(
        sender, tuple(Recipient(name, frozenset({"FAILURE"}), f"rfc822;{name}") for name in names),
        "8BITMIME", False, "HDRS", "envelope+2Bid",
    )  # fmt: skip
    fields = {"stream": "transactional", "pool": "main", "route": "all", "due_at": NOW, "received_at": NOW} | more
    return Prepared(
        id=id_, envelope=envelope, return_path=sender, content=Content(b"Subject: x\r\n", body), **fields
    )


@contextlib.asynccontextmanager
async def opened(folder, stored=lambda message, places: None, committed=lambda seconds, count: None):
    store = await SqliteStore.open(folder / "queue.db", folder / "spool", stored=stored, committed=committed)
    try:
        yield store
    finally:
        await store.close()


def spooled(store: SqliteStore, data: bytes):
    writer = store.spool.writer()
    writer.write(data)
    return writer.finish()


def run(scenario):
    return asyncio.run(scenario)


def test_what_was_put_is_there_after_a_restart(tmp_path):
    async def scenario():
        async with opened(tmp_path) as store:
            await store.put(message("m1", "a@example.net", "b@example.org", tags={"campaign": "spring"}))
        async with opened(tmp_path) as store:
            found = await store.load("m1")
            assert found is not None
            assert found.message.envelope == message("m1", "a@example.net", "b@example.org").envelope
            assert found.message.tags == {"campaign": "spring"}
            assert b"".join(found.message.content.chunks()) == b"Subject: x\r\n\r\nhello\r\n"
            assert [one.address for one in await store.due("transactional", START, NOW, 10)] == [
                "a@example.net", "b@example.org",
            ]  # fmt: skip
            assert await store.streams() == ["transactional"]
            assert await store.oldest() == {"transactional": NOW}

    run(scenario())


def test_a_group_is_one_commit_and_every_put_is_told_once(tmp_path):
    async def scenario():
        groups, told = [], []
        async with opened(
            tmp_path, stored=lambda one, places: told.append((one.id, len(places))),
            committed=lambda seconds, count: groups.append(count),
        ) as store:  # fmt: skip
            await asyncio.gather(*(store.put(message(f"m{n}")) for n in range(50)))
        assert sum(groups) == 50
        assert len(groups) <= 3
        assert sorted(told) == sorted((f"m{n}", 1) for n in range(50))

    run(scenario())


def test_a_put_whose_sender_went_away_is_stored_all_the_same(tmp_path):
    async def scenario():
        told = []
        async with opened(tmp_path, stored=lambda one, places: told.append(one.id)) as store:
            task = asyncio.create_task(store.put(message("m1")))
            await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await store.put(message("m2"))
            assert sorted(told) == ["m1", "m2"]
            assert (await store.tally()).accepted == 2

    run(scenario())


def test_a_delivered_recipient_is_gone_and_counted_once_however_often_it_is_said(tmp_path):
    async def scenario():
        async with opened(tmp_path) as store:
            await store.put(message("m1", "a@example.net", "b@example.net"))
            done = Settlement("m1", 0, 1, End.DELIVERED)
            await store.settle([done, done])
            await store.settle([done])
            tally = await store.tally()
            assert (tally.accepted, tally.ends["delivered"], tally.queued, tally.gap) == (2, 1, {"transactional": 1}, 0)
            assert (await store.load("m1")).recipients.keys() == {1}
            await store.settle([Settlement("m1", 1, 1, End.BOUNCED)])
            assert await store.load("m1") is None
            assert (await store.tally()).gap == 0

    run(scenario())


def test_a_deferral_is_recorded_once_and_an_old_one_changes_nothing(tmp_path):
    async def scenario():
        async with opened(tmp_path) as store:
            await store.put(message("m1"))
            await store.settle([Settlement("m1", 0, 1, None, NOW + 60, "451 busy")])
            await store.settle([Settlement("m1", 0, 1, None, NOW + 999, "late echo")])
            [row] = await store.find(Filter(), 10)
            assert (row.attempts, row.due_at, row.last) == (1, NOW + 60, "451 busy")
            assert await store.due("transactional", START, NOW + 59, 10) == []
            [again] = await store.due("transactional", START, NOW + 60, 10)
            assert (again.attempts, again.notified) == (1, False)
            await store.settle([Settlement("m1", 0, 2, None, NOW + 120, "451 busy", delay_notified=True)])
            [third] = await store.due("transactional", START, NOW + 120, 10)
            assert (third.attempts, third.notified) == (2, True)

    run(scenario())


def test_the_backlog_is_read_in_order_page_by_page(tmp_path):
    async def scenario():
        async with opened(tmp_path) as store:
            await asyncio.gather(*(store.put(message(f"m{n}", due_at=NOW + n % 7)) for n in range(20)))
            seen, mark = [], START
            while page := await store.due("transactional", mark, NOW + 100, 6):
                seen += page
                mark = page[-1].mark
            assert seen == sorted(seen, key=lambda one: one.mark)
            assert len({one.key for one in seen}) == 20
            assert await store.due("marketing", START, NOW + 100, 6) == []

    run(scenario())


def test_a_large_body_lies_in_a_file_that_goes_with_the_message(tmp_path):
    async def scenario():
        data = b"x" * 300_000 + b"\r\n"
        async with opened(tmp_path) as store:
            await store.put(message("m1", body=spooled(store, data)))
            assert (tmp_path / "spool" / "m1").read_bytes() == data
            assert list((tmp_path / "spool" / "tmp").iterdir()) == []
        async with opened(tmp_path) as store:
            assert b"".join((await store.load("m1")).message.content.body.chunks()) == data
            await store.settle([Settlement("m1", 0, 1, End.DELIVERED)])
            assert not (tmp_path / "spool" / "m1").exists()

    run(scenario())


def test_a_start_sweeps_what_no_message_names(tmp_path):
    async def scenario():
        async with opened(tmp_path) as store:
            await store.put(message("kept", body=spooled(store, b"kept\r\n")))
            spooled(store, b"never committed")
            await store.put(message("lost", body=spooled(store, b"lost\r\n")))
        (tmp_path / "spool" / "stray").write_bytes(b"?")
        (tmp_path / "spool" / "lost").unlink()
        async with opened(tmp_path) as store:
            assert store.swept == (2, {"lost"})
            assert (tmp_path / "spool" / "kept").exists()

    run(scenario())


def test_held_mail_waits_for_its_release(tmp_path):
    async def scenario():
        async with opened(tmp_path) as store:
            await store.put(message("m1"))
            await store.put(message("m2", held=True))
            assert (await store.tally()).held == {"transactional": 1}
            assert await store.hold(Filter(message="m1")) == 1
            assert await store.hold(Filter(message="m1")) == 0
            assert await store.due("transactional", START, NOW + 9, 10) == []
            assert await store.release(Filter(), NOW + 5) == 2
            assert [one.due_at for one in await store.due("transactional", START, NOW + 9, 10)] == [NOW + 5] * 2
            assert (await store.tally()).gap == 0

    run(scenario())


def test_a_brake_releases_what_it_holds_and_nothing_else(tmp_path):
    async def scenario():
        async with opened(tmp_path) as store:
            await store.put(message("m1", credential="shop"))
            await store.put(message("m2", held=True))  # by a route
            await store.put(message("m3", held=True, held_by="brake 0a1b: bounces"))
            assert await store.hold(Filter(credential="crm"), "brake 0a1b: bounces") == 0
            assert await store.hold(Filter(credential="shop"), "brake 0a1b: bounces") == 1
            await store.settle([Settlement("m1", 0, 1, None, NOW + 60, "451 later")])  # it was under way
            note = "brake 0a1b: bounces"
            assert [row.last for row in await store.find(Filter(), 9)] == [note, "", note]
            assert (await store.load("m1")).recipients == {}  # nothing that is held can leave
            assert await store.release(Filter(note="brake 0a1b:*"), NOW) == 2
            rows = await store.find(Filter(), 9)
            assert [(row.message, row.state, row.last) for row in rows] == [
                ("m1", "queued", ""), ("m2", "held", ""), ("m3", "queued", "")
            ]  # fmt: skip
            assert await store.hold(Filter(message="m1")) == 1  # by hand: the last answer stays
            assert (await store.tally()).gap == 0

    run(scenario())


def test_mail_for_later_is_due_then_whoever_held_it_meanwhile(tmp_path):
    async def scenario():
        async with opened(tmp_path) as store:
            await store.put(message("m1", due_at=NOW + 3600))
            assert await store.due("transactional", START, NOW + 3599, 10) == []
            [place] = await store.due("transactional", START, NOW + 3600, 10)
            assert (place.due_at, place.received_at) == (NOW + 3600, NOW + 3600)
            [row] = await store.find(Filter(note="send at *"), 10)
            assert (row.received_at, row.due_at, row.last) == (NOW, NOW + 3600, "send at 2026-11-18 12:06:40 UTC")
            assert await store.hold(Filter()) == 1
            assert await store.release(Filter(), NOW + 5) == 1
            [row] = await store.find(Filter(), 10)
            assert row.due_at == NOW + 3600
            loaded = await store.load("m1")
            assert loaded.message.received_at == NOW
            await store.settle([Settlement("m1", 0, 1, None, NOW + 3700, "451 later")])
            assert await store.find(Filter(note="send at *"), 10) == []

    run(scenario())


def test_tags_with_special_characters_are_found_as_written(tmp_path):
    async def scenario():
        async with opened(tmp_path) as store:
            await store.put(message("m1", tags={"campaign": "a[b]* ÄRZTE"}))
            await store.put(message("m2", tags={"campaign": "axb ÄRZTE"}))
            found = await store.find(Filter(tag=("campaign", "A[[]b][*] ÄRZTE")), 9)
            assert [row.message for row in found] == ["m1"]

    run(scenario())


def test_a_retry_makes_deferred_mail_due_now(tmp_path):
    async def scenario():
        async with opened(tmp_path) as store:
            await store.put(message("m1"))
            await store.settle([Settlement("m1", 0, 1, None, NOW + 3600, "451")])
            assert await store.retry(Filter(domain="example.*"), NOW) == 1
            assert len(await store.due("transactional", START, NOW, 10)) == 1

    run(scenario())


def test_cancelled_mail_is_counted_and_its_file_is_gone(tmp_path):
    async def scenario():
        async with opened(tmp_path) as store:
            await store.put(message("m1", "a@example.net", "b@other.example", body=spooled(store, b"large\r\n")))
            assert [row.recipient for row in await store.cancel(Filter(domain="other.example"))] == ["b@other.example"]
            assert (tmp_path / "spool" / "m1").exists()
            assert len(await store.cancel(Filter(message="m1"))) == 1
            assert not (tmp_path / "spool" / "m1").exists()
            tally = await store.tally()
            assert (tally.ends["cancelled"], tally.gap) == (2, 0)

    run(scenario())


@pytest.mark.parametrize(
    ("which", "found"),
    [
        (Filter(), {"m1", "m2", "m3"}),
        (Filter(stream="marketing"), {"m2"}),
        (Filter(domain="EXAMPLE.net"), {"m1", "m3"}),
        (Filter(sender="shop@*"), {"m1", "m2"}),
        (Filter(sender="<>"), {"m3"}),
        (Filter(recipient="A@*"), {"m1", "m3"}),
        (Filter(tag=("campaign", "spr*")), {"m2"}),
        (Filter(tag=('x"; DROP TABLE message; --', "*")), set()),
        (Filter(state="held"), set()),
        (Filter(message="m1", stream="marketing"), set()),
        (Filter(older_than_s=1), {"m1", "m2", "m3"}),
        (Filter(younger_than_s=1), set()),
    ],
)
def test_operators_find_mail_by_any_filter(tmp_path, which, found):
    async def scenario():
        async with opened(tmp_path) as store:
            await store.put(message("m1"))
            await store.put(message("m2", "b@news.example", stream="marketing", tags={"campaign": "Spring"}))
            await store.put(message("m3", sender=""))
            assert {row.message for row in await store.find(which, 10)} == found

    run(scenario())


def test_a_queue_of_a_newer_relay_is_refused(tmp_path):
    async def scenario():
        async with opened(tmp_path):
            pass
        with contextlib.closing(sqlite3.connect(tmp_path / "queue.db")) as raw:
            raw.execute("PRAGMA user_version=99")
        with pytest.raises(StoreBroken, match="newer relay"):
            await SqliteStore.open(
                tmp_path / "queue.db", tmp_path / "spool", stored=lambda *_: None, committed=lambda *_: None
            )

    run(scenario())


def test_a_damaged_queue_is_refused_and_says_so(tmp_path):
    (tmp_path / "queue.db").write_bytes(b"this is no database, it only says so" * 500)

    async def scenario():
        with pytest.raises(StoreBroken, match=r"queue\.db"):
            await SqliteStore.open(
                tmp_path / "queue.db", tmp_path / "spool", stored=lambda *_: None, committed=lambda *_: None
            )

    run(scenario())


def test_a_closed_store_takes_nothing_and_keeps_what_waited(tmp_path):
    async def scenario():
        async with opened(tmp_path) as store:
            settled = store.settle_soon([])
            put = asyncio.create_task(store.put(message("m1")))
            await asyncio.sleep(0)
        await put
        assert settled.done()
        with pytest.raises(StoreBusy):
            await store.put(message("m2"))
        async with opened(tmp_path) as again:
            assert (await again.tally()).accepted == 1

    run(scenario())


def test_the_file_has_the_settings_that_make_it_durable(tmp_path):
    async def scenario():
        async with opened(tmp_path) as store:
            pragmas = {}
            for name in ("journal_mode", "synchronous", "page_size", "auto_vacuum", "wal_autocheckpoint"):
                async with store._writer.execute(f"PRAGMA {name}") as cursor:
                    pragmas[name] = (await cursor.fetchone())[0]
        assert pragmas == {
            "journal_mode": "wal", "synchronous": 2, "page_size": 16384, "auto_vacuum": 2, "wal_autocheckpoint": 0,
        }  # fmt: skip

    run(scenario())


def test_small_facts_outlive_a_restart_and_can_be_taken_back(tmp_path):
    async def scenario():
        async with opened(tmp_path) as store:
            await store.remember("ledger", {"a": {"until": 5}, "b": 1})
            await store.remember("ledger", {"a": {"until": 9}, "b": None})
            await store.remember("other", {"a": []})
        async with opened(tmp_path) as store:
            assert await store.recall("ledger") == {"a": {"until": 9}}
            assert await store.recall("nothing") == {}

    run(scenario())


def test_what_is_held_is_not_loaded_for_delivery(tmp_path):
    """An operator may hold a recipient whose retry is in memory already."""

    async def scenario():
        async with opened(tmp_path) as store:
            await store.put(message("m1", "a@example.net", "b@example.net"))
            await store.hold(Filter(recipient="a@*"))
            found = await store.load("m1")
            assert found is not None
            assert [one.address for one in found.recipients.values()] == ["b@example.net"]
            assert list(found.recipients) == [1]

    run(scenario())


def test_one_flow_to_one_domain_can_be_read_on_its_own(tmp_path):
    async def scenario():
        async with opened(tmp_path) as store:
            for number in range(4):
                tags = {"campaign": "autumn" if number % 2 else "winter"}
                people = (f"{number}@a.net", f"{number}@B.net")
                await store.put(message(f"m{number}", *people, credential="crm", tags=tags))
            found = await store.due("transactional", START, NOW, 10, ("b.net", "crm|autumn"))
            assert [one.address for one in found] == ["1@B.net", "3@B.net"]
            assert {one.part for one in found} == {("b.net", "crm|autumn")}
            assert await store.due("transactional", found[0].mark, NOW, 10, ("b.net", "crm|autumn")) == found[1:]
            whole = await store.due("transactional", START, NOW, 10)
            assert whole[0].flow is whole[-3].flow  # a million rows keep one text
            plans = [row[3] for name in ("due", "due_of_part") for row in await store._read(partial(_plan, name=name))]
            assert all("SEARCH recipient USING INDEX" in plan for plan in plans)

    run(scenario())


def _plan(connection, *, name):
    sql = statements()[name]
    values = ("s", 0.0, "", 0, 1.0, 5, "d", "f")[: 8 if "part" in name else 6 if name == "due" else 0]
    return connection.execute(f"EXPLAIN QUERY PLAN {sql}", values).fetchall()


def test_questions_of_a_start_and_of_the_metrics_read_no_message_and_no_recipient_but_in_an_index(tmp_path):
    """With a million in the queue each must take a fraction of a second."""
    connection = open_writer(tmp_path / "queue.db")
    scans = {
        name: {step[3] for step in _plan(connection, name=name) if step[3].startswith(("SCAN rec", "SCAN mes"))}
        for name in ("streams", "waiting", "oldest", "spooled")
    }
    due, held, lost = (f"SCAN recipient USING COVERING INDEX recipient_{name}" for name in ("due", "held", "lost"))
    spooled = "SCAN message USING INDEX message_spooled"
    assert scans == {"streams": set(), "waiting": {due, held, lost}, "oldest": {due}, "spooled": {spooled}}
    connection.close()


def test_streams_and_the_oldest_are_those_of_queued_mail(tmp_path):
    async def scenario():
        async with opened(tmp_path) as store:
            assert (await store.streams(), await store.oldest()) == ([], {})
            await store.put(message("m1", stream="news", received_at=NOW - 9, held=True))
            await store.put(message("m2", "a@x.test", "b@x.test", stream="news", received_at=NOW - 8, due_at=NOW - 8))
            await store.put(message("m3", stream="news", received_at=NOW - 7, due_at=NOW - 7))
            await store.put(message("m4", stream="codes", received_at=NOW))
            await store.put(message("m5", stream="alerts", received_at=NOW, held=True))
            assert await store.streams() == ["codes", "news"]
            assert await store.oldest() == {"codes": NOW, "news": NOW - 8}
            tally = await store.tally()
            assert (tally.queued, tally.held) == ({"codes": 1, "news": 3}, {"news": 1, "alerts": 1})

    run(scenario())


def test_room_that_mail_leaves_is_given_back(tmp_path, monkeypatch):
    monkeypatch.setattr("relay.queue.housework.KEPT_BYTES", 1 << 20)

    async def scenario():
        async with opened(tmp_path) as store:
            ids = [f"m{number:03}" for number in range(400)]
            await asyncio.gather(*(store.put(message(id_, body=MemoryBody(b"x" * 50_000))) for id_ in ids))
            await store.settle([Settlement(id_, 0, 1, End.DELIVERED) for id_ in ids])
            while store.stock.reusable > 1 << 20 or (tmp_path / "queue.db").stat().st_size > 3 << 20:
                await asyncio.sleep(0.01)
            assert (await store.tally()).gap == 0

    run(asyncio.wait_for(scenario(), 30))


def test_a_look_at_the_file_that_takes_too_long_is_ended_and_damage_that_it_finds_is_said(tmp_path):
    file = tmp_path / "queue.db"
    connection = open_writer(file)
    connection.execute("BEGIN")
    rows = [(f"m{number:06}", f"{number}" * 40) for number in range(2000)]
    connection.executemany("INSERT INTO state VALUES ('test', ?, ?)", rows)
    connection.execute("COMMIT")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    assert damage(connection) == ""
    connection.close()
    with file.open("r+b") as pages:
        pages.seek(-2 * PAGE_BYTES, 2)
        pages.write(b"\xff" * 100)
    connection = sqlite3.connect(file)
    assert damage(connection) != ""
    connection.set_progress_handler(lambda: 1, 1)  # as the timer does
    assert damage(connection) == ""
    connection.close()
