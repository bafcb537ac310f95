"""Bodies too large for the database: one file each, synced and in place before the row that names it.

A body is written to `tmp/` while it comes in; `keep` syncs it, renames it to the message's id and syncs the
folder; `remove` deletes it once the row is gone. After a crash, files in `tmp/` and files no row names are
rubbish, and `sweep` says so; a row without its file cannot happen unless the disk lost it.
"""

from __future__ import annotations

import errno
import os
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from relay.core.content import CHUNK_BYTES, MemoryBody
from relay.queue.folders import make_folder, sync
from relay.queue.leases import Leases


class FileBody:
    """A body in a file; `path` moves once, when the message is committed."""

    __slots__ = ("path", "size")

    def __init__(self, path: str, size: int) -> None:
        self.path = path
        self.size = size

    def chunks(self) -> Iterator[bytes]:
        """The bytes in order, CHUNK_BYTES at a time."""
        with open(self.path, "rb", buffering=0) as file:
            while chunk := file.read(CHUNK_BYTES):
                yield chunk

    def discard(self) -> None:
        """Deletes the file, unless it has moved."""
        Path(self.path).unlink(missing_ok=True)


class SpoolWriter:
    """A body on its way in. Either `finish` or `abandon` ends it."""

    __slots__ = ("_file", "descriptor", "path", "size")

    def __init__(self, folder: Path) -> None:
        self.descriptor, self.path = tempfile.mkstemp(prefix="in-", dir=folder)
        self._file = os.fdopen(self.descriptor, "wb", buffering=0)
        self.size = 0

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Appends; raises OSError when the disk is full."""
        view = memoryview(data)
        while view:
            view = view[self._file.write(view) :]
        self.size += len(data)

    def finish(self) -> FileBody:
        """The complete body. It is durable only after `Spool.keep`."""
        self._file.close()
        return FileBody(self.path, self.size)

    def abandon(self) -> None:
        """Closes and deletes the file."""
        self._file.close()
        Path(self.path).unlink(missing_ok=True)


class Spool:
    """The folder of large bodies: `DIR/ID` for what is queued, `DIR/tmp/` for what comes in. Where several processes
    take mail each has a `part` of `tmp/`, and nobody else cleans it up."""

    def __init__(self, folder: Path, part: str = "") -> None:
        self.folder, self.part = folder, part
        self.incoming = folder / "tmp" / part
        make_folder(self.incoming)
        self.leases = Leases()
        self.descriptors = sys.maxsize

    def writer(self) -> SpoolWriter:
        """A new body; raises OSError when the disk is full or descriptors have run out: those from
        `descriptors` on are for deliveries."""
        made = SpoolWriter(self.incoming)
        if made.descriptor >= self.descriptors:
            made.abandon()
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return made

    def write(self, body: MemoryBody) -> FileBody:
        """A body in memory as a file; raises OSError."""
        writer = self.writer()
        try:
            writer.write(body.data)
            return writer.finish()
        except BaseException:
            writer.abandon()
            raise

    def name_of(self, body: FileBody) -> str:
        """What another process calls a body that came in here."""
        return f"{self.part}/{os.path.basename(body.path)}"

    def claim(self, name: str, size: int) -> FileBody:
        """Takes over a body that came in at another process; raises OSError when it is not there."""
        path = self.incoming / name.replace("/", "-")
        os.rename(self.folder / "tmp" / name, path)
        return FileBody(str(path), size)

    def clear(self) -> int:
        """Deletes what an earlier process left unfinished in this part; returns how many files."""
        rubbish = [entry for entry in self.incoming.rglob("*") if entry.is_file()]
        for entry in rubbish:
            entry.unlink(missing_ok=True)
        return len(rubbish)

    def body(self, message: str, size: int) -> FileBody:
        """The body of a queued message."""
        return FileBody(str(self.folder / message), size)

    def keep(self, bodies: Mapping[str, FileBody]) -> None:
        """Makes bodies durable under the ids of their messages: fsync, rename, fsync of the folder.
        Raises OSError; a file already in place (an earlier try) stays."""
        for message, body in bodies.items():
            kept = str(self.folder / message)
            if body.path != kept:
                sync(body.path)
                os.rename(body.path, kept)
                body.path = kept
        if bodies:
            sync(self.folder)

    def remove(self, messages: Iterable[str] = ()) -> None:
        """Deletes the bodies of messages whose rows are gone, now or when no copy of the queue is under way."""
        for message in self.leases.removable(messages):
            (self.folder / message).unlink(missing_ok=True)

    def sweep(self, named: set[str]) -> tuple[int, set[str]]:
        """After a start: deletes unfinished and unnamed files; returns how many, and the messages in
        `named` whose file is missing."""
        present = {entry.name: entry for entry in self.folder.iterdir() if entry.is_file()}
        rubbish = [entry for name, entry in present.items() if name not in named]
        for entry in rubbish:
            entry.unlink()
        return self.clear() + len(rubbish), named - present.keys()
