"""Options that several commands share, declared once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from relay.cli.control import Control
from relay.cli.place import running_config

ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config",
        "-c",
        envvar="RELAY_CONFIG",
        metavar="FILE",
        show_envvar=False,
        help="Configuration file. Default: RELAY_CONFIG, config/relay.yaml, /etc/relay/relay.yaml.",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


# Every noun of the command line is made by this: one look, no shell completion code, no boxes.
def noun(name: str, text: str) -> typer.Typer:
    """A group of commands about one noun."""
    return typer.Typer(name=name, help=text, no_args_is_help=True, add_completion=False, rich_markup_mode=None)


def control_of(config: Path | None) -> Control:
    """The control socket of the relay that runs here."""
    return Control(running_config(config).control_socket)
