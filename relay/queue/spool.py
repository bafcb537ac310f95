"""Bodies too large for memory: written to a file while they arrive, read back in pieces.

A file begins in `tmp/` of the spool directory. Syncing it and moving it to its final place belongs to the
commit, which knows when a message becomes a promise; whatever is left in `tmp/` at a start is rubbish.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from relay.core.content import CHUNK_BYTES

TEMPORARY = "tmp"


@dataclass(frozen=True, slots=True)
class FileBody:
    """A body in a file: `path` and its length in bytes. Reading raises OSError when the file is gone."""

    path: str
    size: int

    def chunks(self) -> Iterator[bytes]:
        """The bytes in order; each call opens the file anew."""
        with open(self.path, "rb") as file:
            while piece := file.read(CHUNK_BYTES):
                yield piece

    def remove(self) -> None:
        """Removes the file; nothing happens when it is gone, or was moved away by its commit."""
        Path(self.path).unlink(missing_ok=True)


class SpoolWriter:
    """One body on its way into the spool. Every method may raise OSError: no space, no right, no disk."""

    def __init__(self, spool: str) -> None:
        """Creates an empty file, readable by the relay alone, in `tmp/` of the spool directory."""
        folder = Path(spool) / TEMPORARY
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.path = str(folder / secrets.token_hex(16))
        self._size = 0
        self._descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)

    def write(self, data: bytes) -> None:
        """Appends all of `data`; it goes to the page cache, nothing is synced."""
        view = memoryview(data)
        while view:
            view = view[os.write(self._descriptor, view) :]
        self._size += len(data)

    def finish(self) -> FileBody:
        """Closes the file and hands it over as a body; from now on it belongs to the caller."""
        descriptor, self._descriptor = self._descriptor, -1
        os.close(descriptor)
        return FileBody(self.path, self._size)

    def abandon(self) -> None:
        """Closes and removes the file; does nothing more when it is gone already."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
        Path(self.path).unlink(missing_ok=True)
