"""Reply rules of a provider: what they may say, and their compiled form."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema

from relay.core.classify import Kind
from relay.core.ledger import Act
from relay.core.replies import PHASES, ReplyRule, Threshold, read_reply
from relay.core.reply import Reply
from relay.policy.fields import Count, Globs, Wait
from relay.policy.quantities import Flag, Rate, Text, Whole, as_list, parse_duration, shown
from relay.policy.validate import Entry, nearest

MAX_FOR_S = 7 * 86400.0  # what must hold longer belongs into `per_source`, where people see it
AFTER = re.compile(r"(\d{1,4}) in (\S+)")


def threshold(value: Any) -> Threshold:
    """The threshold of `3 in 1h`."""
    match = AFTER.fullmatch(value) if isinstance(value, str) else None
    if match is None or not 2 <= int(match[1]) <= 1000:
        raise ValueError(f"{shown(value)} is no number of replies in a time; write it like `3 in 1h`, from 2 to 1000;"
                         " without `after` the first reply counts")  # fmt: skip
    return Threshold(int(match[1]), parse_duration(match[2]))


def sample(value: Any) -> Reply:
    """The reply of a sample."""
    if not isinstance(value, str):
        raise ValueError(f"{shown(value)} is no reply; put it in quotes")
    reply = read_reply(value)
    if reply.severity not in (4, 5):
        raise ValueError(f"{reply.code} is no refusal; rules are for 4xx and 5xx")
    return reply


def _one_of(names: tuple[str, ...]) -> Callable[[Any], str]:
    def check(value: Any) -> str:
        if value not in names:
            raise ValueError(f"{shown(value)} is not allowed; {nearest(str(value), names)}")
        return str(value)

    return check


def _some_of(names: tuple[str, ...]) -> WithJsonSchema:
    one = {"enum": list(names)}
    return WithJsonSchema({"anyOf": [one, {"type": "array", "items": one, "minItems": 1}]})


_TEXTS = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "minItems": 1}]}
_CODES = {"anyOf": [{"type": "integer"}, {"type": "array", "items": {"type": "integer"}, "minItems": 1}]}
Samples = Annotated[
    list[Annotated[Reply, BeforeValidator(sample)]],
    BeforeValidator(as_list),
    Field(min_length=1),
    WithJsonSchema({**_TEXTS, "description": "replies as the server sends them: 421-4.7.28 Gmail has detected …"}),
]
Codes = Annotated[
    list[Annotated[Whole, Field(ge=400, le=599)]],
    BeforeValidator(as_list),
    Field(min_length=1),
    WithJsonSchema({**_CODES, "description": "reply codes: 421"}),
]
KINDS = tuple(kind.value for kind in Kind)
KindName = Annotated[str, BeforeValidator(_one_of(KINDS))]
PhaseName = Annotated[str, BeforeValidator(_one_of(PHASES))]
Kinds = Annotated[list[KindName], BeforeValidator(as_list), Field(min_length=1), _some_of(KINDS)]
Phases = Annotated[list[PhaseName], BeforeValidator(as_list), Field(min_length=1), _some_of(PHASES)]
After = Annotated[
    Threshold, BeforeValidator(threshold), WithJsonSchema({"type": "string", "description": "3 in 1h"})
]


class DoEntry(Entry):
    """What a rule does; `for` is how long limits last after each reply, `up_to` how long
    a pause of the source may become."""

    slow_to: Annotated[Rate, Field(gt=0)] | None = None
    connections: Count | None = None
    pause: Literal["source", "stream"] | None = None
    bounce: Flag = False
    retry: Wait | None = None
    lasts: Annotated[Wait, Field(le=MAX_FOR_S)] | None = Field(default=None, alias="for")
    up_to: Annotated[Wait, Field(le=MAX_FOR_S)] | None = None


class ReplyEntry(Entry):
    """One rule: which replies, shown by samples, and what to do."""

    name: Text
    match: Globs | None = None
    code: Codes | None = None
    enhanced: Globs | None = None
    kinds: Kinds | None = Field(default=None, alias="class")
    phase: Phases | None = None
    sample: Samples
    not_sample: Samples | None = None
    after: After | None = None
    do: DoEntry
    observe: Flag = False


def compile_replies(entries: Sequence[ReplyEntry], where: Callable[[int], str]) -> tuple[ReplyRule, ...]:
    """The rules in order; `where` gives the "file:line" of each."""
    return tuple(compile_reply(entry, where(number)) for number, entry in enumerate(entries))


def compile_reply(entry: ReplyEntry, where: str) -> ReplyRule:
    """One rule."""
    do = entry.do
    acts: list[tuple[Act, float]] = []
    if do.pause is not None:
        acts.append((Act.PAUSE_SOURCE if do.pause == "source" else Act.PAUSE_STREAM, 0.0))
    if do.slow_to is not None:
        acts.append((Act.SLOW, do.slow_to))
    if do.connections is not None:
        acts.append((Act.CONNECTIONS, float(do.connections)))
    return ReplyRule(
        name=entry.name,
        patterns=tuple(entry.match or ()),
        codes=frozenset(entry.code or ()),
        enhanced=tuple(entry.enhanced or ()),
        kinds=frozenset(entry.kinds or ()),
        phases=frozenset(entry.phase or ()),
        acts=tuple(acts),
        for_s=do.lasts or 0.0,
        up_to_s=do.up_to or 0.0,
        bounce=do.bounce,
        retry_s=do.retry,
        after=entry.after or Threshold(),
        observe=entry.observe,
        where=where,
    )
