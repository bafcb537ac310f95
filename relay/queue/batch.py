"""Many rows by one statement. The sqlite3 module gives the interpreter's lock up for each step of a statement and asks
for it again, and a busy event loop is in no hurry to let it go: a commit of 20 messages row by row changes threads a
hundred times, with a statement for all of them a dozen times.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from typing import Any, NamedTuple

from relay.core.states import Cause
from relay.queue.legal import allowed
from relay.queue.statements import statements

ROWS = 64  # a statement: the values bound stay far below SQLite's 32,766


class Left(NamedTuple):
    """A message without recipients: what it was."""

    id: str
    spooled: bool
    stream: str
    size: int
    recipients: int


def insert(connection: sqlite3.Connection, name: str, rows: Sequence[tuple[Any, ...]]) -> None:
    """Runs an INSERT of one row for all of them."""
    for some in _portions(rows):
        connection.execute(_insert(name, len(some)), [value for row in some for value in row])


def end(connection: sqlite3.Connection, cause: Cause, attempt: int, keys: Sequence[tuple[str, int]]) -> bool:
    """Ends recipients (message, index) by the same attempt; False, and nothing of these changed, unless every one
    of them is there and may be ended so."""
    portions = [
        (len(some), [*(message for message, _ in some), *(value for key in some for value in key), attempt])
        for some in _portions(keys)
    ]
    for number, values in portions:
        if connection.execute(_recipients("count_ending", cause, number), values).fetchone()[0] != number:
            return False
    for number, values in portions:
        connection.execute(_recipients("end_recipients", cause, number), values)
    return True


def drop(connection: sqlite3.Connection, messages: Iterable[str]) -> list[Left]:
    """Deletes those of the messages that have no recipient left."""
    gone: list[Left] = []
    for some in _portions(list(messages)):
        found = json.loads(connection.execute(_messages("left_messages", len(some)), some).fetchone()[0])
        if found:
            connection.execute(_messages("drop_messages", len(found)), [row[0] for row in found])
        gone += [Left(*row) for row in found]
    return gone


def _portions(rows: Sequence[Any]) -> Iterator[Sequence[Any]]:
    return (rows[at : at + ROWS] for at in range(0, len(rows), ROWS))


@cache
def _insert(name: str, number: int) -> str:
    before, values = statements()[name].rstrip(";").split("VALUES")
    return f"{before}VALUES {', '.join([values] * number)}"


@cache
def _recipients(name: str, cause: Cause, number: int) -> str:
    ids, keys = ", ".join("?" * number), ", ".join(["(?, ?)"] * number)
    return statements()[name].format(ids=ids, keys=keys, allowed=allowed(cause))


@cache
def _messages(name: str, number: int) -> str:
    return statements()[name].format(ids=", ".join("?" * number))
