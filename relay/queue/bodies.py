"""The bodies of a queue under check: each there, of its size, as it was accepted; and no file that nobody needs."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from relay.queue.problems import Problem, problem
from relay.queue.rows import checksum
from relay.queue.spool import FileBody
from relay.queue.statements import statements

YOUNG_S = 60.0  # a file is there before the row that names it; a commit takes less than this

Later = Callable[[sqlite3.Connection], list[Problem]]


def spooled(spool: Path) -> dict[str, float]:
    """The spool's files by message, with the time each came there (Unix s)."""
    if not spool.is_dir():
        return {}
    found = {}
    with os.scandir(spool) as entries:
        for entry in entries:
            with contextlib.suppress(FileNotFoundError):  # delivered meanwhile
                if entry.is_file():
                    found[entry.name] = entry.stat().st_ctime
    return found


def bodies(
    connection: sqlite3.Connection, spool: Path, files: Mapping[str, float], *, full: bool, live: bool, unclean: bool
) -> tuple[Later, list[str]]:
    """What is wrong with bodies, and notes. The first is to be asked for when the snapshot is over: what was
    suspect in it is looked at again."""
    rows = {id_: (size, crc) for id_, size, crc in connection.execute(statements()["check_spooled"])}
    wrong = [*_files(rows, spool, full=full), *(_inline(connection) if full else ())]
    now = time.time()
    orphans = [name for name, since in files.items() if name not in rows and not (live and now - since < YOUNG_S)]
    notes = []
    if unclean and orphans:
        notes.append(f"{len(orphans)} bodies of messages that were never answered for; the next start removes them")
        orphans = []
    if not live and (unfinished := _unfinished(spool)):
        notes.append(f"{unfinished} bodies that did not come in whole; the next start removes them")

    def later(fresh: sqlite3.Connection) -> list[Problem]:
        still = [one for one in wrong if fresh.execute(statements()["check_there"], (one.message,)).fetchone()]
        return still + [_orphan(spool, name) for name in orphans if _unneeded(fresh, spool, name)]

    return later, notes


def _files(rows: Mapping[str, tuple[int, int | None]], spool: Path, *, full: bool) -> Iterator[Problem]:
    for id_, (size, crc) in rows.items():
        file = spool / id_
        try:
            there = file.stat().st_size
            changed = full and there == size and crc is not None and checksum(FileBody(str(file), size).chunks()) != crc
        except OSError as error:
            yield problem("body-missing", id_, "its body {file} cannot be read: {why}", file=file, why=error.strerror)
            continue
        yield from _judged(id_, size, there, changed=changed)


def _inline(connection: sqlite3.Connection) -> Iterator[Problem]:
    for id_, body, size, crc in connection.execute(statements()["check_inline"]):
        if body is None:
            yield problem("body-missing", id_, "its body is not there")
        else:
            yield from _judged(id_, size, len(body), changed=crc is not None and checksum((body,)) != crc)


def _judged(id_: str, size: int, there: int, *, changed: bool) -> Iterator[Problem]:
    if there != size:
        yield problem("body-size", id_, "its body has {there} bytes and should have {size}", there=there, size=size)
    elif changed:
        yield problem("body-changed", id_, "its body is not what was accepted (CRC-32)")


def _unneeded(fresh: sqlite3.Connection, spool: Path, name: str) -> bool:
    return (spool / name).exists() and not fresh.execute(statements()["check_there"], (name,)).fetchone()


def _orphan(spool: Path, name: str) -> Problem:
    return problem("orphan", name, "the file {file} belongs to no message", file=spool / name)


def _unfinished(spool: Path) -> int:
    incoming = spool / "tmp"
    return len(list(incoming.iterdir())) if incoming.is_dir() else 0
