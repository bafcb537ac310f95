"""`quota:` of a stream, and the paces that clients are held to: the keys, and what they become."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, Field, WithJsonSchema

from relay.core.quota import Pace, Quota
from relay.policy.fields import Count
from relay.policy.quantities import RATE, RATE_S, Percent, Size, parse_percent, parse_size, shown
from relay.policy.validate import Entry


def parse_pace(value: Any) -> Pace:
    """At most so many in any second, minute, hour or day: `100/min`."""
    if isinstance(value, Pace):
        return value
    if isinstance(value, str) and (match := RATE.fullmatch(value)) and "." not in match[1] and int(match[1]):
        return Pace(int(match[1]), RATE_S[match[2]], value)
    raise ValueError(f"{shown(value)} is no pace; write whole numbers like 10/s, 100/min or 5000/h")


def parse_reserve(value: Any) -> float:
    """Bytes, or a share below 1 of the disk: `500MiB`, `5%`."""
    if isinstance(value, str) and value.endswith("%"):
        share = parse_percent(value)
        if share < 1:
            return share
        raise ValueError("a reserve of the whole disk leaves no room for mail; write less than 100%")
    return float(parse_size(value))


Reserve = Annotated[
    float,
    BeforeValidator(parse_reserve),
    WithJsonSchema({"type": ["string", "integer"], "description": "a size or a share of the disk: 500MiB, 5%"}),
]
PaceOf = Annotated[
    Pace,
    BeforeValidator(parse_pace),
    WithJsonSchema({"type": "string", "description": "at most so many in any such time: 10/s, 100/min, 5000/h"}),
]
Share = Annotated[Percent, Field(gt=0)]
Part = Annotated[Percent, Field(gt=0, lt=1)]
Room = Annotated[Size, Field(ge=1)]


class QuotaEntry(Entry):
    """What a stream may have in the queue, and how fast it may come in."""

    messages: Count | None = None
    bytes: Room | None = None
    share_of_disk: Share | None = None
    share_of_accepts: Part | None = None
    rate: PaceOf | None = None


def compile_quota(entry: QuotaEntry | None) -> Quota | None:
    """The limits, None where there are none."""
    if entry is None:
        return None
    return Quota(
        entry.messages or 0, entry.bytes or 0, entry.share_of_disk or 0.0, entry.rate, entry.share_of_accepts or 0.0
    )
