"""Room kept on the disk for the day on which it is full.

The end of a delivery must be recorded, or the message is sent again; recording it needs room, if only for a
while (the log grows before the file shrinks). So a file of zeros is kept, and when no settlement can be recorded
for want of room it is thrown off. From then until it can be written again, what room there is belongs to
settlements: no mail is taken.
"""

from __future__ import annotations

import logging
import os
import time
from pathlib import Path

log = logging.getLogger("relay.queue")

BYTES = 16 << 20  # what the log may hold that the file has not got yet: sqlite.CHECKPOINT_BYTES
DISK_SHARE = 4  # at most one in so many of all bytes of a small disk
BLOCK = bytes(1 << 20)
AGAIN_S = 1.0


class Ballast:
    """`gone`: it was thrown off, or could not be made. All methods but `due` touch the disk."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.gone = True
        self._looked_at = float("-inf")

    def due(self) -> bool:
        """Whether it is missing and it is time to try to have it again; costs nothing."""
        return self.gone and time.monotonic() - self._looked_at >= AGAIN_S

    def take(self, _: object = None) -> None:
        """Makes the file, if there is twice the room for it."""
        self._looked_at = time.monotonic()
        try:
            disk = os.statvfs(self.path.parent)
            size = min(BYTES, disk.f_blocks * disk.f_frsize // DISK_SHARE)
            if not self.path.exists() or self.path.stat().st_size < size:
                if disk.f_bavail * disk.f_frsize < 2 * size:
                    return
                _fill(self.path, size)
        except OSError:
            self.throw_off()
            return
        self.gone = False

    def throw_off(self, _: object = None) -> None:
        """Gives the room to whoever needs it."""
        if not self.gone:
            log.error("the disk is full; its last room is used to record deliveries")
        self.gone = True
        self._looked_at = time.monotonic()
        self.path.unlink(missing_ok=True)


def _fill(path: Path, size: int) -> None:
    """Real bytes: a file that is only said to be so long keeps no room."""
    with path.open("wb", buffering=0) as file:
        while size > 0:
            size -= file.write(BLOCK[:size])
