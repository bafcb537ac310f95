"""`relay policy replay`: what other policies would have done with mail that was recorded."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from relay.cli.failure import Failed, Misused
from relay.cli.options import ConfigOption, JsonOption
from relay.cli.output import clean, show_json, show_table, span
from relay.cli.policy import read_policies

if TYPE_CHECKING:
    from relay.policy.replay import Change, Replay
    from relay.policy.simulation import Result

ROWS_MOST = 40  # lines of a table on a terminal; --json has all


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
    """Show what other policies would have done with recorded mail: routes, refusals, sends an hour."""
    from relay.policy.replay import Evidence, Replay

    old_policy, new_policy = read_policies(old, config)[1], read_policies(new, config)[1]
    evidence = Evidence()
    for row in rows(files, ('"phase"',)):
        _tried(evidence.learn, row)
    played = Replay(old_policy, new_policy, evidence)
    for row in rows(files, ("accepted", "refused")):
        played.play(row)
    played.end()
    if not played.messages:
        raise Failed("there is no accepted message in " + ", ".join(map(str, files)))
    if as_json:
        show_json(as_dict(played))
    else:
        _show(played)
    if fail and played.differs:
        raise typer.Exit(1)


def rows(files: Sequence[Path], words: Sequence[str]) -> Iterator[dict[str, Any]]:
    """The events of the files that have one of the words, one at a time; torn lines are left out."""
    wanted = [word.encode() for word in words]
    for path in files:
        try:
            with path.open("rb") as file:
                for line in file:
                    if any(word in line for word in wanted):
                        yield from _row(line)
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
    except (KeyError, TypeError, AttributeError):
        return


def as_dict(played: Replay) -> dict[str, object]:
    """All of it for programs. Times are Unix seconds (UTC), delays seconds, null above three days."""
    return {
        "messages": played.messages,
        "differs": played.differs,
        "without_facts": played.without_facts,
        "unreadable": played.unreadable,
        "headers_not_recorded": played.not_recorded,
        **{name: _changes(getattr(played, name)) for name in ("routes", "streams", "refusals", "holds")},
        "sends": [
            {"hour": hour * 3600, "provider": provider, "before": before, "after": after}
            for (hour, provider), before, after in _sends(played, all_of_them=True)
        ],
        "results": {
            name: {"before": _result(played.old.results.get(name)), "after": _result(played.new.results.get(name))}
            for name in sorted({*played.old.results, *played.new.results})
        },
    }


def _changes(changes: dict[tuple[str, str], Change]) -> list[dict[str, object]]:
    return [
        {"before": before, "after": after, "messages": change.count, "examples": change.examples}
        for (before, after), change in sorted(changes.items(), key=lambda pair: -pair[1].count)
    ]


def _result(result: Result | None) -> dict[str, object] | None:
    if result is None:
        return None
    p50, p99 = (None if value == float("inf") else value for value in (result.quantile(0.5), result.quantile(0.99)))
    return {
        "delivered": result.delivered, "bounced": result.bounced, "expired": result.expired,
        "within_objective": result.in_time, "p50_s": p50, "p99_s": p99,
    }  # fmt: skip


def _sends(played: Replay, *, all_of_them: bool) -> list[tuple[tuple[int, str], int, int]]:
    """(hour, provider), sends before and after, in order; those that differ, or all."""
    before, after = played.old.sends, played.new.sends
    found = [(key, before.get(key, 0), after.get(key, 0)) for key in sorted({*before, *after})]
    return [one for one in found if all_of_them or one[1] != one[2]]


def _show(played: Replay) -> None:
    for title, name in (("route", "routes"), ("stream", "streams"), ("refusal", "refusals"), ("hold", "holds")):
        changes = _changes(getattr(played, name))
        if changes:
            cells = [(one["before"], one["after"], one["messages"], one["examples"][0]) for one in changes]  # type: ignore[index]
            _table((f"{title} before", "after", "messages", "for example"), cells)
    sends = _sends(played, all_of_them=False)
    if sends:
        hours = [
            (time.strftime("%Y-%m-%d %H:00Z", time.gmtime(hour * 3600)), provider, before, after)
            for (hour, provider), before, after in sends
        ]
        _table(("hour", "provider", "sends before", "after"), hours)
    _table(("stream", "", "delivered", "bounced", "expired", "p50", "p99", "within objective"), list(_results(played)))
    _notes(played)


def _table(columns: Sequence[str], cells: Sequence[Sequence[object]]) -> None:
    show_table(columns, cells[:ROWS_MOST])
    if len(cells) > ROWS_MOST:
        print(f"and {len(cells) - ROWS_MOST} more: --json shows all")
    print()


def _results(played: Replay) -> Iterator[tuple[object, ...]]:
    for name in sorted({*played.old.results, *played.new.results}):
        for word, simulation in (("before", played.old), ("after", played.new)):
            if result := simulation.results.get(name):
                stream = simulation.policy.streams[name]
                share = f"{result.in_time / max(1, result.delivered):.3%}" if stream.objective else "-"
                delays = [_delay(result.quantile(quantile)) if result.delivered else "-" for quantile in (0.5, 0.99)]
                yield name, word, result.delivered, result.bounced, result.expired, *delays, share


def _delay(seconds: float) -> str:
    return "over 3d" if seconds == float("inf") else f"≤{span(seconds)}"


def _notes(played: Replay) -> None:
    found = "something would differ" if played.differs else "nothing would differ"
    print(f"{played.messages} messages, {played.evidence.attempts} recorded attempts: {found}")
    if played.without_facts:
        print(
            f"{played.without_facts} messages were recorded without facts (events: {{facts: false}}, or an older"
            " release): rules on headers were asked as if there were none"
        )
    for name, count in played.not_recorded.items():
        print(clean(f"{count} messages do not tell of the header {name}, as no rule asked then: taken as absent"))
    if played.unreadable:
        print(f"{played.unreadable} events could not be read")
