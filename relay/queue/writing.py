"""One transaction for everything that waits to be written: what runs in the database's thread."""

from __future__ import annotations

import errno
import sqlite3
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache

from relay.core.message import Prepared
from relay.core.states import Cause
from relay.core.waiting import Waiting
from relay.queue import batch
from relay.queue.legal import allowed, becomes
from relay.queue.once import receipts
from relay.queue.rows import SIZE, message_values, places, recipient_values
from relay.queue.spool import FileBody, Spool
from relay.queue.state import remember
from relay.queue.statements import statements
from relay.queue.stock import Moved, note, record, reusable
from relay.queue.store import IMPORTED, STORED, Attempted, Receipt, Settlement, StoreBroken, StoreBusy, StoreFull

FULL = {sqlite3.SQLITE_FULL}
BUSY = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_INTERRUPT}
NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


@dataclass(slots=True)
class Group:
    """What one fsync pays for: new messages, and settlements of attempts. `write_group` fills in what came of it:
    a receipt for each put, and the settlements that changed nothing."""

    puts: list[Prepared] = field(default_factory=list)
    settlements: list[Settlement] = field(default_factory=list)
    receipts: list[Receipt] = field(default_factory=list)
    refused: dict[Attempted, str] = field(default_factory=dict)
    moved: Moved = field(default_factory=dict)
    reusable: int = 0

    @property
    def stored(self) -> list[Prepared]:
        """The puts that are in the queue now, in order."""
        return [put for put, receipt in zip(self.puts, self.receipts, strict=True) if receipt.verdict == STORED]


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
    of it done. Returns the places of each put that is stored, in order (`group.stored`)."""
    bodies = {put.id: put.content.body for put in group.puts if isinstance(put.content.body, FileBody)}
    try:
        spool.keep(bodies)
        connection.execute("BEGIN IMMEDIATE")
        group.receipts = receipts(connection, group.puts)
        kept = group.stored
        waiting = _insert(connection, kept, group.moved)
        unspooled = settle(connection, group)
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
    if bodies:
        spool.remove(bodies.keys() - {put.id for put in kept})
    return waiting


def rollback(connection: sqlite3.Connection) -> None:
    """Ends a failed transaction; SQLite has often done so itself (disk full, I/O error)."""
    if connection.in_transaction:
        connection.execute("ROLLBACK")


def _insert(connection: sqlite3.Connection, puts: Sequence[Prepared], moved: Moved) -> list[list[Waiting]]:
    """Writes the messages and their recipients, noting in `moved` what came; returns their places."""
    if not puts:
        return []
    waiting = [places(put) for put in puts]
    messages = [message_values(put, _inline(put)) for put in puts]
    batch.insert(connection, "put_message", messages)
    for put, values in zip(puts, messages, strict=True):
        note(moved, put.stream, 1, values[SIZE])
    rows = [row for put, where in zip(puts, waiting, strict=True) for row in recipient_values(put, where)]
    batch.insert(connection, "put_recipient", rows)
    count(connection, {"accepted": sum(map(len, waiting))})
    for put in puts:
        if put.origin:
            remember(connection, kind=IMPORTED, changes={put.origin: put.id})
    return waiting


def _inline(message: Prepared) -> bytes | None:
    body = message.content.body
    return None if isinstance(body, FileBody) else b"".join(body.chunks())


def settle(connection: sqlite3.Connection, group: Group) -> list[str]:
    """Records ends and new due times inside the caller's transaction; returns the ids of messages that are gone and
    had a spool file; what left is noted in `group.moved`. A settlement of an attempt already recorded, or one that
    the table of states does not allow, changes nothing and is named in `group.refused`."""
    done = _end_together(connection, group.settlements)
    ended, touched = Counter[str](), Counter[str]()
    for number, one in enumerate(group.settlements):
        if one.key not in done and not _change(connection, one):
            if all(other.key != one.key for other in group.settlements[:number]):  # else it was just recorded
                group.refused[one.key] = _why_not(connection, one)
        elif one.end is not None:
            ended[one.end.value] += 1
            touched[one.message] += 1
    count(connection, ended)
    return drop(connection, touched, group.moved)


def _end_together(connection: sqlite3.Connection, settlements: Sequence[Settlement]) -> set[Attempted]:
    """Ends by one statement those that end alike; returns which. Where a recipient is spoken of twice their order
    matters, and none is."""
    if len({(one.message, one.index) for one in settlements}) < len(settlements):
        return set()
    alike: dict[tuple[str, int], list[Settlement]] = {}  # by the end's word: an Enum's hash is slow
    for one in settlements:
        if one.end is not None:
            alike.setdefault((one.end.value, one.attempt), []).append(one)
    return {
        one.key
        for (_, attempt), some in alike.items()
        if batch.end(connection, some[0].cause, attempt, [(one.message, one.index) for one in some])
        for one in some
    }


def _change(connection: sqlite3.Connection, one: Settlement) -> bool:
    """Whether the row was there and might be changed so."""
    if one.end is not None:
        return connection.execute(_sql("end_recipient", one.cause), one.key).rowcount == 1
    values = (*one.key, one.due_at, one.last, one.delay_notified, one.lost == "hold")
    return connection.execute(_sql("defer_recipient", one.cause), values).rowcount == 1


@cache
def _sql(name: str, cause: Cause) -> str:
    """A statement under the condition that the table of states puts on its cause."""
    changes = becomes(cause) if name == "defer_recipient" else ""
    return statements()[name].format(allowed=allowed(cause), becomes=changes)


def _why_not(connection: sqlite3.Connection, one: Settlement) -> str:
    row = connection.execute(statements()["standing"], (one.message, one.index)).fetchone()
    if row is None:
        return "it has come to an end before"
    attempts, state, lost = row
    if attempts >= one.attempt:
        return f"attempt {one.attempt} is recorded already"
    return f"{one.cause.value} is not possible in state {state} after {lost} losses"


def drop(connection: sqlite3.Connection, ended: Mapping[str, int], moved: Moved) -> list[str]:
    """Deletes the messages that have no recipient left, noting in `moved` what they were, and counts what ended of
    those that have; returns the ids that had a spool file."""
    gone = {left.id: left for left in batch.drop(connection, ended)}
    for message, number in ended.items():
        left = gone.get(message)
        if left is None:
            connection.execute(statements()["note_ended"], (message, number))
            continue
        note(moved, left.stream, -1, -left.size)
        if left.recipients != 1:
            connection.execute(statements()["drop_ended"], (message,))
    return [left.id for left in gone.values() if left.spooled]


def count(connection: sqlite3.Connection, numbers: dict[str, int]) -> None:
    """Adds to the accounting, in the same transaction as what it counts."""
    for name, number in numbers.items():
        if number:
            connection.execute(statements()["count"], (name, number))
