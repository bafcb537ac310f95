"""How many messages and bytes each stream has in the queue, kept beside the mail in the same transactions.

So the figures are exact after a crash and known at start without reading a million messages.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping

from relay.core.quota import Stock
from relay.queue.statements import statements

KIND = "stock"
COUNTED = ""  # the key that says that what lay there before these figures were kept has been counted

Moved = dict[str, tuple[int, int]]  # stream → messages and bytes that came, or (below 0) left


def load(connection: sqlite3.Connection) -> Stock:
    """The figures as they were last committed, with the free pages of the file."""
    rows = dict(connection.execute(statements()["recall"], (KIND,)).fetchall())
    if COUNTED not in rows:
        return _counted(connection)
    held = {stream: tuple(json.loads(value)) for stream, value in rows.items() if stream != COUNTED}
    return Stock(held, reusable(connection))


def reusable(connection: sqlite3.Connection) -> int:
    """Bytes of the file that hold nothing now and are used before it grows."""
    pages, size = (connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("freelist_count", "page_size"))
    return int(pages * size)


def note(moved: Moved, stream: str, messages: int, size: int) -> None:
    """Adds one change to the others of a transaction."""
    before = moved.get(stream, (0, 0))
    moved[stream] = (before[0] + messages, before[1] + size)


def record(connection: sqlite3.Connection, moved: Mapping[str, tuple[int, int]]) -> None:
    """Writes the changes inside the caller's transaction."""
    for stream, (messages, size) in moved.items():
        connection.execute(statements()["stock"], (KIND, stream, messages, size))


def _counted(connection: sqlite3.Connection) -> Stock:
    """Counts a queue that an older relay left, once."""
    connection.execute("BEGIN IMMEDIATE")
    held = {stream: (n, size) for stream, n, size in connection.execute(statements()["count_stock"])}
    record(connection, {**held, COUNTED: (0, 0)})
    connection.execute("COMMIT")
    return Stock(held, reusable(connection))
