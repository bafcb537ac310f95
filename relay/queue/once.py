"""Idempotency keys: which of the messages to be stored are repeats. Kept in the transaction that stores the first."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable

from relay.core.message import Prepared
from relay.queue.statements import statements
from relay.queue.store import CONFLICT, REPEAT, Receipt

FORGOTTEN_EACH = 2  # keys whose window is over, for each new one: the table shrinks to those that count


def receipts(connection: sqlite3.Connection, puts: Iterable[Prepared]) -> list[Receipt]:
    """What is to become of each put, in order; keys of those to be stored are kept. Two with one key in the same
    group are told apart like any others: the first is stored."""
    return [_receipt(connection, put) for put in puts]


def _receipt(connection: sqlite3.Connection, put: Prepared) -> Receipt:
    once = put.once
    if once is None:
        return Receipt(put.id)
    sql = statements()
    found = connection.execute(sql["known_key"], (once.owner, once.key, put.received_at)).fetchone()
    if found is not None:
        message, digest = found
        return Receipt(message, REPEAT if digest == once.digest else CONFLICT)
    connection.execute(sql["forget_keys"], (put.received_at, FORGOTTEN_EACH))
    connection.execute(sql["keep_key"], (once.owner, once.key, put.id, once.digest, once.until))
    return Receipt(put.id)
