"""Filters as programs write them: `stream=shop`, `older_than_s=3600`, `tag=campaign=spring*`."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping
from dataclasses import fields

from relay.queue.store import Filter

NAMES = tuple(field.name for field in fields(Filter))
STATES = ("queued", "held", "lost", "lost_held")
MAX_VALUE = 1000  # an address has at most 320 (RFC 5321 §4.5.3.1.1, §4.5.3.1.2); a tag is ours to bound


class BadFilter(ValueError):
    """What was asked for cannot be understood; the text is for the person who asked."""


def parse_filter(given: Mapping[str, object]) -> Filter:
    """A Filter from names and texts (or numbers for ages); raises BadFilter, naming what is allowed."""
    for name in given:
        if name not in NAMES:
            known = ", ".join(NAMES)
            raise BadFilter(f"no filter is called {name!r}{nearest(name, NAMES)}; there are: {known}")
    tag, state = _text(given, "tag"), _text(given, "state")
    return Filter(
        message=_text(given, "message"),
        stream=_text(given, "stream"),
        domain=_text(given, "domain"),
        sender=_text(given, "sender"),
        recipient=_text(given, "recipient"),
        tag=None if tag is None else _tag(tag),
        state=None if state is None else _state(state),
        older_than_s=_seconds(given, "older_than_s"),
        younger_than_s=_seconds(given, "younger_than_s"),
        credential=_text(given, "credential"),
        note=_text(given, "note"),
    )


def filter_fields(which: Filter) -> dict[str, str]:
    """The names and texts that `parse_filter` reads back into the same Filter."""
    row: dict[str, str] = {}
    for name in NAMES:
        value = getattr(which, name)
        if value is not None:
            row[name] = "=".join(value) if isinstance(value, tuple) else str(value)
    return row


def nearest(word: str, known: tuple[str, ...]) -> str:
    """` (did you mean 'x'?)` or ""."""
    close = difflib.get_close_matches(word, known, n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""


def _text(given: Mapping[str, object], name: str) -> str | None:
    if name not in given:
        return None
    value = given[name]
    if not isinstance(value, str) or not value:
        raise BadFilter(f"{name} wants a text that is not empty, not {value!r}")
    if len(value) > MAX_VALUE or any(ord(char) < 32 or ord(char) == 127 for char in value):
        raise BadFilter(f"{name} wants at most {MAX_VALUE} characters and no control characters")
    if any("\ud800" <= char <= "\udfff" for char in value):  # JSON may say half a character; no store keeps one
        raise BadFilter(f"{name} wants whole characters, not half of a surrogate pair")
    return value


def _seconds(given: Mapping[str, object], name: str) -> float | None:
    if name not in given:
        return None
    value = given[name]
    try:
        seconds = float(value) if isinstance(value, str | int | float) and not isinstance(value, bool) else -1.0
    except (ValueError, OverflowError):  # JSON's integers have no end
        seconds = -1.0
    if not (0 <= seconds < math.inf):
        raise BadFilter(f"{name} wants a number of seconds, 0 or more, not {value!r}")
    return seconds


def _tag(value: str) -> tuple[str, str]:
    name, equals, pattern = value.partition("=")
    if not (name and equals and pattern):
        raise BadFilter(f"tag wants NAME=GLOB, as in campaign=spring*, not {value!r}")
    return name, pattern


def _state(value: str) -> str:
    if value not in STATES:
        known = ", ".join(STATES)
        raise BadFilter(f"no state is called {value!r}{nearest(value, STATES)}; there are: {known}")
    return value
