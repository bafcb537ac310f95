"""`relay brakes`: what stopped or slowed mail by itself, and how it is released."""

from __future__ import annotations

from typing import Annotated

import typer

from relay.cli.control import segment
from relay.cli.options import ConfigOption, JsonOption, control_of, noun
from relay.cli.output import ago, clean, moment, show_json, show_table

app = noun("brakes", "Brakes in force: what stopped or slowed mail by itself.")


@app.command("list")
def list_brakes(as_json: JsonOption = False, config: ConfigOption = None) -> None:
    """Show every brake in force, an operator's pause included."""
    brakes = control_of(config).get("brakes")["brakes"]
    if as_json:
        show_json(brakes)
        return
    show_table(
        ("id", "stream", "brakes", "does", "rule", "seen", "since", "until", "defined at"),
        [
            (
                one["id"],
                one["stream"],
                f"{one['by']} {one['key']}" if one["key"] else "all of it",
                one["do"],
                one["rule"],
                one["seen"] or "-",
                ago(one["since"]),
                "released" if one["until"] is None else moment(one["until"]),
                one["where"] or "-",
            )
            for one in brakes
        ],
        empty="no brake is in force",
    )


@app.command("release")
def release_brake(
    brake: Annotated[str, typer.Argument(metavar="ID")],
    config: ConfigOption = None,
) -> None:
    """End a brake; mail that it held goes on."""
    count = control_of(config).post(f"brakes/{segment(brake)}/release", {})["released"]
    print(f"released brake {clean(brake)}; {count} held recipients go on")
