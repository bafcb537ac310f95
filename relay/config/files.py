"""Files as they were read: remembered, so that other processes can be given the very same rules."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Self


class Files:
    """Reads from the disk and remembers; or, with `kept`, gives what was remembered and never looks at the disk."""

    def __init__(self, kept: Mapping[str, str] | None = None) -> None:
        self._given = kept is not None
        self._kept: dict[str, str] = dict(kept or {})

    def is_file(self, path: Path) -> bool:
        """Whether there is such a file."""
        return str(path) in self._kept if self._given else path.is_file()

    def read(self, path: Path, most: int) -> bytes:
        """At most `most` bytes of a file; raises OSError."""
        if self._given:
            return self._kept[str(path)].encode()[:most]
        with path.open("rb") as file:
            data = file.read(most)
        self._kept[str(path)] = data.decode("utf-8", "replace")
        return data

    def names(self, folder: Path) -> list[Path]:
        """What lies in a folder; raises OSError."""
        if self._given:
            return [path for path in map(Path, self._kept) if path.parent == folder]
        return list(folder.iterdir())

    def inside(self, path: Path, root: Path) -> bool:
        """Whether a file of a folder really lies there; raises OSError."""
        return self._given or path.resolve().is_relative_to(root.resolve(strict=True))

    def packed(self) -> bytes:
        """All of it, for `unpacked`."""
        return json.dumps(self._kept, sort_keys=True).encode()

    @property
    def mark(self) -> str:
        """A digest: the same files have the same mark."""
        return hashlib.sha256(self.packed()).hexdigest()[:16]

    @classmethod
    def unpacked(cls, data: bytes) -> Self:
        """The files of `packed`; raises ValueError."""
        kept = json.loads(data)
        if not isinstance(kept, dict) or not all(isinstance(text, str) for text in kept.values()):
            raise ValueError("no files")
        return cls(kept)
