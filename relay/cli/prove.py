"""`relay queue check`: the proof that nothing is lost, of a queue at work or of one that lies still."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from relay.cli.control import Control
from relay.cli.failure import Failed
from relay.cli.options import ConfigOption, JsonOption
from relay.cli.output import clean, show_fields, show_json
from relay.cli.place import running_config

if TYPE_CHECKING:
    from relay.config.model import Config

ANSWER_S = 3600.0  # every body of a large queue is read


def check_queue(
    quick: Annotated[bool, typer.Option("--quick", help="Do not read bodies, nor the whole file.")] = False,
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Prove that the accounts balance and every waiting recipient can be delivered; exit 1 if not."""
    where = running_config(config)
    if where.control_socket.is_socket() and (found := _live(where.control_socket, quick=quick)):
        found["live"] = True
    else:
        found = {**_stopped(where, quick=quick), "live": False}
    if as_json:
        show_json(found)
    else:
        _show(found)
    if found["problems"]:
        raise typer.Exit(1)


def _live(path: Path, *, quick: bool) -> dict[str, Any] | None:
    """What the running relay finds; None when it is gone and left its socket behind."""
    control = Control(path)
    try:
        control.get("status")
    except Failed:
        return None
    return control.get("check", {"quick": "1"} if quick else {}, ANSWER_S)


def _stopped(config: Config, *, quick: bool) -> dict[str, Any]:
    from relay.queue.checking import check
    from relay.queue.store import StoreBroken
    from relay.service.lock import Busy, data_lock

    if not config.queue_file.exists():
        raise Failed(f"there is no queue at {config.queue_file}")
    try:
        with data_lock(config.data):
            return check(config.queue_file, config.data / "spool", full=not quick, live=False).as_dict()
    except Busy:
        raise Failed(
            f"another process holds {config.data} and does not answer at {config.control_socket}: it starts or stops"
            " just now, or its configuration is another; ask again, or stop it"
        ) from None
    except (StoreBroken, OSError) as error:
        raise Failed(str(error)) from None


def _show(found: dict[str, Any]) -> None:
    ends = ", ".join(f"{name} {count}" for name, count in found["ends"].items())
    waiting = f"queued {found['queued']}, held {found['held']} (of these lost after the dot: {found['lost']})"
    show_fields(
        [
            ("queue", ("of the running relay" if found["live"] else "stopped") + (", not closed" * found["unclean"])),
            ("accepted", f"{found['accepted']} recipients"),
            ("ended", ends),
            ("waiting", f"{waiting}, in {found['messages']} messages"),
            ("gap", found["gap"]),
            ("checked", f"{'everything' if found['full'] else 'no bodies'}, in {found['seconds']:g} s"),
        ]
    )
    for note in found["notes"]:
        print(f"note: {clean(note)}")
    for one in found["problems"]:
        whose = f"message {one['message']}: " if one["message"] else ""
        print(clean(f"{whose}{one['text']}"), f"    remedy: {clean(one['remedy'])}", sep="\n", file=sys.stderr)
    print(f"{len(found['problems'])} problems" if found["problems"] else "nothing is wrong")
