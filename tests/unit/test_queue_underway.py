"""The journal of what is under way: what a process that dies at any instant leaves to the next."""

import errno
import os
import signal
import subprocess
import sys

from hypothesis import given
from hypothesis import strategies as st

from relay.queue.underway import PLACES_EACH, SLOT_BYTES, SLOTS, Mark, UnderWay, read_marks


def test_what_was_sent_taken_and_recorded(tmp_path):
    path = tmp_path / "underway"
    journal = UnderWay(path)
    assert read_marks(path) == []
    first, second = journal.sent("m1", [(0, 0)]), journal.sent("m2", [(0, 2), (5, 0)])
    assert set(read_marks(path)) == {Mark("m1", ((0, 0),), False), Mark("m2", ((0, 2), (5, 0)), False)}
    assert journal.taken(first, "m1", [(0, 0)], all_of_it=True) == first
    second = journal.taken(second, "m2", [(5, 0)], all_of_it=False)
    assert set(read_marks(path)) == {Mark("m1", ((0, 0),), True), Mark("m2", ((5, 0),), True)}
    journal.clear(first)
    assert read_marks(path) == [Mark("m2", ((5, 0),), True)]
    journal.close()
    journal.clear(second)  # the last records of a stop come late
    assert read_marks(path) == [Mark("m2", ((5, 0),), True)]
    UnderWay(path).close()
    assert read_marks(path) == []


def test_there_is_always_room(tmp_path):
    path = tmp_path / "underway"
    journal = UnderWay(path)
    many = [(nth, 999) for nth in range(100_000, 100_000 + 3 * PLACES_EACH + 1)]
    slots = [slot for number in range(SLOTS) for slot in journal.sent(f"m{number}", [(0, 0)])]
    assert len(journal.sent("large", many)) == 4
    found = read_marks(path)
    assert len(found) == SLOTS + 4
    assert sorted(place for mark in found if mark.message == "large" for place in mark.places) == many
    journal.clear(slots)
    assert {mark.message for mark in read_marks(path)} == {"large"}
    journal.close()


def test_a_full_disk_kills_nobody(tmp_path, monkeypatch, caplog):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    journal = UnderWay(tmp_path / "grows")
    monkeypatch.setattr(os, "posix_fallocate", full)
    assert all(journal.sent(f"m{number}", [(0, 0)]) for number in range(SLOTS))
    assert journal.sent("one too many", [(0, 0)]) == []
    journal.close()
    in_memory = UnderWay(tmp_path / "underway")
    in_memory.clear(in_memory.sent("m1", [(0, 0)]))
    in_memory.close()
    assert read_marks(tmp_path / "underway") == []
    assert "No space left on device" in caplog.text
    UnderWay(tmp_path / "no folder" / "underway").close()


def test_without_a_path_it_is_kept_in_memory():
    journal = UnderWay(None)
    slots = [journal.sent(f"m{number}", [(0, 0)]) for number in range(2 * SLOTS)]
    journal.clear(slots[0])
    journal.close()


@given(st.binary(max_size=3 * SLOT_BYTES), st.integers(0, SLOT_BYTES - 1), st.integers(1, 255))
def test_a_broken_journal_yields_only_whole_marks(noise, at, flip):
    """Invariant: no garbage and no bit that changed makes a mark that was not written."""
    import pathlib
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "underway"
        path.write_bytes(noise)
        assert read_marks(path) == []
        journal = UnderWay(path)
        journal.sent("m1", [(0, 0)])
        journal.close()
        whole = bytearray(path.read_bytes())
        begin = (SLOTS - 1) * SLOT_BYTES
        whole[begin + at] ^= flip
        path.write_bytes(whole)
        found = read_marks(path)
        assert found in ([], [Mark("m1", ((0, 0),), False)], [Mark("m1", ((0, 0),), True)])


def test_it_outlives_a_kill(tmp_path):
    program = (
        "import sys, pathlib, time; from relay.queue.underway import UnderWay;"
        "journal = UnderWay(pathlib.Path(sys.argv[1])); journal.sent('m1', [(0, 0)]);"
        "slots = journal.sent('m2', [(0, 0)]); journal.taken(slots, 'm2', [], all_of_it=True);"
        "print('noted', flush=True); time.sleep(60)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path / "underway")], stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    assert process.stdout.readline() == b"noted\n"
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert set(read_marks(tmp_path / "underway")) == {Mark("m1", ((0, 0),), False), Mark("m2", ((0, 0),), True)}
