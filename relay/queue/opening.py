"""Opening the queue file: settings that make it durable, migrations, and what a start finds."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from pathlib import Path

import aiosqlite

from relay.queue.folders import make_folder
from relay.queue.statements import migrations
from relay.queue.store import StoreBroken

# Bodies of ~100 KiB are fastest inside at 8 to 16 KiB pages (sqlite.org/intern-v-extern-blob); in 8 KiB there is
# room for one message of 4 KiB only, and half of the file is empty (decision 13).
PAGE_BYTES = 16_384
CACHE_KIB = 8192
STATEMENTS = 512  # kept prepared: those of queue/batch.py are as many as there are sizes of groups
CHECK_S = 1.0  # a queue of gigabytes must not keep mail waiting while all of it is read


def open_writer(path: Path) -> sqlite3.Connection:
    """The one connection that writes and checkpoints. Raises StoreBroken for a file that is damaged,
    locked by another relay, or of a newer version; OSError when its folder cannot be made."""
    make_folder(path.parent)
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, cached_statements=STATEMENTS)
    try:
        connection.execute(f"PRAGMA page_size={PAGE_BYTES}")  # before the first write, or never
        connection.execute("PRAGMA auto_vacuum=INCREMENTAL")
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA wal_autocheckpoint=0")  # a commit must not wait for a checkpoint
        connection.execute(f"PRAGMA cache_size=-{CACHE_KIB}")
        migrate(connection)
        problems = damage(connection)
    except sqlite3.Error as error:
        connection.close()
        raise StoreBroken(f"{path}: {error}") from error
    if problems:
        connection.close()
        raise StoreBroken(f"{path} is damaged: {problems}")
    return connection


def damage(connection: sqlite3.Connection) -> str:
    """What is wrong with the file as far as CHECK_S of looking shows; "" when nothing was found."""
    timer = threading.Timer(CHECK_S, connection.interrupt)
    timer.start()
    try:
        found = str(connection.execute("PRAGMA quick_check(1)").fetchone()[0])
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode != sqlite3.SQLITE_INTERRUPT:
            raise
        return ""
    finally:
        timer.cancel()
    return "" if found == "ok" else found


def open_reader(path: Path) -> sqlite3.Connection:
    """A second connection for reading only: the WAL-reset bug of SQLite up to 3.51.2 needs two that write
    or checkpoint, so this one must never do either."""
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True, isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA query_only=1")
    connection.execute("PRAGMA wal_autocheckpoint=0")
    return connection


def migrate(connection: sqlite3.Connection) -> None:
    """Brings the schema to the newest number, one transaction a step; user_version holds where it stands."""
    steps = migrations()
    have = connection.execute("PRAGMA user_version").fetchone()[0]
    if have > len(steps):
        raise StoreBroken(f"the queue has schema {have}, this relay knows {len(steps)}: start the newer relay")
    for number, script in steps[have:]:
        connection.executescript(f"BEGIN; {script}; PRAGMA user_version={number}; COMMIT;")


async def abandon(*databases: aiosqlite.Connection) -> None:
    """Closes what was half opened and waits for its threads: one left over keeps the process from exiting."""
    for database in databases:
        await database.close()
        if database._thread.ident is not None:
            await asyncio.to_thread(database._thread.join)
