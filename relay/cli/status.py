"""`relay status` and `relay reload`: the running relay itself."""

from __future__ import annotations

from typing import Any

import typer

from relay.cli.failure import Failed
from relay.cli.options import ConfigOption, JsonOption, control_of
from relay.cli.output import ago, clean, moment, show_fields, show_json, show_table


def status(as_json: JsonOption = False, config: ConfigOption = None) -> None:
    """Show the running relay: version, listeners, counts. Exit code 1 when it is not ready."""
    now = control_of(config).get("status")
    if as_json:
        show_json(now)
    else:
        show_fields(
            [
                ("relay", f"{now['version']} on {now['hostname']}, pid {now['pid']}"),
                ("ready", now["ready"] or "yes"),
                ("running", f"{ago(now['started_at'])} (since {moment(now['started_at'])})"),
                ("delivery", now["delivery"]),
                ("policies", f"read {ago(now['policies_loaded_at'])} ago"),
                ("accepted", f"{now['accepted']} recipients"),
                *[(f"  {end}", count) for end, count in sorted(now["ends"].items())],
                ("  queued", now["queued"]),
                ("  held", now["held"]),
                ("gap", f"{now['gap']} (must be 0)" if now["gap"] else "0"),
            ]
        )
        print()
        show_table(
            ("listener", "address", "connections"),
            [(one["name"], one["bind"], one["connections"]) for one in now["listeners"]],
        )
        _show_fronts(now.get("fronts") or [])
        _show_objectives(now.get("objectives") or {})
        for problem in now["reload_problems"]:
            print(f"last reload failed: {clean(problem)}")
    if now["ready"] or now["gap"]:
        raise typer.Exit(1)


def _show_fronts(fronts: list[dict[str, Any]]) -> None:
    """One line for each process that takes mail; nothing for a relay in one process."""
    if fronts:
        print()
        show_table(
            ("front", "pid", "takes mail", "running", "started again", "connections"),
            [
                (one["number"], one["pid"] or "-", "yes" if one["takes_mail"] else "no", ago(one["since"]),
                 one["restarts"], one["connections"])
                for one in fronts
            ],
        )  # fmt: skip


def _show_objectives(objectives: dict[str, Any]) -> None:
    """One line for each stream that has promised something; above 1 it uses up more than it may miss."""
    if objectives:
        print()
        show_table(
            ("stream", "objective", "met", "burn 5m", "1h", "6h", "3d"),
            [
                (name, one["objective"], "-" if one["met"] is None else f"{one['met']:.3%}",
                 *(f"{one['burn'][window]:.1f}" for window in ("5m", "1h", "6h", "3d")))
                for name, one in objectives.items()
            ],
        )  # fmt: skip


def reload(config: ConfigOption = None) -> None:
    """Read configuration, policies, credentials and certificates again, all or nothing; say what of it needs a
    restart."""
    answer = control_of(config).post("reload", {})
    if answer["problems"]:
        lines = "\n".join(clean(problem) for problem in answer["problems"])
        raise Failed(f"not reloaded, the old policies stay in force:\n{lines}")
    print("reloaded")
    for note in answer["notes"]:
        print(clean(note))
