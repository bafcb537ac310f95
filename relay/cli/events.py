"""`relay events`: the event log, filtered."""

from __future__ import annotations

import csv
import json
import sys
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from relay.cli.eventfile import EventFilter, events, follow, last_events
from relay.cli.failure import Failed, Misused
from relay.cli.options import ConfigOption, JsonOption, noun
from relay.cli.output import clean, moment
from relay.cli.place import running_config
from relay.cli.selection import seconds_of
from relay.core.events import NAMES
from relay.web.filters import nearest

app = noun("events", "The event log: what happened to every message.")
CSV_COLUMNS = (
    "time",
    "event",
    "message",
    "recipient",
    "stream",
    "route",
    "sender",
    "tags",
    "node",
    "source",
    "mx",
    "address",
    "tls",
    "code",
    "enhanced",
    "text",
    "phase",
    "attempt",
    "seconds",
    "class",
)

EventOption = Annotated[str, typer.Option("--event", metavar="NAME", help="Kind of event.")]
StreamOption = Annotated[str, typer.Option("--stream", metavar="GLOB")]
RecipientOption = Annotated[str, typer.Option("--recipient", metavar="GLOB")]
SenderOption = Annotated[str, typer.Option("--sender", metavar="GLOB")]
MessageOption = Annotated[str, typer.Option("--message", metavar="ID")]
SinceOption = Annotated[str, typer.Option("--since", metavar="1h|2026-03-01[T12:00]", help="Age or UTC time.")]


@app.command("tail")
def tail(
    event: EventOption = "",
    stream: StreamOption = "",
    recipient: RecipientOption = "",
    sender: SenderOption = "",
    message: MessageOption = "",
    since: SinceOption = "",
    lines: Annotated[int, typer.Option("--lines", "-n", min=0, help="How many of the last ones.")] = 20,
    following: Annotated[bool, typer.Option("--follow", "-f", help="Go on as events happen.")] = False,
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Show the last events, and with --follow those that come."""
    which = make_filter(event, stream, recipient, sender, message, since)
    folder = _folder(config)
    write = _write_json if as_json else _write_line
    for row in last_events(folder, which, lines) if lines else []:
        write(row)
    if following:
        try:
            for row in follow(folder, which):
                write(row)
                sys.stdout.flush()
        except KeyboardInterrupt:
            return


@app.command("export")
def export(
    event: EventOption = "",
    stream: StreamOption = "",
    recipient: RecipientOption = "",
    sender: SenderOption = "",
    message: MessageOption = "",
    since: SinceOption = "",
    as_csv: Annotated[bool, typer.Option("--csv", help="CSV with a header line, not JSON lines.")] = False,
    config: ConfigOption = None,
) -> None:
    """Write every event that matches to standard output, oldest first, as JSON lines or CSV."""
    rows = events(_folder(config), make_filter(event, stream, recipient, sender, message, since))
    if as_csv:
        write_csv(rows)
        return
    for row in rows:
        _write_json(row)


def make_filter(event: str, stream: str, recipient: str, sender: str, message: str, since: str) -> EventFilter:
    """An EventFilter; raises Misused for an event or a time that cannot be."""
    if event and event not in NAMES:
        names = tuple(sorted(NAMES))
        raise Misused(f"no event is called {event!r}{nearest(event, names)}; there are: {', '.join(names)}")
    return EventFilter(event, stream, recipient, sender, message, moment_of(since, time.time()) if since else 0.0)


def moment_of(text: str, now: float) -> float:
    """Unix time of an age ("1h") or of a UTC date or time ("2026-03-01", "2026-03-01T12:00")."""
    try:
        given = datetime.fromisoformat(text)
    except ValueError:
        return now - seconds_of(text)
    return (given if given.tzinfo else given.replace(tzinfo=UTC)).timestamp()


def write_csv(rows: Iterable[dict[str, Any]]) -> None:
    """CSV (RFC 4180) of fixed columns; tags as one JSON object."""
    writer = csv.writer(sys.stdout)
    writer.writerow(CSV_COLUMNS)
    for row in rows:
        cells = {**row, "tags": json.dumps(row["tags"], ensure_ascii=False) if "tags" in row else ""}
        writer.writerow([cells.get(name, "") for name in CSV_COLUMNS])


def event_line(row: dict[str, Any]) -> str:
    """One event as one line for people."""
    words = [
        moment(row["time"]),
        str(row["event"]).ljust(9),
        row.get("message", ""),
        row.get("recipient", ""),
    ]
    if stream := row.get("stream"):
        words.append(f"[{stream}]")
    if mx := row.get("mx"):
        words.append(f"via {mx}")
    code = " ".join(str(row[name]) for name in ("code", "enhanced") if row.get(name))
    words += [code, str(row.get("text") or row.get("reason") or row.get("seen") or "")]
    return clean(" ".join(word for word in words if word))


def _write_line(row: dict[str, Any]) -> None:
    print(event_line(row))


def _write_json(row: dict[str, Any]) -> None:
    print(json.dumps(row, ensure_ascii=False))


def _folder(config: Path | None) -> Path:
    folder = running_config(config).events_dir
    if not folder.is_dir():
        raise Failed(f"there is no event log at {folder}: has the relay run with this configuration?")
    return folder
