"""A disk that keeps what was synced, and of the rest what it pleases.

Rules, harsher than any file system: a write counts when an fsync of its file that began later has ended. Until
then any of the writes may be there or not, in part too, torn at sectors of 512 bytes, in whatever order. A
name in a folder, new, changed or gone, counts when the folder was synced. SQLite asks no more of a disk
(sqlite.org/psow.html: what a write does not touch stays).
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from tests.faults.trace import Op, Record

SECTOR = 512
Change = tuple[int, bytes | None]
"""(offset, data) of a write, (size, None) of a truncation."""


@dataclass(slots=True, eq=False)
class File:
    """`kept` is safe; `loose` is not, in order; `begun` counts what the sync under way covers."""

    kept: bytearray = field(default_factory=bytearray)
    loose: list[Change] = field(default_factory=list)
    begun: int = 0

    def begin(self) -> None:
        self.begun = len(self.loose)

    def end(self) -> None:
        for change in self.loose[: self.begun]:
            apply(self.kept, change)
        del self.loose[: self.begun]
        self.begun = 0


@dataclass(slots=True, eq=False)
class Folder:
    """The same for names; None is a name taken away."""

    kept: dict[str, File | Folder] = field(default_factory=dict)
    loose: list[tuple[str, File | Folder | None]] = field(default_factory=list)
    now: dict[str, File | Folder] = field(default_factory=dict)
    begun: int = 0

    def put(self, name: str, what: File | Folder) -> None:
        if self.now.get(name) is not what:
            self.now[name] = what
            self.loose.append((name, what))

    def take(self, name: str) -> File | Folder:
        self.loose.append((name, None))
        return self.now.pop(name)

    def begin(self) -> None:
        self.begun = len(self.loose)

    def end(self) -> None:
        rename(self.kept, self.loose[: self.begun])
        del self.loose[: self.begun]
        self.begun = 0


def apply(content: bytearray, change: Change) -> None:
    """One write or truncation; what lies between is zeros."""
    at, data = change
    size = at + len(data or b"")
    if len(content) < size:
        content.extend(bytes(size - len(content)))
    if data is None:
        del content[at:]
    else:
        content[at:size] = data


def rename(names: dict[str, File | Folder], changes: list[tuple[str, File | Folder | None]]) -> None:
    """Applies changes of names."""
    for name, what in changes:
        if what is None:
            names.pop(name, None)
        else:
            names[name] = what


class Disk:
    """What was made below `root` since the beginning of the trace."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.top = Folder()
        self._open: dict[int, File | Folder] = {}
        self.syncs = 0

    def take(self, record: Record) -> None:
        """The next change."""
        match record.op:
            case Op.OPEN:
                self._open[record.file] = self._opened(record.path)
            case Op.WRITE:
                self._file(record).loose.append((record.offset, record.data))
            case Op.TRUNCATE:
                self._file(record).loose.append((record.offset, None))
            case Op.SYNC_BEGIN:
                self._open[record.file].begin()
            case Op.SYNC_END:
                self._open[record.file].end()
                self.syncs += 1
            case Op.RENAME:
                folder, name = self._place(record.path)
                there, new = self._place(record.data.decode())
                there.put(new, folder.take(name))
            case Op.UNLINK:
                folder, name = self._place(record.path)
                folder.take(name)
            case Op.MKDIR:
                folder, name = self._place(record.path)
                folder.put(name, Folder())

    def cut(self, target: Path, dice: random.Random) -> None:
        """Writes what may be found when the power fails now."""
        _write(self.top, target, dice, harsh=dice.choice([0.0, 0.1, 0.5, 0.9, 1.0]))

    def _file(self, record: Record) -> File:
        found = self._open[record.file]
        assert isinstance(found, File)
        return found

    def _place(self, path: str) -> tuple[Folder, str]:
        *above, name = Path(path).relative_to(self.root).parts
        folder = self.top
        for part in above:
            found = folder.now[part]
            assert isinstance(found, Folder)
            folder = found
        return folder, name

    def _opened(self, path: str) -> File | Folder:
        if path.rstrip("/") == str(self.root):
            return self.top
        try:
            folder, name = self._place(path)
        except KeyError:
            return File()  # it was there before the trace
        found = folder.now.get(name)
        if found is None:
            found = File()
            folder.put(name, found)
        return found


def _write(folder: Folder, target: Path, dice: random.Random, *, harsh: float) -> None:
    """`harsh` is the share of unsynced changes that is lost."""
    names = dict(folder.kept)
    rename(names, [change for change in folder.loose if dice.random() >= harsh])
    target.mkdir(parents=True)
    for name, what in names.items():
        if isinstance(what, Folder):
            _write(what, target / name, dice, harsh=harsh)
        else:
            (target / name).write_bytes(_content(what, dice, harsh))


def _content(file: File, dice: random.Random, harsh: float) -> bytes:
    if not file.loose:
        return file.kept
    content = bytearray(file.kept)
    for change in file.loose:
        if dice.random() >= harsh:
            apply(content, change)
        elif change[1] is not None and dice.random() < 0.3:
            for piece in _torn(change[0], change[1], dice):
                apply(content, piece)
    return content


def _torn(at: int, data: bytes, dice: random.Random) -> list[Change]:
    """Some sectors of a write."""
    edges = [at, *range((at // SECTOR + 1) * SECTOR, at + len(data), SECTOR), at + len(data)]
    pieces = [(a, data[a - at : b - at]) for a, b in pairwise(edges)]
    return [piece for piece in pieces if dice.random() < 0.5]
