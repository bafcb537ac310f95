"""What operators change in the queue: hold, release, retry, cancel; each inside one transaction."""

from __future__ import annotations

import sqlite3

from relay.queue.filters import CHANGE, FIND, where
from relay.queue.rows import operator_row
from relay.queue.stock import Moved, record
from relay.queue.store import End, Filter, Row
from relay.queue.writing import count, drop

UPDATE = f"UPDATE recipient SET {{change}} WHERE state = ? AND (message, idx) IN ({CHANGE})"  # noqa: S608 (fixed texts)


def change_state(connection: sqlite3.Connection, *, which: Filter, state: str, now: float) -> int:
    """Queued to held or back; what comes back is due `now`."""
    clause, values = where(which, now)
    was = "held" if state == "queued" else "queued"
    change = "state = ?, due_at = MAX(?, due_at)" if state == "held" else "state = ?, due_at = ?"
    sql = UPDATE.format(change=change, where=clause)
    return connection.execute(sql, (state, now if state == "queued" else 0.0, was, *values)).rowcount


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
