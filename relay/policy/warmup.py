"""`warmup:` of a source: since when, and how fast it grows."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, WithJsonSchema

from relay.core.warmup import Warmup
from relay.policy.fields import Count
from relay.policy.quantities import Flag, shown
from relay.policy.validate import Entry

Complaint = tuple[tuple[str, ...], str, str]  # path of the setting, message, hint


def day(value: Any) -> datetime.date:
    """The day of `2026-11-01`."""
    try:
        if not isinstance(value, str) or len(value) != 10:
            raise ValueError
        return datetime.date.fromisoformat(value)
    except ValueError:
        raise ValueError(f"{shown(value)} is no day; write it like 2026-11-01") from None


def factor(value: Any) -> float:
    """By how much an allowance grows in a day."""
    if isinstance(value, int | float) and not isinstance(value, bool) and 1 < value <= 10:
        return float(value)
    raise ValueError(f"{shown(value)} is no growth; write a number above 1 and up to 10, like 1.4")


Day = Annotated[
    datetime.date,
    BeforeValidator(day),
    WithJsonSchema({"type": "string", "description": "a day (UTC): 2026-11-01", "pattern": r"^\d{4}-\d\d-\d\d$"}),
]
Factor = Annotated[
    float,
    BeforeValidator(factor),
    WithJsonSchema({"type": "number", "description": "growth a day", "exclusiveMinimum": 1, "maximum": 10}),
]


class WarmupEntry(Entry):
    """How a new address is brought to trust."""

    started: Day
    per_hour: Count = 20
    factor: Factor = 1.4
    until: Annotated[Count, Field(le=10_000_000)] = 20_000
    per_provider: Flag = True


def warmup_of(entry: WarmupEntry | None, where: str) -> Warmup | None:
    """The plan of one source; None when it is warm."""
    if entry is None:
        return None
    midnight = datetime.datetime.combine(entry.started, datetime.time(), datetime.UTC)
    return Warmup(
        midnight.timestamp(), entry.per_hour, entry.factor, entry.until, entry.per_provider, where
    )  # fmt: skip


def warmup_complaints(entry: WarmupEntry) -> Iterator[Complaint]:
    """What does not fit together in one plan."""
    if entry.until <= entry.per_hour:
        message = f"with {entry.per_hour} an hour from the start and warm at {entry.until} there is nothing to warm up"
        yield ("until",), message, "make `until` larger than `per_hour`, or remove `warmup:`"


def starts_late(plan: Warmup, now: float) -> str:
    """Why a plan cannot be in force at `now` (Unix s); "" when it can."""
    if plan.started <= now:
        return ""
    started = datetime.datetime.fromtimestamp(plan.started, datetime.UTC)
    return f"the warm-up starts in the future, on {started:%Y-%m-%d}"
