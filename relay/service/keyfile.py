"""A secret of this relay's own: made at first use, the same ever after."""

from __future__ import annotations

import secrets
from pathlib import Path


def secret_file(path: Path) -> bytes:
    """The bytes of the key in a file, which is made with mode 0600 where there is none; raises OSError."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        made = path.with_name(f".{path.name}.new")  # renamed when it is whole: half a key would stay for ever
        made.unlink(missing_ok=True)
        made.touch(0o600)
        made.write_bytes(secrets.token_bytes(32))
        made.rename(path)
    return path.read_bytes()
