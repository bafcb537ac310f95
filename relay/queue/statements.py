"""SQL kept in files: statements by name, migrations by number."""

from __future__ import annotations

import re
from functools import cache
from importlib import resources

NAME = re.compile(r"^-- name: (\w+)$", re.MULTILINE)
MIGRATION = re.compile(r"^(\d{3})_\w+\.sql$")


@cache
def statements() -> dict[str, str]:
    """The statements of statements.sql by name."""
    text = (resources.files("relay.queue") / "sql" / "statements.sql").read_text(encoding="utf-8")
    parts = NAME.split(text)[1:]
    return {name: body.strip() for name, body in zip(parts[::2], parts[1::2], strict=True)}


def migrations() -> list[tuple[int, str]]:
    """(number, script) of every migration, in order; numbers run from 1 without a gap."""
    folder = resources.files("relay.queue") / "sql"
    found = sorted(
        (int(match[1]), entry.read_text(encoding="utf-8"))
        for entry in folder.iterdir()
        if (match := MIGRATION.match(entry.name))
    )
    assert [number for number, _ in found] == list(range(1, len(found) + 1)), "a migration number is missing"
    return found
