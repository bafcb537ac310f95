"""The figures of the stock are those of the queue, at every moment and after a crash."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from relay.core.content import Content, MemoryBody
from relay.core.envelope import Envelope, Recipient
from relay.core.message import Prepared
from relay.queue.opening import migrate
from relay.queue.operating import remove_recipients
from relay.queue.spool import Spool
from relay.queue.statements import statements
from relay.queue.stock import KIND, load
from relay.queue.store import End, Filter, Settlement
from relay.queue.writing import Group, write_group


class NoSpool(Spool):
    def __init__(self) -> None:
        self.folder = Path()

    def keep(self, bodies) -> None:
        assert not bodies

    def remove(self, ids) -> None:
        assert not ids


def prepared(id_: str, stream: str, recipients: int, size: int) -> Prepared:
    people = tuple(Recipient(f"{n}@a.example") for n in range(recipients))
    content = Content(b"Subject: x\r\n", MemoryBody(b"x" * size))
    return Prepared(id_, 1.0, 1.0, Envelope("s@b.example", people), "", stream, "pool", "route", content=content)


def opened() -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    migrate(connection)
    return connection


def truth(connection: sqlite3.Connection) -> dict[str, tuple[int, int]]:
    return {stream: (n, size) for stream, n, size in connection.execute(statements()["count_stock"])}


steps = st.lists(st.tuples(st.sampled_from(["put", "deliver", "cancel"]), st.sampled_from("ab"), st.integers(1, 3)))


@given(steps)
def test_it_is_what_lies_there(actions):
    connection = opened()
    stock, ids = load(connection), []
    for number, (action, stream, count) in enumerate(actions):
        if action == "cancel":
            stock.move(remove_recipients(connection, which=Filter(stream=stream), now=2.0)[2])
        else:
            group = Group()
            if action == "put":
                group.puts = [prepared(f"m{number}", stream, count, 100 * count)]
                ids.append(f"m{number}")
            else:
                group.settlements = [Settlement(id_, count - 1, 1, End.DELIVERED) for id_ in ids[:3]]
            write_group(connection, spool=NoSpool(), group=group)
            stock.move(group.moved)
        there = truth(connection)
        assert {stream: held for stream, held in stock.held.items() if held != (0, 0)} == there
        assert {stream: held for stream, held in load(connection).held.items() if held != (0, 0)} == there


def test_a_queue_of_an_older_relay_is_counted_once():
    connection = opened()
    write_group(connection, spool=NoSpool(), group=Group([prepared("m1", "a", 2, 500), prepared("m2", "b", 1, 50)]))
    connection.execute("DELETE FROM state WHERE kind = ?", (KIND,))
    assert load(connection).held == truth(connection)
    assert load(connection).held == truth(connection)


def test_room_that_is_left_in_the_file():
    connection = opened()
    write_group(connection, spool=NoSpool(), group=Group([prepared("m1", "a", 1, 90_000)]))
    assert load(connection).reusable == 0
    remove_recipients(connection, which=Filter(), now=2.0)
    assert load(connection).reusable >= 90_000
