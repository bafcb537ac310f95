"""Whether the last process closed the queue in order: a mark that is there while nobody has the queue open."""

from __future__ import annotations

import sqlite3

from relay.queue.statements import statements

KIND, KEY = "run", "closed"


def begin(connection: sqlite3.Connection) -> bool:
    """Takes the mark away inside the caller's transaction; True when it was missing and there had been mail."""
    closed = connection.execute(statements()["forget"], (KIND, KEY)).rowcount == 1
    return not closed and _used(connection)


def finish(connection: sqlite3.Connection) -> None:
    """Sets the mark inside the caller's transaction: everything is written."""
    connection.execute(statements()["remember"], (KIND, KEY, "true"))


def unclosed(connection: sqlite3.Connection) -> bool:
    """Whether the mark is missing though there has been mail; changes nothing."""
    mark = connection.execute(statements()["recall"], (KIND,)).fetchone()
    return mark is None and _used(connection)


def _used(connection: sqlite3.Connection) -> bool:
    accepted: int = connection.execute("SELECT n FROM tally WHERE name = 'accepted'").fetchone()[0]
    return accepted > 0
