"""What commands print: tables for people on a terminal, aligned text in a pipe, JSON for programs."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence

CONTROL = dict.fromkeys((*range(32), *range(127, 160)), "?")  # remote text must not drive the terminal


def show_table(columns: Sequence[str], rows: Sequence[Sequence[object]], *, empty: str = "") -> None:
    """Prints rows under column names; `empty` is said instead of a table without rows."""
    if not rows:
        print(empty or "nothing")
        return
    texts = [[clean(cell) for cell in row] for row in rows]
    if sys.stdout.isatty():
        _rich_table(columns, texts)
    else:
        print(plain_table(columns, texts))


def plain_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Left-aligned columns, two spaces apart, no trailing space; easy for awk and for eyes."""
    heads = [name.upper() for name in columns]
    widths = [max(len(row[i]) for row in (heads, *rows)) for i in range(len(heads))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in (heads, *rows)
    ]
    return "\n".join(lines)


def show_fields(fields: Sequence[tuple[str, object]]) -> None:
    """Prints name and value pairs, values aligned."""
    width = max(len(name) for name, _ in fields)
    for name, value in fields:
        print(f"{name.ljust(width)}  {clean(value)}".rstrip())


def show_json(value: object) -> None:
    """Prints one JSON value, readable and with characters as they are."""
    print(json.dumps(value, ensure_ascii=False, indent=2))


def clean(value: object) -> str:
    """A value as one line of printable text; control characters and broken ones become question marks."""
    return str(value).translate(CONTROL).encode("utf-8", "replace").decode()


def ago(then: float, now: float | None = None) -> str:
    """How long ago a Unix time was, in its two largest units: "3h 12m"; "in 40s" for the future."""
    seconds = (time.time() if now is None else now) - then
    return f"in {span(-seconds)}" if seconds < 0 else span(seconds)


def span(seconds: float) -> str:
    """A duration for people: "0.4s", "40s", "3h 12m", "2d 4h"."""
    if seconds < 10:
        return f"{seconds:.1f}s"
    whole = int(seconds)
    for size, unit, part, small in ((86400, "d", 3600, "h"), (3600, "h", 60, "m"), (60, "m", 1, "s")):
        if whole >= size:
            rest = whole % size // part
            return f"{whole // size}{unit} {rest}{small}" if rest else f"{whole // size}{unit}"
    return f"{whole}s"


def moment(when: float) -> str:
    """A Unix time as UTC text: 2026-03-01 12:00:00Z."""
    return time.strftime("%Y-%m-%d %H:%M:%SZ", time.gmtime(when))


def ask_yes(question: str) -> bool:
    """Asks on the terminal; anything but y or yes is no, and so is a closed input."""
    try:
        return input(f"{question} [y/N] ").strip().lower() in ("y", "yes")
    except EOFError:
        return False


def _rich_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in columns:
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*[Text(cell) for cell in row])
    Console().print(table)
