"""`relay check`: everything that is read at start and at reload, read now, with every error at once."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from relay.cli.options import ConfigOption, JsonOption
from relay.cli.output import show_json
from relay.cli.place import checked_config


def check(
    file: Annotated[Path | None, typer.Argument(metavar="[FILE]", help="Same as --config.")] = None,
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Read config, policies, keys and credentials; exit code 0, or 1 with every error at once."""
    from relay.config.check import check_all

    path = checked_config(file or config)
    report = check_all(path)
    if as_json:
        show_json(
            {
                "file": str(path),
                "problems": [asdict(one) for one in report.problems],
                "notes": [asdict(one) for one in report.notes],
            }
        )
    else:
        for note in report.notes:
            print(f"note: {note}")
        for problem in report.problems:
            print(problem, file=sys.stderr)
        count = len(report.problems)
        verdict = f"{count} problem{'' if count == 1 else 's'}" if count else "all is well"
        print(f"{path}: {verdict}", file=sys.stderr if count else sys.stdout)
    if report.problems:
        raise typer.Exit(1)
