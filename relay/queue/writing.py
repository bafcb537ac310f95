"""One transaction for everything that waits to be written: what runs in the database's thread."""

from __future__ import annotations

import errno
import sqlite3
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from relay.core.message import Prepared
from relay.core.waiting import Waiting
from relay.queue.rows import message_values, places, recipient_values
from relay.queue.spool import FileBody, Spool
from relay.queue.state import remember
from relay.queue.statements import statements
from relay.queue.stock import Moved, note, record, reusable
from relay.queue.store import IMPORTED, Settlement, StoreBroken, StoreBusy, StoreFull

FULL = {sqlite3.SQLITE_FULL}
BUSY = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_INTERRUPT}
NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


@dataclass(slots=True)
class Group:
    """What one fsync pays for: new messages, and settlements of attempts."""

    puts: list[Prepared] = field(default_factory=list)
    settlements: list[Settlement] = field(default_factory=list)
    moved: Moved = field(default_factory=dict)  # filled by `write_group`
    reusable: int = 0


def fault(error: Exception) -> StoreFull | StoreBusy | StoreBroken:
    """The fault class of an error of SQLite or the file system. After a failed fsync nothing can be
    trusted (the kernel may drop the dirty pages), so an I/O error is never tried again on this handle."""
    if isinstance(error, sqlite3.Error):
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_IOERR) & 0xFF
        known = StoreFull if code in FULL else StoreBusy if code in BUSY else StoreBroken
        return known(str(error))
    if isinstance(error, OSError) and error.errno in NO_ROOM:
        return StoreFull(str(error))
    if isinstance(error, OSError) and error.errno in {errno.EMFILE, errno.ENFILE}:
        return StoreBusy(str(error))
    return StoreBroken(f"{type(error).__name__}: {error}")


def write_group(connection: sqlite3.Connection, *, spool: Spool, group: Group) -> list[list[Waiting]]:
    """Commits the whole group with one fsync, or raises StoreFull, StoreBusy or StoreBroken with nothing
    of it done. Returns the places of each put, in order."""
    bodies = {put.id: put.content.body for put in group.puts if isinstance(put.content.body, FileBody)}
    try:
        spool.keep(bodies)
        connection.execute("BEGIN IMMEDIATE")
        waiting = _insert(connection, group.puts)
        unspooled = settle(connection, group.settlements, group.moved)
        for put in group.puts:
            note(group.moved, put.stream, 1, put.content.size)
        record(connection, group.moved)
        connection.execute("COMMIT")
        group.reusable = reusable(connection)
    except (sqlite3.Error, OSError) as error:
        rollback(connection)
        trouble = fault(error)
        if not isinstance(trouble, StoreBroken):  # a broken commit may yet have happened: the next start knows
            spool.remove(bodies)
        raise trouble from error
    spool.remove(unspooled)
    return waiting


def rollback(connection: sqlite3.Connection) -> None:
    """Ends a failed transaction; SQLite has often done so itself (disk full, I/O error)."""
    if connection.in_transaction:
        connection.execute("ROLLBACK")


def _insert(connection: sqlite3.Connection, puts: Sequence[Prepared]) -> list[list[Waiting]]:
    if not puts:
        return []
    sql = statements()
    waiting = [places(put) for put in puts]
    connection.executemany(sql["put_message"], [message_values(put, _inline(put)) for put in puts])
    connection.executemany(
        sql["put_recipient"],
        [row for put, where in zip(puts, waiting, strict=True) for row in recipient_values(put, where)],
    )
    count(connection, {"accepted": sum(map(len, waiting))})
    for put in puts:
        if put.origin:
            remember(connection, kind=IMPORTED, changes={put.origin: put.id})
    return waiting


def _inline(message: Prepared) -> bytes | None:
    body = message.content.body
    return None if isinstance(body, FileBody) else b"".join(body.chunks())


def settle(connection: sqlite3.Connection, settlements: Iterable[Settlement], moved: Moved) -> list[str]:
    """Records ends and new due times inside the caller's transaction; returns the ids of messages that
    are gone and had a spool file; what left is noted in `moved`. A settlement of an attempt already recorded
    changes nothing."""
    sql, ended, touched = statements(), Counter[str](), dict[str, None]()
    for one in settlements:
        if one.end is None:
            connection.execute(
                sql["defer_recipient"],
                (one.message, one.index, one.attempt, one.due_at, one.last, one.delay_notified),
            )
        else:
            done = connection.execute(sql["end_recipient"], (one.message, one.index, one.attempt)).rowcount
            ended[one.end.value] += done
            touched[one.message] = None
    count(connection, ended)
    return drop(connection, touched, moved)


def drop(connection: sqlite3.Connection, messages: Iterable[str], moved: Moved) -> list[str]:
    """Deletes those of the messages that have no recipient left, noting in `moved` what they were; returns
    the ids that had a spool file."""
    gone = []
    for message in messages:
        row = connection.execute(statements()["drop_message"], (message,)).fetchone()
        if row is None:
            continue
        note(moved, row[1], -1, -row[2])
        if row[0]:
            gone.append(message)
    return gone


def count(connection: sqlite3.Connection, numbers: dict[str, int]) -> None:
    """Adds to the accounting, in the same transaction as what it counts."""
    for name, number in numbers.items():
        if number:
            connection.execute(statements()["count"], (name, number))
