"""Where things are: the configuration file a command means, and the running relay behind it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from relay.cli.failure import Failed

if TYPE_CHECKING:
    from relay.config.model import Config

DEFAULTS = (Path("config/relay.yaml"), Path("/etc/relay/relay.yaml"))
QUICKSTART = Path("config/quickstart.yaml")  # what `make run` starts; only commands that ask try it


def own_config(given: Path | None) -> Path:
    """The file to run on: the one given, else the first default that exists; raises Failed."""
    if given is not None:
        if given.is_file():
            return given
        raise Failed(f"no configuration at {given}: give the right file with --config or RELAY_CONFIG")
    for path in DEFAULTS:
        if path.is_file():
            return path
    places = " or ".join(str(path) for path in DEFAULTS)
    raise Failed(f"no configuration at {places}: give one with --config FILE or RELAY_CONFIG")


def read_config(given: Path | None) -> Config:
    """The checked configuration; raises Failed with its problems, one a line."""
    path = own_config(given)
    config, problems = _load(path)
    if config is None:
        lines = "\n".join(str(problem) for problem in problems)
        raise Failed(f"{path} has errors:\n{lines}")
    return config


def running_config(given: Path | None) -> Config:
    """The configuration of the relay that runs here: the one given, else the first default whose control
    socket is there (a checkout started by `make run` counts). Raises Failed, naming where it looked."""
    if given is not None:
        return read_config(given)
    found = [path for path in (*DEFAULTS, QUICKSTART) if path.is_file()]
    if not found:
        own_config(None)
    first: Config | None = None
    for path in found:
        config = read_config(path)
        first = first or config
        if config.control_socket.is_socket():
            return config
    assert first is not None, "own_config has raised when nothing was found"
    return first


def _load(path: Path) -> tuple[Config | None, list[object]]:
    from relay.config.read import load_config

    config, problems = load_config(path)
    return config, list(problems)
