"""relay events: the log files, filtered."""

import csv
import io
import json
import os

import pytest

from relay.cli.eventfile import EventFilter, _backwards, events, last_events
from relay.cli.events import event_line, make_filter, moment_of, write_csv
from relay.cli.failure import Misused
from relay.core.events import Event

NOW = 1772366400.0  # 2026-03-01T12:00:00Z
DELIVERED = Event(
    "delivered", NOW, "06ab", "you@example.org", "transactional", "receipts", "shop@example.com",
    {"campaign": "spring"}, {"mx": "mx1.example.org", "code": 250, "enhanced": "2.0.0", "text": "queued, thanks"},
).as_dict("relay1")  # fmt: skip
BOUNCED = Event("bounced", NOW + 60, "06ac", "him@example.net", "marketing", detail={"code": 550}).as_dict("relay1")


@pytest.fixture
def folder(tmp_path):
    """Two days; the first ends in a line that a crash tore."""
    first = [json.dumps({**DELIVERED, "message": f"m{i}", "time": NOW - 86400 + i}) for i in range(5)]
    (tmp_path / "events-2026-02-28.jsonl").write_text("\n".join([*first, '{"time": 17723']))
    (tmp_path / "events-2026-03-01.jsonl").write_text("".join(json.dumps(e) + "\n" for e in (DELIVERED, BOUNCED)))
    return tmp_path


def test_every_event_in_order(folder):
    times = [row["time"] for row in events(folder, EventFilter())]
    assert len(times) == 7
    assert times == sorted(times)


def test_the_last_ones_over_two_files(folder):
    assert [row["message"] for row in last_events(folder, EventFilter(), 3)] == ["m4", "06ab", "06ac"]
    assert len(last_events(folder, EventFilter(), 100)) == 7


def test_filters(folder):
    def found(**which):
        return [row["message"] for row in events(folder, EventFilter(**which))]

    assert found(event="bounced") == ["06ac"]
    assert found(stream="market*") == ["06ac"]
    assert found(recipient="*@EXAMPLE.net") == ["06ac"]
    assert found(sender="shop@*", since=NOW) == ["06ab"]
    assert found(message="m3") == ["m3"]
    assert found(message="m3", stream="marketing") == []


def test_files_from_before_are_not_read(folder):
    old = folder / "events-2026-02-28.jsonl"
    os.utime(old, (NOW - 86000, NOW - 86000))
    old.chmod(0o000)
    if os.geteuid() == 0:
        old.unlink()
        old.mkdir()  # opening it would fail
        os.utime(old, (NOW - 86000, NOW - 86000))
    assert len(list(events(folder, EventFilter(since=NOW)))) == 2
    assert len(last_events(folder, EventFilter(since=NOW), 10)) == 2


@pytest.mark.parametrize("size", [0, 1, 65535, 65536, 65537, 200_000])
def test_lines_backwards_across_blocks(size):
    data = b"first\n" + b"x" * size + b"\nlast"
    assert list(_backwards(io.BytesIO(data))) == [b"last", b"x" * size, b"first"]


def test_a_line_for_people():
    assert event_line(DELIVERED) == (
        "2026-03-01 12:00:00Z delivered 06ab you@example.org [transactional] via mx1.example.org"
        " 250 2.0.0 queued, thanks"
    )


def test_a_line_shows_remote_text_harmless():
    assert "\x1b" not in event_line({**DELIVERED, "text": "\x1b[2J"})


def test_csv(capsys):
    write_csv([DELIVERED, BOUNCED])
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [row["event"] for row in rows] == ["delivered", "bounced"]
    assert json.loads(rows[0]["tags"]) == {"campaign": "spring"}
    assert rows[0]["text"] == "queued, thanks"
    assert rows[1]["tags"] == ""


def test_since():
    assert moment_of("1h30m", NOW) == NOW - 5400
    assert moment_of("2026-03-01", NOW) == NOW - 43200
    assert moment_of("2026-03-01T12:00", NOW) == NOW
    assert moment_of("2026-03-01T13:00+01:00", NOW) == NOW
    with pytest.raises(Misused):
        moment_of("yesterday", NOW)


def test_an_event_that_is_none():
    with pytest.raises(Misused, match="did you mean 'bounced'"):
        make_filter("bouncd", "", "", "", "", "")
