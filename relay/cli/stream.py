"""`relay stream`: the streams, their backlog and their objective."""

from __future__ import annotations

from typing import Any

from relay.cli.options import ConfigOption, JsonOption, control_of, noun
from relay.cli.output import show_json, show_table, span

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
