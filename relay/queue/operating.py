"""What operators change in the queue: hold, release, retry, cancel; each inside one transaction."""

from __future__ import annotations

import sqlite3

from relay.queue.filters import CHANGE, FIND, where
from relay.queue.rows import operator_row
from relay.queue.stock import Moved, record
from relay.queue.store import BRAKE_NOTE, End, Filter, Row
from relay.queue.writing import count, drop

UPDATE = f"UPDATE recipient SET {{change}} WHERE state = ? AND (message, idx) IN ({CHANGE})"  # noqa: S608 (fixed texts)


def hold(connection: sqlite3.Connection, *, which: Filter, now: float, note: str) -> int:
    """Queued to held; a `note` takes the place of the last answer."""
    clause, values = where(which, now)
    sql = UPDATE.format(change="state = 'held', last = CASE ? WHEN '' THEN last ELSE ? END", where=clause)
    return connection.execute(sql, (note, note, "queued", *values)).rowcount


def release(connection: sqlite3.Connection, *, which: Filter, now: float) -> int:
    """Held to queued, due `now`, or when it is to be sent; the note of a brake goes."""
    clause, values = where(which, now)
    change = "state = 'queued', due_at = MAX(?, received_at), last = CASE WHEN last GLOB ? THEN '' ELSE last END"
    sql = UPDATE.format(change=change, where=clause)
    return connection.execute(sql, (now, f"{BRAKE_NOTE}*", "held", *values)).rowcount


def reschedule(connection: sqlite3.Connection, *, which: Filter, now: float) -> int:
    """Makes queued recipients due `now`."""
    clause, values = where(which, now)
    sql = UPDATE.format(change="due_at = ?", where=clause)
    return connection.execute(sql, (now, "queued", *values)).rowcount


def remove_recipients(
    connection: sqlite3.Connection, *, which: Filter, now: float
) -> tuple[list[Row], list[str], Moved]:
    """Deletes recipients and counts them as cancelled; returns who they were, the messages whose spool file
    may go once this is committed, and what left the queue."""
    clause, values = where(which, now)
    rows = [operator_row(row) for row in connection.execute(FIND.format(where=clause), (*values, -1))]
    connection.executemany(
        "DELETE FROM recipient WHERE message = ? AND idx = ?", [(row.message, row.index) for row in rows]
    )
    count(connection, {End.CANCELLED.value: len(rows)})
    moved: Moved = {}
    unspooled = drop(connection, dict.fromkeys(row.message for row in rows), moved)
    record(connection, moved)
    return rows, unspooled, moved
