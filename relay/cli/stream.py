"""`relay stream`: the streams, their backlog and their objective."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from relay.cli.control import segment
from relay.cli.options import ConfigOption, JsonOption, control_of, noun
from relay.cli.output import clean, moment, show_json, show_table, span
from relay.cli.selection import seconds_of

app = noun("stream", "The streams, their backlog and their objective.")


@app.command("list")
def list_streams(as_json: JsonOption = False, config: ConfigOption = None) -> None:
    """Show every stream: what waits, for how long, and how it meets its objective."""
    streams = control_of(config).get("streams")["streams"]
    if as_json:
        show_json(streams)
        return
    show_table(
        ("stream", "queued", "held", "oldest", "objective", "met", "burn 5m/1h/6h/3d", "pool", "defined at"),
        [_cells(stream) for stream in streams],
        empty="no stream is defined",
    )


@app.command("pause")
def pause_stream(
    name: Annotated[str, typer.Argument(metavar="NAME")],
    lasts: Annotated[str | None, typer.Option("--for", metavar="2h", help="End by itself after this time.")] = None,
    config: ConfigOption = None,
) -> None:
    """Stop the deliveries of a stream; its mail is still accepted and waits."""
    body = {"for_s": seconds_of(lasts)} if lasts else {}
    brake = control_of(config).post(f"streams/{segment(name)}/pause", body)
    until = f"until {moment(brake['until'])}" if brake["until"] else f"until: relay stream resume {clean(name)}"
    print(f"stream {clean(name)} is paused {until}")


@app.command("resume")
def resume_stream(name: Annotated[str, typer.Argument(metavar="NAME")], config: ConfigOption = None) -> None:
    """Release every brake on the whole of a stream, an operator's pause included."""
    count = control_of(config).post(f"streams/{segment(name)}/resume", {})["released"]
    print(f"stream {clean(name)} goes on" if count else f"nothing paused stream {clean(name)}")


def _cells(stream: dict[str, Any]) -> tuple[object, ...]:
    met = stream["met"]
    return (
        stream["name"],
        stream["queued"],
        stream["held"],
        span(stream["oldest_s"]) if stream["queued"] else "-",
        stream["objective"] or "-",
        "-" if met is None else f"{met:.3%}",
        burn_text(stream.get("burn") or {}),
        stream["pool"],
        stream["where"] or "-",
    )


def burn_text(burn: dict[str, float]) -> str:
    """The burn rates, shortest window first: "0 0.2 1.1 0.4"; 1 uses up exactly what may be missed."""
    return " ".join(f"{rate:.1f}" if rate else "0" for rate in burn.values()) or "-"
