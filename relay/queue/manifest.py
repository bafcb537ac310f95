"""What a backup holds: a list of its files with their digests, and the figures of the queue in it.

The manifest is written last, so that a folder with one is whole; whoever restores holds every file against it.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from relay.queue.store import StoreBroken

NAME = "manifest.json"
QUEUE = "queue.db"
FORMAT = 1
CHUNK_BYTES = 1 << 20
MOST_BYTES = 1 << 30  # of a manifest: ten million bodies
# What a backup may hold; anything else in a manifest is not ours and could lead out of the folder.
PART = r"(?!\.)[\w.-]{1,255}"
ALLOWED = re.compile(rf"queue\.db|spool/[0-9a-z]{{1,64}}|return-path\.key|dkim/{PART}/{PART}\.pem")
DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class FileEntry:
    """One file: its length and SHA-256."""

    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """`taken_at` is the moment the copy shows (Unix s, UTC), `made_by` the relay's version, `schema` the queue's;
    `figures` count recipients (accepted, queued, held and each end), messages and spooled bodies."""

    format: int
    made_by: str
    hostname: str
    taken_at: float
    schema: int
    figures: Mapping[str, int]
    keys: bool
    files: Mapping[str, FileEntry]

    @property
    def bytes(self) -> int:
        """Of all files together."""
        return sum(one.bytes for one in self.files.values())


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Puts the manifest into a backup's folder, synced."""
    with open(folder / NAME, "w", encoding="utf-8", opener=private) as file:
        json.dump(asdict(manifest), file, indent=1)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a backup. Raises StoreBroken, saying what is wrong with it, and OSError."""
    path = folder / NAME
    if not path.is_file():
        raise StoreBroken(f"{folder} is no backup: there is no {NAME} in it")
    if path.stat().st_size > MOST_BYTES:
        raise StoreBroken(f"{path} is too large for a manifest")
    try:
        return _manifest(json.loads(path.read_bytes()))
    except (ValueError, TypeError, RecursionError) as error:
        raise StoreBroken(f"{path} is damaged or not ours: {error}") from None


def _manifest(row: object) -> Manifest:
    if not isinstance(row, dict) or set(row) != {one.name for one in fields(Manifest)}:
        raise ValueError("it is of another form")
    if row["format"] != FORMAT:
        raise ValueError(f"it has format {row['format']!r}, this relay knows {FORMAT}")
    if not isinstance(row["files"], dict):
        raise ValueError("it lists no files")
    files = {name: FileEntry(**one) for name, one in row["files"].items()}
    for name, one in files.items():
        if not ALLOWED.fullmatch(name):
            raise ValueError(f"a backup has no file {name!r}")
        if not (isinstance(one.bytes, int) and isinstance(one.sha256, str) and DIGEST.fullmatch(one.sha256)):
            raise ValueError(f"no length and digest for {name}")
    if QUEUE not in files:
        raise ValueError(f"it has no {QUEUE}")
    return Manifest(**{**row, "files": files})


def copy_file(source: Path, target: Path, tick: Callable[[int], None]) -> FileEntry:
    """Copies and syncs a file that nobody changes; `tick` hears of the bytes. Raises OSError."""
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    digest, size = hashlib.sha256(), 0
    with source.open("rb", buffering=0) as file, open(target, "xb", buffering=0, opener=private) as copy:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
            view = memoryview(chunk)
            while view:
                view = view[copy.write(view) :]
            size += len(chunk)
            tick(len(chunk))
        os.fsync(copy.fileno())
    return FileEntry(size, digest.hexdigest())


def read_entry(path: Path, tick: Callable[[int], None]) -> FileEntry:
    """Length and digest of a file as it is; raises OSError."""
    digest, size = hashlib.sha256(), 0
    with path.open("rb", buffering=0) as file:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
            size += len(chunk)
            tick(len(chunk))
    return FileEntry(size, digest.hexdigest())


def private(path: str, flags: int) -> int:
    """An opener: what is made is for its owner alone, as mail and keys are in it."""
    return os.open(path, flags | os.O_CLOEXEC, 0o600)


def sync_folder(folder: Path) -> None:
    """Makes the names in a folder durable."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
