"""What a relay did to its files, in order, as preload.c recorded it, with the promises it made meanwhile."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from enum import IntEnum
from pathlib import Path
from typing import NamedTuple

HEADER = struct.Struct("=IIQqII")  # struct header of preload.c


class Op(IntEnum):
    """enum op of preload.c."""

    OPEN = 1
    WRITE = 2
    TRUNCATE = 3
    SYNC_BEGIN = 4
    SYNC_END = 5
    RENAME = 6
    UNLINK = 7
    MKDIR = 8
    MARK = 9


class Record(NamedTuple):
    """One change. `file` says which opening of a file, `offset` is also the size of a truncation."""

    op: Op
    file: int
    offset: int
    path: str
    data: bytes


def read(trace: Path) -> Iterator[Record]:
    """Every record in order."""
    with trace.open("rb") as file:
        while head := file.read(HEADER.size):
            _, op, number, offset, path_size, data_size = HEADER.unpack(head)
            yield Record(Op(op), number, offset, file.read(path_size).decode(), file.read(data_size))


class Marker:
    """Writes into a trace from outside: what the world saw, at its place among the changes."""

    def __init__(self, trace: Path) -> None:
        self._file = os.open(trace, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def mark(self, what: str, text: str) -> None:
        """One record, whole."""
        name, data = what.encode(), text.encode()
        head = HEADER.pack(HEADER.size + len(name) + len(data), Op.MARK, 0, 0, len(name), len(data))
        os.write(self._file, head + name + data)

    def close(self) -> None:
        """Closes the file."""
        os.close(self._file)
