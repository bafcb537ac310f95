"""`relay serve`: runs the relay in the foreground until SIGTERM."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from relay.cli.failure import Failed, Misused
from relay.cli.place import own_config

USAGE = "usage: relay serve [--config FILE]"


def run_serve(arguments: list[str]) -> int:
    """Exit code 0 after a clean stop, 1 when it could not start or broke, 2 for wrong arguments.
    Parsed by hand: typer and rich would stay in the relay's memory for as long as it runs."""
    try:
        config = own_config(_config_option(arguments))
    except (Failed, Misused) as error:
        print(f"relay: {error}", file=sys.stderr)
        return 2 if isinstance(error, Misused) else 1
    from relay.service import serve

    return int(serve(config))


def _config_option(arguments: list[str]) -> Path | None:
    """The file named by --config, -c or RELAY_CONFIG."""
    match arguments:
        case []:
            given = os.environ.get("RELAY_CONFIG", "")
        case ["--config" | "-c", given]:
            pass
        case [word] if word.startswith("--config="):
            given = word.removeprefix("--config=")
        case _:
            raise Misused(f"relay serve does not understand {' '.join(arguments)!r}\n{USAGE}")
    return Path(given) if given else None
