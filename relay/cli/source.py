"""`relay source`: the addresses mail leaves from."""

from __future__ import annotations

from typing import Any

from relay.cli.options import ConfigOption, JsonOption, control_of, noun
from relay.cli.output import moment, show_json, show_table

app = noun("source", "The addresses mail leaves from, their warm-up and health.")


@app.command("list")
def list_sources(as_json: JsonOption = False, config: ConfigOption = None) -> None:
    """Show every source: addresses, EHLO name, warm-up, pause, connections."""
    sources = control_of(config).get("sources")["sources"]
    if as_json:
        show_json(sources)
        return
    show_table(
        ("pool", "source", "addresses", "helo", "weight", "warm-up", "paused", "connections", "defined at"),
        [_cells(one) for one in sources],
        empty="no source is defined",
    )


def _cells(one: dict[str, Any]) -> tuple[object, ...]:
    addresses = ", ".join(address for address in (one["address"], one["address6"]) if address)
    paused = f"until {moment(one['paused_until'])}: {one['paused_why']}" if one["paused_until"] else "-"
    return (
        one["pool"],
        one["name"],
        addresses or "any",
        one["helo"],
        one["weight"],
        _warmup(one),
        paused,
        one["connections"],
        one["where"],
    )


def _warmup(one: dict[str, Any]) -> str:
    if one["allowance"] is None:
        return "-"
    sent = ", ".join(f"{count} to {provider or 'all'}" for provider, count in one["sent"].items())
    return f"day {one['day']}: {one['allowance']}/h, sent {sent or 'none'}"
