"""What a decision was made from, small enough for the event log, and back: `relay policy replay` decides again.

Recorded are the header fields that some rule looks at, and no others: their values where a rule reads them, only
that they were there where it asks for no more. A name with an empty list was looked for and not found. The size is
the one the rules saw, before signatures. Listener, client, credential, sender and recipients are in the event anyway;
the time is in the message's id.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from relay.core.headers import Field, Headers
from relay.core.ids import made_at
from relay.policy.facts import Facts
from relay.policy.model import Route
from relay.policy.rules import All, Condition, HeaderThere, Not, Text
from relay.policy.rules import Any as AnyOf
from relay.policy.templates import PLACE

VALUE_CHARACTERS = 200  # of a value, as much as a tag may have
VALUES_MOST = 5  # fields of one name
READ, THERE = True, False
LATEST = 253_402_300_800.0  # the year 10000, where calendars of programs end


def headers_asked(routes: Iterable[Route]) -> dict[str, bool]:
    """The lower-case names of header fields that rules look at: True where they read values, False where they
    only ask whether the field is there."""
    found: dict[str, bool] = {}
    for route in routes:
        for name, reads in _asked(route):
            found[name] = found.get(name, THERE) or reads
    return dict(sorted(found.items()))


def _asked(route: Route) -> Iterator[tuple[str, bool]]:
    if route.condition:
        yield from _of(route.condition)
    for _, template in (*route.tags, *route.headers_add):
        for place in PLACE.findall(template.text):
            kind, _, name = place.partition(":")
            if kind == "header":
                yield name.lower(), READ


def _of(condition: Condition) -> Iterator[tuple[str, bool]]:
    match condition:
        case HeaderThere():
            yield condition.key.decode(), THERE
        case Text(name="subject"):
            yield "subject", READ
        case Text() if condition.name.startswith("header "):
            yield condition.name.removeprefix("header ").lower(), READ
        case All() | AnyOf():
            for part in condition.parts:
                yield from _of(part)
        case Not():
            yield from _of(condition.part)


def record(facts: Facts, asked: Mapping[str, bool]) -> dict[str, object]:
    """The facts that are not in the event anyway, as JSON."""
    names = {name.encode() for name in asked}
    headers: dict[str, list[str]] = {name: [] for name in asked}
    for field in facts.headers.fields:
        if field[0] in names:
            values = headers[name := field[0].decode()]
            if len(values) < VALUES_MOST:
                values.append(field.value[:VALUE_CHARACTERS] if asked[name] else "")
    found: dict[str, object] = {"headers": headers, "size": facts.size}
    if facts.chosen_stream:
        found["chosen_stream"] = facts.chosen_stream
    if facts.forced_stream:
        found["forced_stream"] = facts.forced_stream
    return found


def facts_of(row: Mapping[str, Any]) -> Facts:
    """The facts of an `accepted` or `refused` event, as far as it has them; raises KeyError, ValueError,
    TypeError or AttributeError for one that was not written by a relay."""
    kept = row.get("facts", {})
    fields = [
        Field(name.encode(), b"%b: %b\r\n" % (name.encode(), _one_line(value)))
        for name, values in kept.get("headers", {}).items() for value in values
    ]  # fmt: skip
    received_at = made_at(row["message"]) if row.get("message") else float(row["time"])
    if not 0 <= received_at < LATEST:
        raise ValueError(f"{received_at} is no time of an event")
    return Facts(
        listener=row.get("listener", ""), client=row.get("client", ""), credential=row.get("credential", ""),
        sender=row.get("sender", ""), recipients=tuple(row["recipients"]), headers=Headers(fields),
        size=int(kept.get("size", row["size"])), hour=int(received_at // 3600) % 24,
        chosen_stream=kept.get("chosen_stream", ""), forced_stream=kept.get("forced_stream", ""),
    )  # fmt: skip


def _one_line(value: str) -> bytes:
    return value.replace("\r", " ").replace("\n", " ").encode("utf-8", "surrogateescape")
