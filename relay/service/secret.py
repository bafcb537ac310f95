"""Keys that nobody needs to see: made at first use, kept in the data folder."""

from __future__ import annotations

import secrets
from pathlib import Path


def secret_file(path: Path) -> bytes:
    """The bytes of a key made at first use, mode 0600; raises OSError."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(0o600)
        path.write_bytes(secrets.token_bytes(32))
    return path.read_bytes()
