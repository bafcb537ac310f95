"""A consistent copy of a queue that may be in use.

1. One snapshot of the queue file is opened and kept for the whole copy; in WAL mode nobody waits for a reader.
2. Its pages are copied in steps, each synced before the next, so that no flood of dirty pages stands before
   the relay's own fsync.
3. The bodies the copy names are copied; a lease (`queue.leases`) keeps them while the copy is made.
4. Every file is synced, the manifest is written last, and the folder gets its name.

This runs in the process of the command, not in the relay: it needs a connection that only reads.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from relay import __version__
from relay.queue.manifest import (
    FORMAT,
    QUEUE,
    FileEntry,
    Manifest,
    copy_file,
    read_entry,
    sync_folder,
    write_manifest,
)
from relay.queue.opening import open_reader
from relay.queue.statements import statements
from relay.queue.store import StoreBroken

STEP_PAGES = 256  # 2 MiB: a commit that comes in between waits for the sync of that much at most
BUSY_SHARE = 1.0  # seconds of rest for each second of copying: the disk is the relay's first
KEYS = ("return-path.key", "dkim/*/*.pem")

Progress = Callable[[int, int], None]
"""Called with bytes done and bytes in all; may raise to give up."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a queue lies: its file, the spool of large bodies, and the data folder with the keys."""

    queue: Path
    spool: Path
    data: Path

    def keys(self) -> Iterator[Path]:
        """The return path's key and the DKIM keys in the data folder."""
        for pattern in KEYS:
            yield from sorted(self.data.glob(pattern))


def back_up(
    place: Place, target: Path, *, hostname: str, keys: bool, progress: Progress, rest: Callable[[float], None]
) -> Manifest:
    """Copies the queue into the folder `target`, which appears whole at the end or not at all. `rest` waits some
    seconds. Raises StoreBroken when the copy is not sound or a body is missing, OSError, sqlite3.Error."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.exists():
        raise FileExistsError(f"{target} is there already: name a new folder")
    part = target.with_name(f".{target.name}.part-{os.getpid()}")
    part.mkdir(mode=0o700)
    try:
        manifest = _Copy(place, part, progress, rest).make(hostname, with_keys=keys)
        for folder in (part, *(one for one in part.rglob("*") if one.is_dir())):
            sync_folder(folder)
        part.rename(target)
        sync_folder(target.parent)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise
    return manifest


class _Copy:
    """One copy under way."""

    def __init__(self, place: Place, part: Path, progress: Progress, rest: Callable[[float], None]) -> None:
        self.place, self.part, self.progress, self.rest = place, part, progress, rest
        self.done, self.total = 0, 0

    def make(self, hostname: str, *, with_keys: bool) -> Manifest:
        """Copies everything and writes the manifest."""
        taken_at, spooled = self._copy_database()
        figures, schema = self._figures(len(spooled))
        files = {QUEUE: read_entry(self.part / QUEUE, self._tick)}
        for message in spooled:
            files[f"spool/{message}"] = self._body(message)
        for path in self.place.keys() if with_keys else ():
            name = str(path.relative_to(self.place.data))
            files[name] = copy_file(path, self.part / name, lambda _: None)
        manifest = Manifest(FORMAT, __version__, hostname, taken_at, schema, figures, with_keys, files)
        write_manifest(self.part, manifest)
        return manifest

    def _copy_database(self) -> tuple[float, list[str]]:
        """Copies the snapshot; returns its moment and the messages whose body is a file."""
        copy = self.part / QUEUE
        os.close(os.open(copy, os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        with closing(open_reader(self.place.queue)) as source, closing(sqlite3.connect(copy)) as target:
            source.execute("BEGIN")
            source.execute("SELECT 1 FROM tally").fetchone()  # the snapshot begins with the first read
            taken_at = time.time()
            pages, page = (source.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "page_size"))
            bodies = source.execute(statements()["spooled_bytes"]).fetchone()[0]
            self.total = 2 * pages * page + bodies  # the queue file is read again for its digest
            target.execute("PRAGMA synchronous=OFF")  # synced by step, and as a whole
            target.execute("PRAGMA journal_mode=OFF")
            self._copy_pages(source, target, copy, page)
            spooled = [id_ for (id_,) in source.execute(statements()["spooled"])]
            target.execute("PRAGMA journal_mode=DELETE")  # one file, whole without a log beside it
        return taken_at, spooled

    def _copy_pages(self, source: sqlite3.Connection, target: sqlite3.Connection, copy: Path, page: int) -> None:
        handle = os.open(copy, os.O_RDONLY | os.O_CLOEXEC)
        begun, before = time.monotonic(), 0

        def step(_status: int, remaining: int, total: int) -> None:
            nonlocal begun, before
            os.fdatasync(handle)
            self._tick((total - remaining - before) * page)
            before = total - remaining
            self.rest((time.monotonic() - begun) * BUSY_SHARE if remaining else 0.0)
            begun = time.monotonic()

        try:
            source.backup(target, pages=STEP_PAGES, progress=step)
            os.fsync(handle)
        finally:
            os.close(handle)

    def _figures(self, bodies: int) -> tuple[dict[str, int], int]:
        """What the copy holds, read from the copy, which is checked on the way."""
        with closing(sqlite3.connect(f"file:{self.part / QUEUE}?mode=ro", uri=True)) as copy:
            if (problem := copy.execute("PRAGMA quick_check(1)").fetchone()[0]) != "ok":
                raise StoreBroken(f"the copy is damaged, and so is the queue: {problem}")
            figures: dict[str, int] = dict(copy.execute(statements()["tally"]).fetchall())
            waiting = copy.execute("SELECT state, COUNT(*) FROM recipient GROUP BY state").fetchall()
            messages = copy.execute("SELECT COUNT(*) FROM message").fetchone()[0]
            schema = int(copy.execute("PRAGMA user_version").fetchone()[0])
        return {"queued": 0, "held": 0, **figures, **dict(waiting), "messages": messages, "bodies": bodies}, schema

    def _body(self, message: str) -> FileEntry:
        begun = time.monotonic()
        name = f"spool/{message}"
        try:
            entry = copy_file(self.place.spool / message, self.part / name, self._tick)
        except FileNotFoundError:
            raise StoreBroken(f"the body of message {message} is missing in {self.place.spool}") from None
        self.rest((time.monotonic() - begun) * BUSY_SHARE)
        return entry

    def _tick(self, amount: int) -> None:
        self.done += amount
        self.progress(min(self.done, self.total), self.total)
