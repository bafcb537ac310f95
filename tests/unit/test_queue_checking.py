"""A check of the queue finds every kind of trouble, names message and remedy, and changes nothing."""

import contextlib
import sqlite3

import pytest

from relay.core.content import MemoryBody
from relay.queue.checking import check
from relay.queue.problems import REMEDIES
from relay.queue.store import End, Settlement, StoreBroken
from tests.unit.test_queue_store import NOW, message, opened, run, spooled

LARGE = b"x" * 300_000 + b"\r\n"
QUICK = {"gap", "no-message", "no-recipient", "no-message-ended", "state", "due", "body-missing", "body-size", "orphan"}


async def filled(folder):
    async with opened(folder) as store:
        await store.put(message("m1", "a@example.net", "b@example.net", "c@example.net"))
        await store.put(message("m2", body=spooled(store, LARGE)))
        await store.put(message("m3", held=True, stream="marketing"))
        await store.put(message("m4", due_at=NOW + 90 * 86400, stream="later"))  # X-Relay-Send-At
        await store.settle([Settlement("m1", 0, 1, End.DELIVERED), Settlement("m1", 1, 1, None, NOW + 60, "451")])


def found(folder, *, full=True, live=False):
    return check(folder / "queue.db", folder / "spool", full=full, live=live)


@contextlib.contextmanager
def hand(folder):
    """Somebody's hand in the file."""
    connection = sqlite3.connect(folder / "queue.db", isolation_level=None)
    connection.execute("PRAGMA ignore_check_constraints=1")
    yield connection
    connection.close()


def test_a_sound_queue_has_no_exceptions(tmp_path):
    run(filled(tmp_path))
    before = (tmp_path / "queue.db").read_bytes()
    for full in (False, True):
        seen = found(tmp_path, full=full)
        assert (seen.problems, seen.notes, seen.unclean, seen.messages) == ((), (), False, 4)
        plain = seen.as_dict()
        assert (plain["accepted"], plain["queued"], plain["held"], plain["gap"]) == (6, 4, 1, 0)
    assert (tmp_path / "queue.db").read_bytes() == before


@pytest.mark.parametrize(
    ("sql", "kinds", "named"),
    [
        ("UPDATE tally SET n = n + 1 WHERE name = 'accepted'", ["gap"], ""),
        ("DELETE FROM recipient WHERE message = 'm1' AND idx = 2", ["gap", "sum"], "m1"),
        ("DELETE FROM message WHERE id = 'm3'", ["no-message", "stock"], "m3"),
        ("DELETE FROM recipient WHERE message = 'm3'", ["gap", "no-recipient", "sum"], "m3"),
        ("INSERT INTO ended VALUES ('m9', 1)", ["no-message-ended"], "m9"),
        ("UPDATE ended SET n = 2", ["sum"], "m1"),
        ("UPDATE recipient SET lost = 1 WHERE message = 'm3'", ["state"], "m3"),
        ("UPDATE recipient SET attempts = -1 WHERE message = 'm3'", ["state"], "m3"),
        ("UPDATE recipient SET due_at = 9e999 WHERE message = 'm3'", ["due"], "m3"),
        ("UPDATE recipient SET due_at = 0 WHERE message = 'm3'", ["due"], "m3"),
        ("UPDATE message SET body = NULL WHERE id = 'm1'", ["body-missing"], "m1"),
        ("UPDATE message SET body = x'00' WHERE id = 'm1'", ["body-size"], "m1"),
        ("UPDATE message SET body = CAST('hellO' || x'0d0a' AS BLOB) WHERE id = 'm1'", ["body-changed"], "m1"),
        ("UPDATE message SET body_size = 5 WHERE id = 'm2'", ["body-size"], "m2"),
        ("UPDATE state SET value = '[7,7]' WHERE kind = 'stock' AND key = 'marketing'", ["stock"], ""),
    ],
)
def test_every_kind_of_trouble_in_the_file(tmp_path, sql, kinds, named):
    run(filled(tmp_path))
    with hand(tmp_path) as database:
        assert database.execute(sql).rowcount == 1
    seen = found(tmp_path)
    assert sorted(one.kind for one in seen.problems) == kinds
    assert all(one.message in (named, "") and one.remedy for one in seen.problems)
    assert named in {one.message for one in seen.problems}
    assert "{" not in "".join(map(str, seen.problems))
    quick = [one.kind for one in found(tmp_path, full=False).problems]
    bodies = {"m1"} & {named} and {"body-missing", "body-size"}
    assert sorted(quick) == [one for one in kinds if one in QUICK and not (bodies and one in bodies)]


def test_every_kind_of_trouble_in_the_spool(tmp_path):
    run(filled(tmp_path))
    file = tmp_path / "spool" / "m2"
    file.write_bytes(LARGE[:-1] + b"?")
    assert [(one.kind, one.message) for one in found(tmp_path).problems] == [("body-changed", "m2")]
    file.write_bytes(LARGE[:-1])
    assert [(one.kind, one.message) for one in found(tmp_path, full=False).problems] == [("body-size", "m2")]
    file.unlink()
    assert [(one.kind, one.message) for one in found(tmp_path, full=False).problems] == [("body-missing", "m2")]
    file.write_bytes(LARGE)
    (tmp_path / "spool" / "m9").write_bytes(b"?")
    assert [(one.kind, one.message) for one in found(tmp_path).problems] == [("orphan", "m9")]
    assert found(tmp_path, live=True).problems == ()  # its row may be on its way


def test_what_a_kill_leaves_is_a_note(tmp_path):
    run(filled(tmp_path))
    with hand(tmp_path) as database:
        database.execute("DELETE FROM state WHERE kind = 'run'")
    (tmp_path / "spool" / "m9").write_bytes(b"?")
    (tmp_path / "spool" / "tmp" / "in-1").write_bytes(b"?")
    seen = found(tmp_path)
    assert (seen.problems, seen.unclean, len(seen.notes)) == ((), True, 2)


def test_a_damaged_page_is_found_in_full(tmp_path):
    run(filled(tmp_path))
    with hand(tmp_path) as database:
        root = database.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'recipient_part'").fetchone()[0]
        size = database.execute("PRAGMA page_size").fetchone()[0]
    with (tmp_path / "queue.db").open("r+b") as file:
        file.seek((root - 1) * size + 8)
        file.write(bytes(64))
    assert "file" in {one.kind for one in found(tmp_path).problems}


def test_what_cannot_be_read_is_said(tmp_path):
    with pytest.raises(StoreBroken, match=r"queue\.db cannot be read"):
        found(tmp_path)
    run(filled(tmp_path))
    with hand(tmp_path) as database:
        database.execute("PRAGMA user_version=2")
    with pytest.raises(StoreBroken, match="start the newer relay"):
        found(tmp_path)


def test_mail_that_comes_and_goes_meanwhile_is_no_exception(tmp_path):
    async def scenario():
        import asyncio

        async with opened(tmp_path) as store:
            async def work(name):
                for number in range(40):
                    id_ = f"{name}{number}"
                    body = spooled(store, LARGE) if number % 4 == 0 else MemoryBody(b"hello\r\n")
                    await store.put(message(id_, "a@example.net", "b@example.net", body=body))
                    await store.settle([Settlement(id_, 0, 1, End.DELIVERED)])
                    await store.settle([Settlement(id_, 1, 1, End.DELIVERED)])

            working = [asyncio.create_task(work(name)) for name in "abcd"]
            seen = []
            while not all(one.done() for one in working):
                seen.append(await store.check(full=True))
            await asyncio.gather(*working)
            assert len(seen) > 1
            assert [str(problem) for one in seen for problem in one.problems] == []
            assert {one.tally.gap for one in seen} == {0}

    run(scenario())


def test_every_problem_has_its_remedy_and_its_entry():
    import pathlib

    text = (pathlib.Path(__file__).parents[2] / "docs" / "accounting.md").read_text()
    assert all(f"`{kind}`" in text for kind in REMEDIES)


def test_an_unclean_stop_is_noticed_once(tmp_path):
    async def scenario():
        async with opened(tmp_path) as store:
            assert store.unclean is False  # a new queue
            await store.put(message("m1"))
        async with opened(tmp_path) as store:
            assert store.unclean is False
            copy = (tmp_path / "queue.db").read_bytes(), (tmp_path / "queue.db-wal").read_bytes()
        dead = tmp_path / "dead"
        dead.mkdir()
        for name, data in zip(("queue.db", "queue.db-wal"), copy, strict=True):
            (dead / name).write_bytes(data)
        async with opened(dead) as store:
            assert store.unclean is True
        async with opened(dead) as store:
            assert store.unclean is False

    run(scenario())
