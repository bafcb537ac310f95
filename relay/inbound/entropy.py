"""Randomness for message ids: one read of the system's for many.

A read lets go of the interpreter lock, and getting it back from a busy thread takes longer than the read. What is
left over is never used by two processes: a child begins without.
"""

from __future__ import annotations

import os

ID_BYTES = 6  # what `core.ids.message_id` takes
READ_IDS = 256

_left: list[bytes] = []
os.register_at_fork(after_in_child=_left.clear)


def id_entropy() -> bytes:
    """Six bytes that nobody can guess and nobody else gets."""
    if not _left:
        drawn = os.urandom(ID_BYTES * READ_IDS)
        _left.extend(drawn[at : at + ID_BYTES] for at in range(0, len(drawn), ID_BYTES))
    return _left.pop()
