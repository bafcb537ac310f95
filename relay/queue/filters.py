"""An operator's filter as SQL: a WHERE clause over message m and recipient r, every value bound."""

from __future__ import annotations

import json
from string import ascii_uppercase
from typing import Any

from relay.queue.legal import SHOWN, STATES
from relay.queue.store import Filter

FIND = f"""SELECT m.id, r.idx, r.address, m.sender, m.stream, m.route, {SHOWN}, m.received_at, r.due_at,
r.attempts, m.size, r.last, m.tags, r.lost FROM recipient r JOIN message m ON m.id = r.message
WHERE {{where}} ORDER BY r.received_at, r.message, r.idx LIMIT ?"""  # noqa: S608 (fixed texts)
CHANGE = "SELECT r.message, r.idx FROM recipient r JOIN message m ON m.id = r.message WHERE {where}"

ASCII_LOWER = {ord(upper): upper.lower() for upper in ascii_uppercase}  # as SQLite's lower() does it


def where(which: Filter, now: float) -> tuple[str, list[Any]]:
    """(clause, values); globs match without regard to case."""
    tests: list[tuple[str, Any]] = [
        ("r.message = ?", which.message),
        ("m.stream = ?", which.stream),
        ("r.domain GLOB ?", which.domain and which.domain.lower()),
        ("lower(m.sender) GLOB ?", _sender(which.sender)),
        ("lower(r.address) GLOB ?", which.recipient and which.recipient.lower()),
        ("r.received_at <= ?", None if which.older_than_s is None else now - which.older_than_s),
        ("m.credential = ?", which.credential),
        ("r.last GLOB ?", which.note),
        ("r.received_at > ?", None if which.younger_than_s is None else now - which.younger_than_s),
    ]
    clauses = [clause for clause, value in tests if value is not None]
    values = [value for _, value in tests if value is not None]
    if which.state is not None:
        clauses.append(f"({STATES[which.state]})")
    if which.tag is not None:
        name, pattern = which.tag
        clauses.append("lower(json_extract(m.tags, ?)) GLOB ?")
        values += [f"$.{json.dumps(name)}", pattern.translate(ASCII_LOWER)]
    return " AND ".join(clauses) or "1", values


def _sender(pattern: str | None) -> str | None:
    """The null sender is written <> by people and stored empty."""
    return "" if pattern == "<>" else pattern and pattern.lower()
