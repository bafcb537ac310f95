"""A backup becomes a queue again, with every recipient held: the original may have delivered it meanwhile.

1. The place must be empty: restoring over mail would lose it.
2. Every file is copied beside its place and held against the manifest on the way; nothing is in place yet.
3. Every open recipient becomes held, in the copy, with the reason `restored`.
4. Bodies and keys go to their places, the queue file last: with it the restored queue exists, before it does not.
"""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from relay.queue.backup import Place, Progress
from relay.queue.manifest import QUEUE, Manifest, copy_file, read_manifest, sync_folder
from relay.queue.statements import migrations, statements
from relay.queue.store import RESTORED_NOTE, StoreBroken

STAGING = "restoring"
KIND = "restored"  # of the fact that the next start tells as an event


class NotEmpty(Exception):
    """There is mail, or another key, where the backup would go; the text names it."""


@dataclass(frozen=True, slots=True)
class Restored:
    """What is in place now: recipients held, and those that had been held before the backup among them."""

    manifest: Manifest
    held: int
    were_held: int


def restore(folder: Path, place: Place, *, progress: Progress, own: Callable[[Path], None]) -> Restored:
    """Puts a backup in place; the caller holds the data folder's lock. `own` gives a file its owner. Raises
    NotEmpty, StoreBroken for a backup that is not whole or of a newer relay, OSError."""
    manifest = read_manifest(folder)
    if manifest.schema > len(migrations()):
        raise StoreBroken(
            f"the queue in {folder} has schema {manifest.schema}, this relay knows {len(migrations())}:"
            f" restore it with relay {manifest.made_by} or newer"
        )
    _demand_empty(place)
    _demand_same_keys(folder, place, manifest)
    work = _Work(folder, place, manifest, progress, own)
    try:
        return work.do()
    finally:
        work.tidy()


def _demand_empty(place: Place) -> None:
    """Raises NotEmpty where there is a queue, or what is left of one."""
    files = [place.queue, place.queue.with_name(f"{place.queue.name}-wal")]
    bodies = (one for one in place.spool.iterdir() if one.is_file()) if place.spool.is_dir() else iter(())
    found = next((one for one in (*files, *bodies) if one.exists()), None)
    if found is not None:
        raise NotEmpty(f"there is a queue already: {found}. Move it away, or restore into another data folder")


def _demand_same_keys(folder: Path, place: Place, manifest: Manifest) -> None:
    for name in _keys(manifest):
        here = place.data / name
        if here.exists() and here.read_bytes() != (folder / name).read_bytes():
            raise NotEmpty(f"{here} is another key than the backup's: move it away, then restore")


def _keys(manifest: Manifest) -> list[str]:
    return [name for name in manifest.files if name != QUEUE and not name.startswith("spool/")]


class _Work:
    """One restore under way."""

    def __init__(
        self, folder: Path, place: Place, manifest: Manifest, progress: Progress, own: Callable[[Path], None]
    ) -> None:
        self.folder, self.place, self.manifest = folder, place, manifest
        self.progress, self.own = progress, own
        self.staged = place.data / STAGING
        self.queue = place.queue.with_name(f"{place.queue.name}.{STAGING}")
        self.done = 0

    def do(self) -> Restored:
        self.tidy()  # what a restore that was killed has left
        self.staged.mkdir(parents=True, mode=0o700)
        self.queue.parent.mkdir(parents=True, exist_ok=True)
        for name, wanted in self.manifest.files.items():
            target = self.queue if name == QUEUE else self.staged / name
            if copy_file(self.folder / name, target, self._tick) != wanted:
                raise StoreBroken(f"{self.folder / name} is not what the manifest says: this backup is damaged")
        held, were_held = self._hold()
        self._put_in_place()
        return Restored(self.manifest, held, were_held)

    def _hold(self) -> tuple[int, int]:
        """Holds every open recipient and leaves word for the next start; returns how many, and how many of
        them had been held."""
        with closing(sqlite3.connect(self.queue, isolation_level=None)) as copy:
            figures: dict[str, int] = dict(copy.execute("SELECT state, COUNT(*) FROM recipient GROUP BY state"))
            if any(self.manifest.figures.get(state) != n for state, n in figures.items()):
                raise StoreBroken(f"{self.folder} has {figures}, its manifest says {dict(self.manifest.figures)}")
            copy.execute("PRAGMA synchronous=FULL")
            copy.execute("BEGIN IMMEDIATE")
            copy.execute(statements()["hold_restored"], (RESTORED_NOTE,))
            told = {
                "recipients": sum(figures.values()), "taken_at": self.manifest.taken_at,
                "restored_at": time.time(), "from": self.manifest.hostname,
            }  # fmt: skip
            copy.execute(statements()["remember"], (KIND, "", json.dumps(told)))
            copy.execute("COMMIT")
        return sum(figures.values()), figures.get("held", 0)

    def _put_in_place(self) -> None:
        self.place.spool.mkdir(parents=True, exist_ok=True)
        self.own(self.place.spool)
        for name in self.manifest.files:
            if name != QUEUE:
                self._move(self.staged / name, self._target(name))
        folders = {self._target(name).parent for name in self.manifest.files if name != QUEUE}
        for folder in (*folders, self.place.spool, self.place.data):
            sync_folder(folder)
        self._move(self.queue, self.place.queue)
        sync_folder(self.place.queue.parent)

    def _target(self, name: str) -> Path:
        return self.place.spool / name.removeprefix("spool/") if name.startswith("spool/") else self.place.data / name

    def _move(self, source: Path, target: Path) -> None:
        for folder in [one for one in (target.parent.parent, target.parent) if not one.exists()]:
            folder.mkdir()
            self.own(folder)
        self.own(source)
        os.replace(source, target)

    def tidy(self) -> None:
        """Takes away what is not in place."""
        shutil.rmtree(self.staged, ignore_errors=True)
        for leftover in (self.queue, self.queue.with_name(f"{self.queue.name}-journal")):
            leftover.unlink(missing_ok=True)

    def _tick(self, amount: int) -> None:
        self.done += amount
        self.progress(self.done, self.manifest.bytes)
