"""What the event log still knows of a message that has left: found by its id, which tells when it came.

A file of a day is in the order in which things happened, so the place is found by halving; from there on lines are
read for at most LATE_S of log or SCAN_BYTES. Reading takes milliseconds, on a disk that is slow much longer: it
belongs in a thread.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

from relay.core.ids import made_at
from relay.observe.eventlog import PREFIX, SUFFIX

EARLY_S = 5.0  # a clock that is set right a little moves lines about
LATE_S = 120.0  # from the final dot to the line: turns, signing, commit, and a slow disk
SCAN_BYTES = 128 << 20
NEAR_BYTES = 65_536  # halving ends here
LINE_BYTES = 1 << 20  # a message to a thousand recipients has 50 KB
TIME = b'{"time":'


class History:
    """The events in a folder, as `observe.eventlog` writes them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def accepted(self, message: str) -> Mapping[str, Any] | None:
        """The `accepted` event of a message; None when it is not there, or not any more. Raises OSError, and
        ValueError for what is no id."""
        made = made_at(message)
        needle = f'"event":"accepted","message":"{message}"'.encode()
        days = (self._file(made - EARLY_S), self._file(made), self._file(made + LATE_S))
        for path in dict.fromkeys(days):
            if path.is_file():
                with path.open("rb") as file:
                    if (line := _find(file, needle, made)) is not None:
                        found: dict[str, Any] = json.loads(line)
                        return found
        return None

    def _file(self, at: float) -> Path:
        day = datetime.datetime.fromtimestamp(max(0.0, at), datetime.UTC)
        return self.folder / f"{PREFIX}{day:%Y-%m-%d}{SUFFIX}"


def _find(file: BinaryIO, needle: bytes, made: float) -> bytes | None:
    start = _place(file, made - EARLY_S)
    file.seek(start)
    if start:
        file.readline()  # the rest of a line
    while file.tell() - start < SCAN_BYTES:
        lines = file.readlines(LINE_BYTES)
        if not lines:
            return None
        for line in lines:
            if needle in line:
                return line if line.endswith(b"\n") else None  # the last line may be in the making
        if _time(lines[-1]) > made + LATE_S:
            return None
    return None


def _place(file: BinaryIO, at: float) -> int:
    """Where lines of that time begin, or a little before."""
    low, high = 0, file.seek(0, 2)
    while high - low > NEAR_BYTES:
        middle = (low + high) // 2
        file.seek(middle)
        file.readline(LINE_BYTES)
        if _time(file.readline(LINE_BYTES)) < at:
            low = middle
        else:
            high = middle
    return low


def _time(line: bytes) -> float:
    """The time of a line; endless for what is none, the end of the file included."""
    try:
        return float(line[len(TIME) : line.index(b",")]) if line.startswith(TIME) else float("inf")
    except ValueError:
        return float("inf")
