"""`relay check`: everything that is read at start and at reload, read now, with every error at once."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from relay.cli.options import ConfigOption, JsonOption
from relay.cli.output import show_json
from relay.cli.place import own_config


def check(
    file: Annotated[Path | None, typer.Argument(metavar="[FILE]", help="Same as --config.")] = None,
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Read config, policies, keys and credentials; exit code 0, or 1 with every error at once."""
    from relay.config.read import check_all

    path = own_config(file or config)
    problems = check_all(path)
    if as_json:
        show_json(
            {
                "file": str(path),
                "problems": [
                    {
                        "file": one.file,
                        "line": one.line,
                        "column": one.column,
                        "message": one.message,
                        "hint": one.hint,
                    }
                    for one in problems
                ],
            }
        )
    elif problems:
        print("\n".join(str(problem) for problem in problems), file=sys.stderr)
        count = len(problems)
        print(f"{path}: {count} problem{'' if count == 1 else 's'}", file=sys.stderr)
    else:
        print(f"{path}: all is well")
    if problems:
        raise typer.Exit(1)
