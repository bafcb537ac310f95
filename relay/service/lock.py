"""The data folder belongs to one process at a time."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path


class Busy(Exception):
    """Another relay runs on the same data."""


@contextlib.contextmanager
def data_lock(data: Path) -> Iterator[None]:
    """Holds the data folder for this process: two writers would ruin the queue. Raises Busy."""
    data.mkdir(parents=True, exist_ok=True)
    handle = os.open(data / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        raise Busy(f"another relay runs on {data}: stop it, or give this one a data folder of its own") from None
    try:
        yield
    finally:
        os.close(handle)
