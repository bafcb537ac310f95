"""`brakes:` of a stream: what is counted, how much of it is too much, and what then happens."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from decimal import Decimal
from fractions import Fraction
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import BeforeValidator, Field, WithJsonSchema

from relay.core.brakes import CREDENTIAL, PROVIDER, RATES, STREAM, BrakeRule
from relay.policy.fields import Count, Wait
from relay.policy.quantities import Rate, Text, parse_percent, shown
from relay.policy.validate import Entry, nearest

WHEN = re.compile(r"(\w+)\s*>\s*(\d+(?:\.\d+)?)\s*%")
WORDS = (STREAM, CREDENTIAL, PROVIDER)

Complaint = tuple[tuple[str, ...], str, str]  # path of the setting, message, hint


class Limit(NamedTuple):
    """What `when:` says, exactly as far as it was written."""

    rate: str
    above: Fraction


def limit(value: Any) -> Limit:
    """Rate and share of `bounce_rate > 5%`."""
    match = WHEN.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None:
        raise ValueError(f"{shown(value)} is no condition; write it like bounce_rate > 5%, with {_rates()}")
    if match[1] not in RATES:
        raise ValueError(f"there is no rate `{match[1]}`; {nearest(match[1], RATES)}")
    if parse_percent(f"{match[2]}%") >= 1:
        raise ValueError("a share is never above 100%; write a limit below it")
    return Limit(match[1], Fraction(Decimal(match[2])) / 100)


def _rates() -> str:
    return ", ".join(RATES)


When = Annotated[
    Limit,
    BeforeValidator(limit),
    WithJsonSchema(
        {
            "type": "string",
            "pattern": rf"^({'|'.join(RATES)})\s*>\s*\d+(\.\d+)?\s*%$",
            "description": "a rate and its limit: bounce_rate > 5%",
        }
    ),
]


class BrakeEntry(Entry):
    """One rule: too much of something within a time stops or slows mail."""

    when: When
    over: Annotated[Wait, Field(ge=60, le=7 * 86400)]
    at_least: Count
    by: Text = STREAM
    do: Literal["hold", "pause", "slow", "alert"]
    slow_to: Rate | None = None
    lasts: Wait | None = Field(default=None, alias="for")


def brake_rules(entries: Iterable[BrakeEntry], places: Iterable[str]) -> tuple[BrakeRule, ...]:
    """The rules of one stream; `places` say where each is written."""
    return tuple(_rule(entry, where) for entry, where in zip(entries, places, strict=True))


def _rule(entry: BrakeEntry, where: str) -> BrakeRule:
    lasts = entry.lasts or (entry.over if entry.do == "alert" else 0.0)
    above = f"{float(entry.when.above * 100):g}%"
    text = f"{entry.when.rate} > {above} over {entry.over:g} s by {entry.by}, {entry.do}"
    return BrakeRule(
        entry.when.rate, entry.when.above, entry.over, entry.at_least, entry.by, entry.do,
        entry.slow_to or 0.0, lasts, text, where,
    )  # fmt: skip


def brake_complaints(
    entries: Iterable[BrakeEntry], *, tags: frozenset[str] | None, credentials: frozenset[str] | None
) -> Iterator[tuple[int, Complaint]]:
    """What does not fit together in the brakes of one stream: the number of the entry, and what is wrong.
    `tags` are those that routes give, `credentials` the accounts; None where that is unknown."""
    seen: dict[str, int] = {}
    for number, entry in enumerate(entries):
        for complaint in (*_doing(entry), *_key(entry, tags, credentials)):
            yield number, complaint
        text = _rule(entry, "").text
        if text in seen:
            message = f"the same brake stands already at number {seen[text] + 1}"
            yield number, (("when",), message, "remove one of them")
        seen.setdefault(text, number)


def _doing(entry: BrakeEntry) -> Iterator[Complaint]:
    if (entry.do == "slow") != (entry.slow_to is not None):
        fault = "`do: slow` needs a rate" if entry.do == "slow" else "`slow_to` is only for `do: slow`"
        yield (("do",), fault, "add `slow_to: 10/min`") if entry.do == "slow" else (
            ("slow_to",), fault, "remove it, or write `do: slow`")  # fmt: skip
    if entry.do == "slow" and entry.by not in (STREAM, PROVIDER):
        hint = "write `by: stream` or `by: provider`, or use `hold` or `pause`"
        yield ("by",), f"mail cannot be slowed by {entry.by}", hint
    if entry.do == "hold" and entry.by == PROVIDER:
        hint = "use `do: pause`: it stops deliveries there and leaves the rest alone"
        yield ("do",), "mail cannot be held by provider", hint


def _key(entry: BrakeEntry, tags: frozenset[str] | None, credentials: frozenset[str] | None) -> Iterator[Complaint]:
    if tags is not None and entry.by not in (*WORDS, *tags):
        message = f"no route gives a tag `{entry.by}`, so nothing would be counted"
        yield ("by",), message, nearest(entry.by, [*WORDS, *sorted(tags)])
    if entry.by == CREDENTIAL and credentials == frozenset():
        hint = "add accounts with `relay credential add`, or write `by: stream`"
        yield ("by",), "there are no credentials, so nothing would be counted", hint
