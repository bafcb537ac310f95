"""The journal of what is under way: which recipients a kill may have caught between the dot and its record.

A memory-mapped file of slots. Before a final dot leaves, the recipients it speaks of are written into a slot; when
the receiver has taken them the slot says so; when the store has it on disk the slot is free. Nothing is synced: the
pages belong to the kernel and outlive the process however it dies, and a slot costs microseconds. After a power cut
the file may be old or broken; then the CRC and the attempt's number tell, and what was under way is sent again
without being known as a possible duplicate.

The next start reads it: what was taken is recorded as delivered, what had no answer is lost after the dot.
"""

from __future__ import annotations

import json
import logging
import mmap
import os
from binascii import crc32
from collections.abc import Iterable, Sequence
from pathlib import Path
from struct import Struct
from typing import NamedTuple

from relay.core.jsontext import json_encoder

log = logging.getLogger("relay.queue")

SLOT_BYTES = 1024
SLOTS = 256  # to begin with: one for each connection under way
PLACES_EACH = 64  # recipients a slot has room for
HEAD = Struct("<IH")  # CRC-32 and length of what follows
ENCODE = json_encoder()
FREE, SENT, TAKEN = 0, 1, 2

Place = tuple[int, int]
"""A recipient's index in its message, and how many attempts it had before this one."""


class Mark(NamedTuple):
    """One slot: recipients of a message whose dot may have left; `taken`: the receiver has answered 2xx."""

    message: str
    places: tuple[Place, ...]
    taken: bool


class UnderWay:
    """The journal of a running process; `path` None keeps it in memory only, and so does a disk that is full."""

    def __init__(self, path: Path | None) -> None:
        self._file = os.memfd_create("under way") if path is None else _room_on_disk(path)
        os.ftruncate(self._file, SLOTS * SLOT_BYTES)
        self._map = mmap.mmap(self._file, SLOTS * SLOT_BYTES)
        self._free = [number * SLOT_BYTES for number in range(SLOTS)]

    def sent(self, message: str, places: Sequence[Place]) -> list[int]:
        """The dot is about to leave; returns the slots for `taken` and `clear`."""
        return self._write(message, places, SENT)

    def taken(self, slots: Sequence[int], message: str, places: Sequence[Place], *, all_of_it: bool) -> list[int]:
        """The receiver has taken these `places` of what was sent, `all_of_it` or some; returns the slots that say
        so now, and frees the others."""
        if all_of_it:
            for slot in slots:
                self._map[slot] = TAKEN
            return list(slots)
        written = self._write(message, places, TAKEN)  # first the new, then the old: a kill between counts twice
        self.clear(slots)
        return written

    def clear(self, slots: Iterable[int]) -> None:
        """What was noted there is on disk, or was not sent after all."""
        if self._map.closed:
            return  # the last records of a stop: the next start sees that they were made
        for slot in slots:
            self._map[slot] = FREE
            self._free.append(slot)

    def close(self) -> None:
        """Ends the use; what is noted stays for the next start."""
        self._map.close()
        os.close(self._file)

    def _write(self, message: str, places: Sequence[Place], flag: int) -> list[int]:
        slots = []
        for first in range(0, len(places), PLACES_EACH):
            if not self._free and not self._grow():
                break  # no room on the disk: what is not noted is sent all the same, and is not known after a kill
            text = ENCODE((message, places[first : first + PLACES_EACH])).encode()
            slot = self._free.pop()
            record = HEAD.pack(crc32(text), len(text)) + text
            self._map[slot + 1 : slot + 1 + len(record)] = record
            self._map[slot] = flag  # one byte, last: a slot is whole or free
            slots.append(slot)
        return slots

    def _grow(self) -> bool:
        size = len(self._map)
        try:
            os.posix_fallocate(self._file, size, size)
        except OSError:
            return False
        self._map.resize(2 * size)
        self._free = list(range(size, 2 * size, SLOT_BYTES))
        return True


def _room_on_disk(path: Path) -> int:
    """The journal's file with all its blocks: a write into a hole of a mapped file would be a SIGBUS once the disk is
    full. Without room, a file in memory."""
    file = -1
    try:
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o640)
        os.posix_fallocate(file, 0, SLOTS * SLOT_BYTES)
    except OSError as error:
        log.error("%s cannot be kept, so a kill leaves unknown what was under way: %s", path, error)
        if file >= 0:
            os.close(file)
        return os.memfd_create("under way")
    return file


def read_marks(path: Path) -> list[Mark]:
    """What the last process left in its journal; slots that are not whole are skipped."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return []
    found = (_mark(data[at : at + SLOT_BYTES]) for at in range(0, len(data) - SLOT_BYTES + 1, SLOT_BYTES))
    return [mark for mark in found if mark is not None]


def _mark(slot: bytes) -> Mark | None:
    if slot[0] not in (SENT, TAKEN):
        return None
    crc, length = HEAD.unpack_from(slot, 1)
    text = slot[1 + HEAD.size : 1 + HEAD.size + length]
    if len(text) != length or crc32(text) != crc:
        return None
    message, places = json.loads(text)
    return Mark(message, tuple((nth, attempts) for nth, attempts in places), slot[0] == TAKEN)
