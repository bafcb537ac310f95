"""`relay queue`: what waits, and what an operator does about it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Annotated, Any

import typer

from relay.cli.control import Control, segment
from relay.cli.failure import Misused
from relay.cli.options import ConfigOption, JsonOption, YesOption, control_of, noun
from relay.cli.output import ago, ask_yes, clean, moment, show_fields, show_json, show_table
from relay.cli.prove import check_queue
from relay.cli.selection import (
    DomainOption,
    Messages,
    OlderOption,
    ReasonOption,
    RecipientOption,
    Selection,
    SenderOption,
    StateOption,
    StreamOption,
    TagOption,
    YoungerOption,
    select,
)

PREVIEW = 10  # rows shown before the question; enough to see that the filter is the right one
COUNT_LIMIT = 10_000  # what the API gives at most; beyond it the preview says "more than"
COLUMNS = ("id", "state", "stream", "recipient", "age", "next", "tries", "last answer")

ASKS = ("cancel", "delivered")  # what cannot be undone
app = noun("queue", "What waits in the queue: list, show, hold, release, retry, cancel, delivered, check.")
app.command("check")(check_queue)


@app.command("list")
def list_queue(
    messages: Messages = None,
    stream: StreamOption = None,
    domain: DomainOption = None,
    sender: SenderOption = None,
    recipient: RecipientOption = None,
    tag: TagOption = None,
    state: StateOption = None,
    reason: ReasonOption = None,
    older_than: OlderOption = None,
    younger_than: YoungerOption = None,
    limit: Annotated[int, typer.Option(min=1, max=COUNT_LIMIT, help="Rows at most.")] = 100,
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Show queued and held recipients, oldest first."""
    selection = select(
        messages,
        stream=stream,
        domain=domain,
        sender=sender,
        recipient=recipient,
        tag=tag,
        state=state,
        reason=reason,
        older_than=older_than,
        younger_than=younger_than,
    )
    rows, more = _find(control_of(config), selection, limit)
    if as_json:
        show_json({"rows": rows, "more": more})
        return
    show_table(COLUMNS, [_cells(row) for row in rows], empty="nothing in the queue matches")
    if more:
        print(f"there are more than {limit}: narrow it down, or --limit N", file=sys.stderr)


@app.command("show")
def show_message(
    message: Annotated[str, typer.Argument(metavar="ID")],
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Show one message: envelope, recipients, header, attempts."""
    shown = control_of(config).get(f"queue/{segment(message)}")
    if as_json:
        show_json(shown)
        return
    show_fields(
        [
            ("message", shown["message"]),
            ("stream", shown["stream"]),
            ("sender", shown["sender"] or "<> (null sender)"),
            ("accepted", f"{moment(shown['received_at'])} ({ago(shown['received_at'])} ago)"),
            ("size", f"{shown['size']} bytes"),
        ]
    )
    print()
    show_table(COLUMNS[1:], [_cells(row)[1:] for row in shown["rows"]])
    for attempt in shown["attempts"]:
        print(clean(f"{moment(attempt['time'])} {attempt['recipient']} {attempt['verdict']}: {attempt['text']}"))
    print()
    for line in str(shown["header"]).splitlines():
        print(clean(line.replace("\t", "    ")))


def _change_command(action: str, text: str) -> Callable[..., None]:
    """The commands that change recipients differ only in the verb."""

    def command(
        messages: Messages = None,
        stream: StreamOption = None,
        domain: DomainOption = None,
        sender: SenderOption = None,
        recipient: RecipientOption = None,
        tag: TagOption = None,
        state: StateOption = None,
        reason: ReasonOption = None,
        older_than: OlderOption = None,
        younger_than: YoungerOption = None,
        everything: Annotated[bool, typer.Option("--all", help="The whole queue.")] = False,
        yes: YesOption = False,
        as_json: JsonOption = False,
        config: ConfigOption = None,
    ) -> None:
        selection = select(
            messages,
            stream=stream,
            domain=domain,
            sender=sender,
            recipient=recipient,
            tag=tag,
            state=state,
            reason=reason,
            older_than=older_than,
            younger_than=younger_than,
        )
        if selection.everything != everything:
            raise Misused(f"relay queue {action} wants message ids, a filter, or --all (and not both)")
        _change(control_of(config), action, selection, yes=yes, as_json=as_json)

    return app.command(action, help=text)(command)


hold = _change_command("hold", "Stop delivery until released. Nothing expires while it is held.")
release = _change_command("release", "Deliver held recipients again, now.")
retry = _change_command("retry", "Try queued recipients now, not when they are due.")
cancel = _change_command("cancel", "End recipients for good. Their senders get no report.")
delivered = _change_command("delivered", "End recipients that were lost after the dot as delivered: they arrived.")


def _change(control: Control, action: str, selection: Selection, *, yes: bool, as_json: bool) -> None:
    """Previews and asks (always before an end, else unless ids were named), then acts and says how many."""
    asks = not yes and (action in ASKS or not selection.by_id)
    if asks and not _confirmed(control, action, selection, as_json):
        print("nothing was changed")
        raise typer.Exit(1)
    changed = 0
    for which in selection.filters:
        body: dict[str, object] = dict(which) or {"all": True}
        changed += int(control.post(f"queue/{action}", body)["changed"])
    if as_json:
        show_json({"action": action, "changed": changed})
    else:
        print(f"{action}: {changed} recipient{'' if changed == 1 else 's'} changed")
    if not changed:
        raise typer.Exit(1)


def _confirmed(control: Control, action: str, selection: Selection, as_json: bool) -> bool:
    if as_json or not sys.stdin.isatty():
        raise Misused(f"relay queue {action} asks before it acts; without a terminal say --yes")
    rows, more = _find(control, selection, COUNT_LIMIT)
    show_table(COLUMNS, [_cells(row) for row in rows[:PREVIEW]], empty="nothing in the queue matches")
    if not rows:
        return False
    if len(rows) > PREVIEW:
        print(f"… and {'more than ' if more else ''}{len(rows) - PREVIEW} more")
    return ask_yes(f"{action} {'more than ' if more else ''}{len(rows)} recipients?")


def _find(control: Control, selection: Selection, limit: int) -> tuple[list[dict[str, Any]], bool]:
    rows: list[dict[str, Any]] = []
    more = False
    for which in selection.filters:
        if len(rows) >= limit:
            return rows, True
        answer = control.get("queue", {**which, "limit": str(limit - len(rows))})
        rows += answer["rows"]
        more = more or bool(answer["more"])
    return rows, more


def _cells(row: dict[str, Any]) -> tuple[object, ...]:
    due = "-" if row["state"] in ("held", "lost_held") else ago(row["due_at"]).removesuffix(" ago")
    return (
        row["message"],
        row["state"],
        row["stream"],
        row["recipient"],
        ago(row["received_at"]),
        due,
        row["attempts"],
        row["last"] or "-",
    )
