"""`relay policy replay`: what other policies would have done with mail that was recorded."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from relay.cli.failure import Failed, Misused
from relay.cli.options import ConfigOption, JsonOption
from relay.cli.output import show_json
from relay.cli.policy import read_policies
from relay.cli.replayed import as_dict, show

# What the first pass learns from (attempts, and what was paused), and what the second plays.
LEARNED = ('"phase"', '_paused"', '_resumed"', '"source_limited"')
PLAYED = ('"accepted"', '"refused"', '"attempted"')


def replay(
    files: Annotated[list[Path], typer.Argument(metavar="EVENTS.jsonl...", help="Event log, oldest file first.")],
    new: Annotated[Path, typer.Option("--policies", metavar="FOLDER", help="The policies to try.")],
    old: Annotated[
        Path | None, typer.Option("--against", metavar="FOLDER", help="Those in force then. Default: the configured.")
    ] = None,
    fail: Annotated[bool, typer.Option("--fail-on-difference", help="Exit code 1 if anything would differ.")] = False,
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Show what other policies would have done with recorded mail: routes, refusals, pauses, sends an hour."""
    from relay.policy.answers import Evidence
    from relay.policy.replay import Replay

    old_policy, new_policy = read_policies(old, config)[1], read_policies(new, config)[1]
    evidence = Evidence()
    for row in rows(files, LEARNED):
        _tried(evidence.learn, row)
    played = Replay(old_policy, new_policy, evidence)
    for row in rows(files, PLAYED):
        played.play(row)
    played.end()
    if not played.messages:
        raise Failed("there is no accepted message in " + ", ".join(map(str, files)))
    if as_json:
        show_json(as_dict(played))
    else:
        show(played)
    if fail and played.differs:
        raise typer.Exit(1)


def rows(files: Sequence[Path], words: Sequence[str]) -> Iterator[dict[str, Any]]:
    """The events of the files that have one of the words, one at a time; torn lines are left out."""
    wanted = [word.encode() for word in words]
    for path in files:
        try:
            with path.open("rb") as file:
                for line in file:
                    for word in wanted:
                        if word in line:
                            yield from _row(line)
                            break
        except OSError as error:
            raise Misused(f"{path} cannot be read: {error.strerror}") from None


def _row(line: bytes) -> list[dict[str, Any]]:
    try:
        row = json.loads(line)
    except ValueError:
        return []
    return [row] if isinstance(row, dict) else []


def _tried(learn: Callable[[dict[str, Any]], None], row: dict[str, Any]) -> None:
    """A line that no relay wrote teaches nothing."""
    try:
        learn(row)
    except (KeyError, ValueError, TypeError, AttributeError):
        return
