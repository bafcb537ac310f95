"""Folders whose names are synced; that they outlive a power cut is shown in tests/faults."""

import pytest

from relay.queue.folders import make_folder, sync


def test_all_that_is_missing_is_made(tmp_path):
    make_folder(tmp_path / "a" / "b" / "c")
    make_folder(tmp_path / "a" / "b" / "c")
    assert (tmp_path / "a" / "b" / "c").is_dir()


def test_a_file_in_the_way_is_an_error(tmp_path):
    (tmp_path / "a").write_text("")
    with pytest.raises(OSError, match="a"):
        make_folder(tmp_path / "a" / "b")


def test_what_is_not_there_cannot_be_synced(tmp_path):
    with pytest.raises(FileNotFoundError):
        sync(tmp_path / "nothing")
