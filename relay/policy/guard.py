"""`guard:` of a stream: how bulk mail is recognised in it, and what becomes of the mail.

The signs, in the order in which they are looked for:
- `headers`: a List-* field (RFC 2369, RFC 2919), or Precedence: bulk, list or junk. Programs that answer or
  warn by themselves say Precedence: bulk too, so that it counts only without Auto-Submitted (RFC 3834 §5);
- `recipients`: more of them in one message than the number;
- `same_content`: the same prose to many within a time (relay/core/fingerprint.py); only where it is asked for, as
  it takes mail that somebody waits for (docs/guard.md).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from relay.core.headers import Headers
from relay.policy.fields import Count, Wait
from relay.policy.quantities import Text, as_list
from relay.policy.validate import Entry

Action = Literal["refuse", "reroute", "hold", "tag"]
Sign = Literal["headers", "recipients", "same_content"]
SIGNS: tuple[Sign, ...] = ("headers", "recipients", "same_content")
PLAIN_SIGNS: tuple[Sign, ...] = ("headers", "recipients")
BULK_WORDS = frozenset(("bulk", "list", "junk"))


class SameContentEntry(Entry):
    """So many people with the same prose, within so long."""

    messages: Count = 200
    within: Wait = 600.0


class GuardEntry(Entry):
    """What to do with bulk mail in a stream, and how to know it."""

    bulk: Action
    to: Text | None = None
    signs: Annotated[list[Sign], BeforeValidator(as_list), Field(min_length=1)] = Field(
        default_factory=lambda: list(PLAIN_SIGNS)
    )
    recipients: Count = 50
    same_content: SameContentEntry = SameContentEntry()


@dataclass(frozen=True, slots=True)
class Guard:
    """The compiled form. `to` is where bulk mail belongs, "" if unknown. `recipients` in one message or
    `same` people within `within_s` are not yet too many; 0 where that is no sign here."""

    action: Action
    to: str = ""
    headers: bool = True
    recipients: int = 0
    same: int = 0
    within_s: float = 600.0


@dataclass(frozen=True, slots=True)
class Finding:
    """Why a message looks like bulk mail: the sign, and words for people."""

    sign: Sign
    words: str


def compile_guard(entry: GuardEntry | None) -> Guard | None:
    """The guard, None where there is none."""
    if entry is None:
        return None
    signs = set(entry.signs)
    same = entry.same_content
    return Guard(
        entry.bulk, entry.to or "", "headers" in signs,
        entry.recipients if "recipients" in signs else 0,
        same.messages if "same_content" in signs else 0, same.within,
    )  # fmt: skip


def plain_sign(guard: Guard, headers: Headers, recipients: int) -> Finding | None:
    """What header fields and the number of recipients tell; `same_content` takes memory and is asked after."""
    if guard.headers and (words := _bulk_field(headers)):
        return Finding("headers", words)
    if guard.recipients and recipients > guard.recipients:
        return Finding("recipients", f"{recipients} recipients in one message, more than {guard.recipients}")
    return None


def _bulk_field(headers: Headers) -> str:
    """The field that says the message is bulk mail, "" if none does."""
    for name, raw in headers.fields:
        if name.startswith(b"list-"):
            return f"{raw[: len(name)].decode()} is present"
        if name == b"precedence":
            word = raw.partition(b":")[2].strip().lower().decode("ascii", "replace")
            if word in BULK_WORDS and (headers.first("auto-submitted") or "no").strip().lower() == "no":
                return f"Precedence: {word}"
    return ""
