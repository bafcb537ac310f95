"""`relay limits`: what replies of providers led to, in force now."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from relay.cli.control import segment
from relay.cli.options import ConfigOption, JsonOption, control_of, noun
from relay.cli.output import ago, show_json, show_table

app = noun("limits", "Limits that providers' replies led to, in force now.")


@app.command("list")
def list_limits(as_json: JsonOption = False, config: ConfigOption = None) -> None:
    """Show the limits in force: what, towards whom, by which rule and reply, and when each ends."""
    limits = control_of(config).get("limits")["limits"]
    if as_json:
        show_json(limits)
        return
    show_table(
        ("id", "what", "towards", "ends", "replies", "rule", "last reply"),
        [_cells(limit) for limit in limits],
        empty="no reply has led to a limit that is in force",
    )


@app.command("cancel")
def cancel_limit(
    limit: Annotated[str, typer.Argument(metavar="ID")],
    config: ConfigOption = None,
) -> None:
    """End a limit now: what it kept back goes at once. The next such reply may set it again."""
    answer = control_of(config).post(f"limits/{segment(limit)}/cancel", {})
    print(f"ended: {answer['ended']}")


def _cells(limit: dict[str, Any]) -> tuple[object, ...]:
    return (
        limit["id"],
        limit["what"],
        limit["towards"],
        ago(limit["until"]),
        limit["replies"],
        f"{limit['rule']} ({limit['where']})",
        limit["reply"],
    )
