"""Work in the thread of a database connection: one hop for a whole transaction, not one for each statement."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from functools import partial
from typing import TypeVar

import aiosqlite

from relay.queue.writing import fault, rollback

T = TypeVar("T")


async def hop(database: aiosqlite.Connection, work: Callable[[sqlite3.Connection], T]) -> T:
    """What `work` returns, done in the connection's thread (private attributes of aiosqlite;
    tests/unit/test_pins.py holds the version)."""
    result: T = await database._execute(partial(work, database._conn))  # type: ignore[no-untyped-call]
    return result


def in_transaction(connection: sqlite3.Connection, *, work: Callable[[sqlite3.Connection], T]) -> T:
    """What `work` returns once it is committed. Raises StoreFull, StoreBusy or StoreBroken, nothing done."""
    try:
        connection.execute("BEGIN IMMEDIATE")
        result = work(connection)
        connection.execute("COMMIT")
    except sqlite3.Error as error:
        rollback(connection)
        raise fault(error) from error
    return result


def checkpoint(connection: sqlite3.Connection, *, mode: str) -> None:
    """Moves what the log holds into the database file."""
    connection.execute(f"PRAGMA wal_checkpoint({mode})").fetchone()
