"""`relay sandbox`: what `delivery: {mode: sandbox}` received instead of the world."""

from __future__ import annotations

from typing import Annotated

import typer

from relay.cli.control import segment
from relay.cli.options import ConfigOption, JsonOption, control_of, noun
from relay.cli.output import ago, clean, moment, show_fields, show_json, show_table, span

app = noun("sandbox", "What the sandbox received: nothing of it left this machine.")


@app.command("list")
def list_caught(as_json: JsonOption = False, config: ConfigOption = None) -> None:
    """Show the last messages, newest first: stream, DKIM verdict, delay."""
    caught = control_of(config).get("sandbox")["messages"]
    if as_json:
        show_json(caught)
        return
    show_table(
        ("id", "age", "stream", "from", "to", "subject", "dkim", "delay"),
        [
            (
                one["id"],
                ago(one["received_at"]),
                one["stream"] or "-",
                one["sender"] or "<>",
                ", ".join(one["recipients"]),
                one["subject"] or "-",
                one["dkim"],
                span(one["delay_s"]),
            )
            for one in caught
        ],
        empty="the sandbox has received nothing yet: relay send --to you@example.com",
    )


@app.command("show")
def show_caught(
    caught: Annotated[str, typer.Argument(metavar="ID")],
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Show one message as it would have left: verdicts, then the bytes as text."""
    one = control_of(config).get(f"sandbox/{segment(caught)}")
    if as_json:
        show_json(one)
        return
    show_fields(
        [
            ("message", one["message"]),
            ("stream", one["stream"] or "-"),
            ("from", one["sender"] or "<>"),
            ("to", ", ".join(one["recipients"])),
            ("dkim", one["dkim"]),
            ("delay", span(one["delay_s"])),
            ("received", moment(one["received_at"])),
            ("size", f"{one['size']} bytes"),
        ]
    )
    print()
    for line in str(one["source"]).splitlines():
        print(clean(line.replace("\t", "    ")))
