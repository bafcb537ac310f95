"""Keys of our own, made when first needed."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

KEY_BYTES = 32


def secret_file(path: Path) -> bytes:
    """The bytes of a key, made at first use, mode 0600; raises OSError. It appears whole or not at all: half
    a key, left by a crash, would sign for ever with what anyone can guess."""
    if not path.exists() or path.stat().st_size < KEY_BYTES:
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = path.with_name(f"{path.name}.new")
        fresh.unlink(missing_ok=True)
        handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(secrets.token_bytes(KEY_BYTES))
            file.flush()
            os.fsync(handle)
        fresh.replace(path)
    return path.read_bytes()
