"""Where things are: the configuration file a command means, and the running relay behind it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from relay.cli.failure import Failed

if TYPE_CHECKING:
    from relay.config.model import Config

DEFAULTS = (Path("config/relay.yaml"), Path("/etc/relay/relay.yaml"))
QUICKSTART = Path("config/quickstart.yaml")  # what `make run` starts; `relay serve` wants it named


def own_config(given: Path | None, *, places: Sequence[Path] | None = None) -> Path:
    """The file to run on: the one given, else the first of `places` (DEFAULTS) that exists; raises Failed."""
    if given is not None:
        if given.is_file():
            return given
        raise Failed(f"no configuration at {given}: give the right file with --config or RELAY_CONFIG")
    for path in places or DEFAULTS:
        if path.is_file():
            return path
    looked = " or ".join(str(path) for path in DEFAULTS)
    raise Failed(f"no configuration at {looked}: give one with --config FILE or RELAY_CONFIG")


def checked_config(given: Path | None) -> Path:
    """The file a command other than `serve` is about: in a checkout that has no configuration of its own
    yet, the quickstart's counts too."""
    return own_config(given, places=(*DEFAULTS, QUICKSTART))


def read_config(given: Path | None) -> Config:
    """The checked configuration; raises Failed with its problems, one a line."""
    path = checked_config(given)
    config, problems = _load(path)
    if config is None:
        lines = "\n".join(str(problem) for problem in problems)
        raise Failed(f"{path} has errors:\n{lines}")
    return config


def running_config(given: Path | None) -> Config:
    """The configuration of the relay that runs here: the one given, else the first whose control socket is
    there, else the first there is. Raises Failed, naming where it looked."""
    first = read_config(given)
    if given is not None or first.control_socket.is_socket():
        return first
    others = [path for path in (*DEFAULTS, QUICKSTART) if path.is_file() and str(path) != first.file]
    running = (config for config, _ in map(_load, others) if config and config.control_socket.is_socket())
    return next(running, first)


def _load(path: Path) -> tuple[Config | None, list[object]]:
    from relay.config.read import load_config

    config, problems = load_config(path)
    return config, list(problems)
