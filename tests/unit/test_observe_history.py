"""The event log as a memory: a message is found by its id, in a day's file of any size, and near midnight."""

import asyncio
import json

import pytest

from relay.core.events import Event
from relay.core.ids import message_id
from relay.observe.eventlog import EventLog
from relay.observe.history import History

NOON = 20_000 * 86400.0 + 43_200
MIDNIGHT = 20_001 * 86400.0


def name(number):
    return message_id(NOON + number, number.to_bytes(4) + b"id")


def line(event, at, **more):
    return json.dumps({"time": at, "event": event, **more}, separators=(",", ":")) + "\n"


def day(folder, lines, date="2024-10-04"):
    (folder / f"events-{date}.jsonl").write_text("".join(lines))


@pytest.fixture
def full(tmp_path):
    """A day of 3,000 messages, ten seconds of which are in disorder."""
    lines = []
    for number in range(3000):
        at = NOON + number
        lines.append(line("accepted", at + 0.3, message=name(number), stream="news", recipients=[f"a{number}@b"]))
        lines.append(line("delivered", at + 0.4 - number % 3, message=name(number), text="x" * 200))
    day(tmp_path, lines)
    return History(tmp_path)


@pytest.mark.parametrize("number", [0, 1, 1500, 2998, 2999])
def test_a_message_is_found(full, number):
    found = full.accepted(name(number))
    assert (found["message"], found["stream"], found["recipients"]) == (name(number), "news", [f"a{number}@b"])


@pytest.mark.parametrize("number", [-4000, 20, 5000])
def test_what_is_not_there_is_not_found(full, number):
    assert full.accepted(message_id(NOON + number, b"other0")) is None


def test_what_is_no_id_is_an_error(full):
    with pytest.raises(ValueError, match="substring"):
        full.accepted("!" * 19)


def test_a_message_of_midnight_is_in_the_next_days_file(tmp_path):
    id_ = message_id(MIDNIGHT - 0.5, b"123456")
    day(tmp_path, [line("reloaded", MIDNIGHT - 4)])
    day(tmp_path, [line("accepted", MIDNIGHT + 0.1, message=id_, stream="codes")], "2024-10-05")
    assert History(tmp_path).accepted(id_)["stream"] == "codes"


def test_torn_and_foreign_lines_are_stepped_over(tmp_path):
    good = line("accepted", NOON + 1, message=name(1), stream="news")
    torn = line("accepted", NOON + 2, message=name(2))[:-1]
    day(tmp_path, ["not json\n", '{"time":oops,"event":"x"}\n', "\n", good, torn])
    history = History(tmp_path)
    assert history.accepted(name(1))["stream"] == "news"
    assert history.accepted(name(2)) is None  # it is being written


def test_it_reads_no_further_than_the_message_can_be(tmp_path):
    late = line("accepted", NOON + 4000, message=name(0), stream="news")
    lines = [line("delivered", NOON + number, text="x" * 900) for number in range(3000)]
    day(tmp_path, [*lines, late])
    assert History(tmp_path).accepted(name(0)) is None


def test_it_reads_what_the_log_writes(tmp_path):
    async def story():
        log = EventLog(tmp_path, node="relay.test", keep_days=3)
        log.on_event(Event("accepted", NOON, message=name(0), stream="news", detail={"recipients": ["a@b"]}))
        log.close()

    asyncio.run(story())
    [today] = tmp_path.glob("*.jsonl")
    today.rename(tmp_path / "events-2024-10-04.jsonl")
    assert History(tmp_path).accepted(name(0))["recipients"] == ["a@b"]
