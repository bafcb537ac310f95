"""Many rows by one statement: as one by one, found by the index, and all or nothing."""

import pytest

from relay.core.states import Cause
from relay.queue import batch
from relay.queue.opening import open_writer


@pytest.fixture
def queue(tmp_path):
    connection = open_writer(tmp_path / "queue.db")
    yield connection
    connection.close()


def fill(connection, *, messages, each=1):
    rows = [(f"m{n:03}", 1.0, "news", "p", "r", "s@a.example", "", "", "", "", 0, "", "", "{}", 0, 10, b"h", b"b", 1, 0,
             each, None) for n in range(messages)]  # fmt: skip
    batch.insert(connection, "put_message", rows)
    people = [(row[0], idx, "b@c.example", "c.example", "", "", "news", "queued", 1.0, 1.0, "", "")
              for row in rows for idx in range(each)]  # fmt: skip
    batch.insert(connection, "put_recipient", people)
    return [(row[0], row[1]) for row in people]


def left(connection):
    return connection.execute("SELECT COUNT(*) FROM recipient").fetchone()[0]


@pytest.mark.parametrize("number", [1, 2, batch.ROWS, 2 * batch.ROWS + 3])
def test_all_end_and_their_messages_go(queue, number):
    keys = fill(queue, messages=number)
    assert batch.end(queue, Cause.DELIVER, 1, keys)
    gone = batch.drop(queue, [message for message, _ in keys])
    assert [(one.id, one.stream, one.size, one.recipients) for one in gone] == [
        (message, "news", 10, 1) for message, _ in keys
    ]
    assert queue.execute("SELECT COUNT(*) FROM message").fetchone() == (0,)


def test_a_message_stays_while_one_of_its_recipients_waits(queue):
    keys = fill(queue, messages=2, each=2)
    assert batch.end(queue, Cause.DELIVER, 1, keys[:3])
    assert [one.id for one in batch.drop(queue, ["m000", "m001"])] == ["m000"]
    assert left(queue) == 1


@pytest.mark.parametrize("number", [3, batch.ROWS + 3])
def test_one_that_may_not_end_keeps_the_others(queue, number):
    keys = fill(queue, messages=number)
    assert not batch.end(queue, Cause.DELIVER, 1, [*keys, ("gone", 0)])
    queue.execute("UPDATE recipient SET attempts = 1 WHERE message = 'm002'")
    assert not batch.end(queue, Cause.DELIVER, 1, keys)
    assert left(queue) == number
    assert batch.end(queue, Cause.DELIVER, 2, keys)


def test_rows_are_found_and_not_looked_for(queue):
    """With a million in the queue a commit must not read them."""
    for sql, values in (
        (batch._recipients("count_ending", Cause.DELIVER, 2), ["a", "b", "a", 0, "b", 0, 1]),
        (batch._recipients("end_recipients", Cause.DELIVER, 2), ["a", "b", "a", 0, "b", 0, 1]),
        (batch._messages("left_messages", 2), ["a", "b"]),
        (batch._messages("drop_messages", 2), ["a", "b"]),
    ):
        plan = [step[3] for step in queue.execute(f"EXPLAIN QUERY PLAN {sql}", values)]
        assert plan[0].startswith("SEARCH")
        assert not [step for step in plan if step.startswith(("SCAN rec", "SCAN mes", "SCAN m", "SCAN r"))]
