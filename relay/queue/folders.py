"""Folders that are still there after a power cut.

An fsync of a file does not promise that its name can be found again (fsync(2): "an explicit fsync() on a file
descriptor for the directory is also needed"), and the name of a folder is an entry of the one above it.
"""

from __future__ import annotations

import os
from pathlib import Path


def make_folder(folder: Path) -> None:
    """Makes the folder and those above it that are missing, each one's name synced. Raises OSError."""
    if folder.is_dir():
        return
    make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    sync(folder.parent)


def sync(path: str | Path) -> None:
    """Makes what was written to a file, or the names in a folder, durable. Raises OSError."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
