"""One running relay: the only place where the parts meet. Start, reload, drain, stop."""

from __future__ import annotations

from pathlib import Path


def serve(config: Path) -> int:
    """Runs the relay until it is told to stop; returns the exit code: 0 after a clean stop, 1 when it could
    not start or broke."""
    from relay.service.run import run  # noqa: PLC0415  (the command line must not load all of it)

    return run(config)
