"""Which queued recipients an operator means: filter options and message ids, turned into requests."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import typer

from relay.cli.failure import Misused
from relay.web.filters import BadFilter, filter_fields, parse_filter

Messages = Annotated[list[str] | None, typer.Argument(metavar="[ID]...", help="Message ids.", show_default=False)]
StreamOption = Annotated[str | None, typer.Option("--stream", metavar="NAME", help="Stream.")]
DomainOption = Annotated[str | None, typer.Option("--domain", metavar="GLOB", help="Recipient's domain.")]
SenderOption = Annotated[str | None, typer.Option("--sender", metavar="GLOB", help="Envelope sender.")]
RecipientOption = Annotated[str | None, typer.Option("--recipient", metavar="GLOB", help="Recipient address.")]
TagOption = Annotated[str | None, typer.Option("--tag", metavar="NAME=GLOB", help="A tag of the message.")]
StateOption = Annotated[str | None, typer.Option("--state", metavar="queued|held", help="State.")]
ReasonOption = Annotated[
    str | None, typer.Option("--reason", metavar="GLOB", help="Last answer, or why it is held.")
]
OlderOption = Annotated[str | None, typer.Option("--older-than", metavar="1h", help="Accepted longer ago.")]
YoungerOption = Annotated[str | None, typer.Option("--younger-than", metavar="1h", help="Accepted since.")]


@dataclass(frozen=True, slots=True)
class Selection:
    """`filters`: one request each (one per message id, or a single one), as the control API takes them."""

    filters: tuple[dict[str, str], ...]
    by_id: bool

    @property
    def everything(self) -> bool:
        """Whether nothing narrows it down."""
        return self.filters == ({},)


def select(messages: list[str] | None, **given: str | None) -> Selection:
    """A Selection from the options of a command; raises Misused for what the API would refuse."""
    fields: dict[str, object] = {name: text for name, text in given.items() if text is not None}
    if "reason" in fields:
        fields["note"] = fields.pop("reason")
    for option in ("older_than", "younger_than"):
        if option in fields:
            fields[f"{option}_s"] = seconds_of(str(fields.pop(option)))
    try:
        if not messages:
            return Selection((filter_fields(parse_filter(fields)),), False)
        filters = [filter_fields(parse_filter({**fields, "message": message})) for message in messages]
    except BadFilter as error:
        raise Misused(str(error)) from None
    return Selection(tuple(filters), True)


def seconds_of(text: str) -> float:
    """Seconds of "45s", "10m", "1h30m", "2d"; raises Misused."""
    from relay.policy.quantities import parse_duration

    try:
        return parse_duration(text)
    except ValueError as error:
        raise Misused(str(error)) from None
