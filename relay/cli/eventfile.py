"""The event log as files: one JSON object a line, one file a day, oldest name first."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, BinaryIO

BLOCK_BYTES = 65536
POLL_S = 0.25  # new lines show within a quarter of a second; an idle look costs two system calls


@dataclass(frozen=True, slots=True)
class EventFilter:
    """Which events are meant; "" any. Texts are globs without regard to case, `since` Unix seconds."""

    event: str = ""
    stream: str = ""
    recipient: str = ""
    sender: str = ""
    message: str = ""
    since: float = 0.0

    def matches(self, row: dict[str, Any]) -> bool:
        """Whether one event is meant."""
        written = row.get("time", 0.0)
        if not isinstance(written, int | float) or written < self.since:
            return False
        for name in ("event", "stream", "recipient", "sender", "message"):
            glob = getattr(self, name)
            if glob and not fnmatchcase(str(row.get(name, "")).lower(), glob.lower()):
                return False
        return True


def files(folder: Path) -> list[Path]:
    """The log files, oldest first."""
    return sorted(folder.glob("*.jsonl"))


def events(folder: Path, which: EventFilter) -> Iterator[dict[str, Any]]:
    """Every event that matches, oldest first."""
    for path in files(folder):
        if path.stat().st_mtime < which.since:
            continue
        with path.open("rb") as file:
            for line in file:
                yield from _parsed(line, which)


def last_events(folder: Path, which: EventFilter, count: int) -> list[dict[str, Any]]:
    """The last `count` events that match, oldest first; reads no more of the files than it must."""
    found: list[dict[str, Any]] = []
    for path in reversed(files(folder)):
        if path.stat().st_mtime < which.since:
            break
        with path.open("rb") as file:
            for line in _backwards(file):
                found += _parsed(line, which)
                if len(found) >= count:
                    return found[::-1]
    return found[::-1]


def follow(folder: Path, which: EventFilter) -> Iterator[dict[str, Any]]:
    """Events that match as they are written, from now on, without end; goes on to the next file when a day
    ends. A line still being written waits for its end."""
    known = files(folder)
    path = known[-1] if known else None
    place = path.stat().st_size if path else 0
    while True:
        if path is not None:
            with path.open("rb") as file:
                file.seek(place)
                for line in file:
                    if not line.endswith(b"\n"):
                        break
                    place += len(line)
                    yield from _parsed(line, which)
        newer = [other for other in files(folder) if path is None or other > path]
        if newer:
            path, place = newer[0], 0
        else:
            time.sleep(POLL_S)


def _backwards(file: BinaryIO) -> Iterator[bytes]:
    """The lines of a file, last first."""
    place = file.seek(0, os.SEEK_END)
    rest = b""
    while place:
        size = min(BLOCK_BYTES, place)
        place -= size
        file.seek(place)
        first, *lines = (file.read(size) + rest).split(b"\n")
        yield from reversed(lines)
        rest = first
    yield rest


def _parsed(line: bytes, which: EventFilter) -> list[dict[str, Any]]:
    """The event of a line if it matches; a torn line (a crash in the middle of it) is none."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return []
    return [row] if isinstance(row, dict) and which.matches(row) else []
