"""Small facts that outlive a restart, kept beside the mail: kind and key to a JSON value."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping

from relay.queue.statements import statements


def recall(connection: sqlite3.Connection, *, kind: str) -> dict[str, object]:
    """Everything of a kind by key."""
    rows = connection.execute(statements()["recall"], (kind,))
    return {key: json.loads(value) for key, value in rows}


def recall_one(connection: sqlite3.Connection, *, kind: str, key: str) -> object:
    """One value of a kind, None when there is none."""
    row = connection.execute(statements()["recall_one"], (kind, key)).fetchone()
    return None if row is None else json.loads(row[0])


def remember(connection: sqlite3.Connection, *, kind: str, changes: Mapping[str, object]) -> None:
    """Sets values inside the caller's transaction; None takes a key away."""
    for key, value in changes.items():
        if value is None:
            connection.execute(statements()["forget"], (kind, key))
        else:
            connection.execute(statements()["remember"], (kind, key, json.dumps(value)))
