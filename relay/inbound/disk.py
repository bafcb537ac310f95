"""How much room is left on the disks the queue lies on."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

LOOK_S = 1.0  # between two looks; what was accepted meanwhile is known from the queue itself
USUAL_SHARE, USUAL_MOST = 0.05, 100 << 20


@dataclass(slots=True)
class Disk:
    """The folders' disks; the fullest counts. `reserve` is what must stay free: bytes, a share (below 1), or
    None for 5 %, at most 100 MiB: the relay needs some to record what it delivers."""

    folders: Sequence[Path]
    reserve: float | None = None
    looked_at: float = float("-inf")
    free: int = 0
    kept: int = 0

    def look(self, now: float) -> None:
        """Brings `free` and `kept` (bytes) up to date, at most every LOOK_S."""
        if 0 <= now - self.looked_at < LOOK_S:
            return
        self.looked_at = now
        found = [os.statvfs(folder) for folder in self.folders]
        fullest = min(found, key=lambda one: one.f_bavail * one.f_frsize)
        self.free = fullest.f_bavail * fullest.f_frsize
        total = fullest.f_blocks * fullest.f_frsize
        if self.reserve is None:
            self.kept = min(int(total * USUAL_SHARE), USUAL_MOST)
        else:
            self.kept = int(self.reserve if self.reserve >= 1 else total * self.reserve)
