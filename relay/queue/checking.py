"""Proving the queue: that the accounts balance and that everything a delivery needs is there.

1. One snapshot: counters and rows cannot be torn apart by a relay that goes on working.
2. Quick questions first: accounts, recipients and messages that belong together, states, due times, spool files.
   They read no body and take a second or two for a million recipients.
3. In full also: each message's sum, every body's size and CRC, the stock's figures, SQLite's own check.
4. What looked wrong in a live spool is looked at again, as files and rows come and go while it is read.

Each exception names its message and what to do. What the next start repairs by itself is only a note.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from relay.core.states import State, Stored, stored
from relay.queue.bodies import bodies, spooled
from relay.queue.ending import unclosed
from relay.queue.opening import open_reader
from relay.queue.problems import Problem, problem
from relay.queue.reading import count
from relay.queue.statements import migrations, statements
from relay.queue.stock import KIND as STOCK
from relay.queue.store import StoreBroken, Tally

DAY_S = 86400.0
CLOCK_S = 2 * DAY_S  # how far a clock may have been set
AHEAD_S = 400 * DAY_S  # further ahead is no retry and no wish to send later
TROUBLES_MOST = 100  # lines of SQLite's own check
RESTING = (State.QUEUED, State.HELD, State.LOST, State.LOST_HELD)


@dataclass(frozen=True, slots=True)
class Findings:
    """What a check saw: the accounts of one moment, how many `messages` there are, `problems` and mere `notes`.
    `unclean`: the last process did not close the queue; `full`: bodies and file were read, too."""

    tally: Tally
    messages: int
    problems: tuple[Problem, ...]
    notes: tuple[str, ...]
    full: bool
    seconds: float
    unclean: bool = False

    def as_dict(self) -> dict[str, object]:
        """Plain values for JSON."""
        tally = self.tally
        return {
            "accepted": tally.accepted, "ends": dict(tally.ends), "queued": sum(tally.queued.values()),
            "held": sum(tally.held.values()), "lost": sum(tally.lost.values()), "gap": tally.gap,
            "messages": self.messages, "problems": [one._asdict() for one in self.problems],
            "notes": list(self.notes), "full": self.full, "unclean": self.unclean,
            "seconds": round(self.seconds, 3),
        }  # fmt: skip


def check(path: Path, spool: Path, *, full: bool, live: bool) -> Findings:
    """Reads the queue at `path` without changing it. `live`: a relay works on it. Raises StoreBroken when it cannot
    be read at all."""
    begun = time.perf_counter()
    try:
        connection = open_reader(path)
        try:
            return _checked(connection, spool, full=full, live=live, begun=begun)
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise StoreBroken(f"{path} cannot be read: {error}") from error


def _checked(connection: sqlite3.Connection, spool: Path, *, full: bool, live: bool, begun: float) -> Findings:
    have, newest = connection.execute("PRAGMA user_version").fetchone()[0], len(migrations())
    if have != newest:
        raise StoreBroken(f"the queue has schema {have}, this check knows {newest}: start the newer relay once")
    files = spooled(spool)  # before the snapshot: what comes later is not judged
    connection.execute("BEGIN")
    tally = count(connection)
    unclean = unclosed(connection) and not live
    messages = connection.execute("SELECT COUNT(*) FROM message").fetchone()[0]
    problems = [*_accounts(tally), *_belonging(connection), *_rows(connection, time.time())]
    found, notes = bodies(connection, spool, files, full=full, live=live, unclean=unclean)
    if full:
        problems += [*_sums(connection), *_stock(connection), *_file(connection)]
    connection.execute("COMMIT")
    problems += found(connection)
    return Findings(tally, messages, tuple(problems), tuple(notes), full, time.perf_counter() - begun, unclean)


def _accounts(tally: Tally) -> Iterator[Problem]:
    if tally.gap:
        yield problem("gap", "", "accepted minus ended minus waiting recipients is {n}, and must be 0", n=tally.gap)


def _belonging(connection: sqlite3.Connection) -> Iterator[Problem]:
    """Recipients without their message, messages without a recipient, counts of messages that are gone."""
    for message, idx, address in connection.execute(statements()["check_recipients"]):
        yield problem("no-message", message, "recipient {idx} ({address}) has no message", idx=idx, address=address)
    for (message,) in connection.execute(statements()["check_messages"]):
        yield problem("no-recipient", message, "the message has no recipient that waits")
    for (message,) in connection.execute(statements()["check_ended"]):
        yield problem("no-message-ended", message, "ended recipients are counted of a message that is gone")


def _rows(connection: sqlite3.Connection, now: float) -> Iterator[Problem]:
    """States the table does not know, and due times that make no sense."""
    columns: dict[str, set[Stored]] = {}
    for state in RESTING:
        columns.setdefault(stored(state).column, set()).add(stored(state))
    marks = ", ".join("?" * len(columns))
    legal = f"state IN ({marks}) AND lost >= 0 AND attempts >= 0 AND lost <= attempts"
    sql = statements()["check_rows"].format(wrong=f"NOT ({legal})")
    for message, address, column, lost, attempts in connection.execute(sql, (*columns,)):
        text = "{address} is in state {state!r} after {attempts} attempts, {lost} of them lost: no such state"
        yield problem("state", message, text, address=address, state=column, attempts=attempts, lost=lost)
    for message, address, due_at in connection.execute(
        statements()["check_times"], (now + AHEAD_S, CLOCK_S)
    ):
        yield problem("due", message, "{address} is due at {due_at:.0f} (Unix time)", address=address, due_at=due_at)


def _sums(connection: sqlite3.Connection) -> Iterator[Problem]:
    for message, recipients, waiting, ended in connection.execute(statements()["check_sums"]):
        text = "{recipients} recipients were accepted, {waiting} wait and {ended} have ended"
        yield problem("sum", message, text, recipients=recipients, waiting=waiting, ended=ended)


def _stock(connection: sqlite3.Connection) -> Iterator[Problem]:
    """The figures quotas are measured by, against what lies there."""
    there = {stream: f"[{n},{size}]" for stream, n, size in connection.execute(statements()["count_stock"])}
    kept = dict(connection.execute(statements()["recall"], (STOCK,)).fetchall())
    if kept.pop("", None) is None:
        return  # not counted yet: the next start does
    for stream in sorted({*there, *kept}):
        counted, figure = there.get(stream, "[0,0]"), kept.get(stream, "[0,0]")
        if counted != figure:
            text = "stream {stream}: messages and bytes are {counted}, the figures say {figure}"
            yield problem("stock", "", text, stream=stream, counted=counted, figure=figure)


def _file(connection: sqlite3.Connection) -> Iterator[Problem]:
    for (line,) in connection.execute(f"PRAGMA integrity_check({TROUBLES_MOST})"):
        if line != "ok":
            yield problem("file", "", "SQLite: {line}", line=line)
    for table, row, parent, _ in connection.execute("PRAGMA foreign_key_check"):
        yield problem("file", "", "row {row} of {table} refers to no {parent}", row=row, table=table, parent=parent)
