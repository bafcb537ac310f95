"""The data folder belongs to one process at a time."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path

from relay.queue.folders import make_folder


class Busy(Exception):
    """Another relay runs on the same data."""


@contextlib.contextmanager
def data_lock(data: Path, wait_s: float = 0.0) -> Iterator[int]:
    """Holds the data folder for this process and those it forks: two writers would ruin the queue. Gives the
    descriptor that holds it. Raises Busy when it cannot be had within `wait_s`: children of a relay that was killed
    may hold it for a moment longer."""
    make_folder(data)
    handle = os.open(data / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    if not _locked(handle, time.monotonic() + wait_s):
        os.close(handle)
        raise Busy(f"another relay runs on {data}: stop it, or give this one a data folder of its own") from None
    try:
        yield handle
    finally:
        os.close(handle)


def _locked(handle: int, until: float) -> bool:
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= until:
                return False
            time.sleep(0.02)
        else:
            return True
