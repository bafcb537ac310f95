"""Questions to the queue file: what runs on the reading connection."""

from __future__ import annotations

import sqlite3

from relay.core.ids import STRETCH_CHARS
from relay.core.waiting import Mark, Part, Waiting
from relay.queue.filters import FIND, where
from relay.queue.rows import operator_row, stored, waiting_of
from relay.queue.spool import Spool
from relay.queue.statements import statements
from relay.queue.store import Filter, Row, Stored, Tally


def due(
    connection: sqlite3.Connection, *, stream: str, after: Mark, before: float, limit: int, only: Part | None = None
) -> list[Waiting]:
    """Queued recipients of a stream, or of one domain and flow in it, in the order of their marks."""
    sql = statements()["due_of_part" if only else "due"]
    rows = connection.execute(sql, (stream, *after, before, limit, *(only or ())))
    return [waiting_of(row) for row in rows]


def load(connection: sqlite3.Connection, *, message: str, spool: Spool) -> Stored | None:
    """One message with its queued recipients, from one snapshot; held ones are not among them."""
    connection.execute("BEGIN")
    try:
        row = connection.execute(statements()["load_message"], (message,)).fetchone()
        recipients = connection.execute(statements()["load_recipients"], (message,)).fetchall()
    finally:
        connection.execute("COMMIT")
    return None if row is None else stored(row, recipients, spool.body)


def find(connection: sqlite3.Connection, *, which: Filter, limit: int, now: float) -> list[Row]:
    """What an operator asked for, oldest first."""
    clause, values = where(which, now)
    return [operator_row(row) for row in connection.execute(FIND.format(where=clause), (*values, limit))]


def streams(connection: sqlite3.Connection) -> list[str]:
    """Streams with mail that is queued, not only held."""
    return [name for (name,) in connection.execute(statements()["streams"])]


def oldest(connection: sqlite3.Connection) -> dict[str, float]:
    """Acceptance time of each stream's oldest queued recipient."""
    return dict(connection.execute(statements()["oldest"]).fetchall())


def waiting_since(connection: sqlite3.Connection, *, stream: str, since: str) -> dict[str, int]:
    """Queued recipients of a stream by the stretch of their message's id, from a stretch on."""
    return dict(connection.execute(statements()["waiting_since"], (stream, since, STRETCH_CHARS)).fetchall())


def spooled(connection: sqlite3.Connection) -> set[str]:
    """Messages whose body is a spool file."""
    return {id_ for (id_,) in connection.execute(statements()["spooled"])}


def tally(connection: sqlite3.Connection) -> Tally:
    """The accounting from one snapshot: counters and counted rows cannot be torn apart."""
    connection.execute("BEGIN")
    try:
        return count(connection)
    finally:
        connection.execute("COMMIT")


def count(connection: sqlite3.Connection) -> Tally:
    """The same inside the caller's transaction."""
    ends = dict(connection.execute(statements()["tally"]).fetchall())
    waiting = connection.execute(statements()["waiting"]).fetchall()
    by_state = {
        state: {stream: n for stream, its_state, n in waiting if its_state == state}
        for state in ("queued", "held", "lost")
    }
    return Tally(ends.pop("accepted"), ends, by_state["queued"], by_state["held"], by_state["lost"])
