"""What operators change in the queue: hold, release, retry, cancel, confirm; each inside one transaction.

The conditions come from the table of states (`queue.legal`): what it does not allow is not among the rows changed.
"""

from __future__ import annotations

import sqlite3
from collections import Counter

from relay.core.states import Cause
from relay.queue.filters import CHANGE, FIND, where
from relay.queue.legal import allowed, becomes
from relay.queue.rows import operator_row
from relay.queue.stock import Moved, record
from relay.queue.store import BRAKE_NOTE, IMPORTED, RESTORED_NOTE, End, Filter, Row
from relay.queue.writing import count, drop

UPDATE = f"UPDATE recipient SET {{change}} WHERE {{allowed}} AND (message, idx) IN ({CHANGE})"  # noqa: S608 (fixed texts)
Values = tuple[object, ...]
Chosen = tuple[str, list[object]]
ENDING = {End.CANCELLED: Cause.CANCEL, End.DELIVERED: Cause.CONFIRM}

REASONS = (f"{BRAKE_NOTE}*", f"{RESTORED_NOTE}*", f"{IMPORTED}:*")  # globs of notes that only say why mail is held
UNNOTED = f"CASE WHEN {' OR '.join(['last GLOB ?'] * len(REASONS))} THEN '' ELSE last END"


def hold(connection: sqlite3.Connection, *, which: Filter, now: float, note: str) -> int:
    """Takes what is queued out of the schedule; a `note` takes the place of the last answer."""
    change = f"{becomes(Cause.HOLD)}, last = CASE ? WHEN '' THEN last ELSE ? END"
    return _update(connection, Cause.HOLD, change, (note, note), where(which, now))


def release(connection: sqlite3.Connection, *, which: Filter, now: float) -> int:
    """Puts what is held back into the schedule, due `now` or when it is to be sent; why it was held goes: a brake, a
    restored backup, an import."""
    change = f"{becomes(Cause.RELEASE)}, due_at = MAX(?, received_at), last = {UNNOTED}"
    return _update(connection, Cause.RELEASE, change, (now, *REASONS), where(which, now))


def reschedule(connection: sqlite3.Connection, *, which: Filter, now: float) -> int:
    """Makes queued recipients due `now`."""
    return _update(connection, Cause.RETRY, "due_at = ?", (now,), where(which, now))


def _update(connection: sqlite3.Connection, cause: Cause, change: str, values: Values, chosen: Chosen) -> int:
    clause, wanted = chosen
    sql = UPDATE.format(change=change, allowed=allowed(cause), where=clause)
    return connection.execute(sql, (*values, *wanted)).rowcount


def shift(connection: sqlite3.Connection, *, seconds: float) -> None:
    """Moves every time in the queue."""
    connection.execute("UPDATE message SET received_at = received_at + ?", (seconds,))
    connection.execute("UPDATE recipient SET received_at = received_at + ?1, due_at = due_at + ?1", (seconds,))


def remove_recipients(
    connection: sqlite3.Connection, *, which: Filter, now: float, end: End = End.CANCELLED
) -> tuple[list[Row], list[str], Moved]:
    """Deletes recipients and counts their end, cancelled or delivered (where that is in doubt); returns who they
    were, the messages whose spool file may go once this is committed, and what left the queue."""
    clause, values = where(which, now)
    legal = f"({clause}) AND {allowed(ENDING[end])}"
    rows = [operator_row(row) for row in connection.execute(FIND.format(where=legal), (*values, -1))]
    connection.executemany(
        "DELETE FROM recipient WHERE message = ? AND idx = ?", [(row.message, row.index) for row in rows]
    )
    count(connection, {end.value: len(rows)})
    moved: Moved = {}
    unspooled = drop(connection, Counter(row.message for row in rows), moved)
    record(connection, moved)
    return rows, unspooled, moved
