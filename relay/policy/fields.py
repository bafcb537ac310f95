"""The values of policy keys: what each may be written as, with the words for what it may not."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, Field, WithJsonSchema

from relay.core.pattern import Pattern, compile_pattern
from relay.policy.quantities import (
    PERCENT_SCHEMA,
    Duration,
    Network,
    Text,
    Whole,
    as_list,
    parse_host,
    parse_percent,
    parse_size,
    parse_text,
    parse_whole,
    shown,
)
from relay.policy.rules import Hour, Span
from relay.policy.templates import HEADER_NAME, Template, compile_template

MAX_REFUSAL = 400  # RFC 5321 §4.5.3.1.5: a reply line has at most 512 bytes with code and CRLF
ONCE_ONLY = {
    "from",
    "sender",
    "reply-to",
    "to",
    "cc",
    "bcc",
    "subject",
    "date",
    "message-id",
    "in-reply-to",
    "references",
}  # RFC 5322 §3.6
TRACE = {"received", "return-path"}  # RFC 5321 §4.4: never altered; the final server's


def pattern(value: Any) -> Pattern:
    """The compiled pattern of a glob or `~regex`."""
    return value if isinstance(value, Pattern) else compile_pattern(parse_text(value))


def template(value: Any) -> Template:
    """The compiled template of a tag or header value."""
    return value if isinstance(value, Template) else compile_template(parse_text(value))


def size_span(value: Any) -> Span:
    """Sizes in bytes: `>1MB`, `<=10k`, `10k-1MB`."""
    return _span(value, parse_size, "a size", ">1MB, <10k or 10k-1MB")


def count_span(value: Any) -> Span:
    """Numbers of recipients: `>5`, `2-10`, `1`."""
    return _span(value, lambda text: parse_whole(int(text)), "a number of recipients", ">5, <=100, 2-10 or 1")


def _span(value: Any, parse: Any, what: str, form: str) -> Span:
    text = str(value).replace(" ", "") if not isinstance(value, bool) else ""
    try:
        if text.startswith((">=", "<=")):
            number = parse(text[2:])
            return Span(text, number, None) if text[0] == ">" else Span(text, 0, number)
        if text.startswith((">", "<")):
            number = parse(text[1:])
            return Span(text, number + 1, None) if text[0] == ">" else Span(text, 0, number - 1)
        least, dash, most = text.partition("-")
        return Span(text, parse(least), parse(most if dash else least))
    except ValueError:
        raise ValueError(f"{shown(value)} is not {what}; write it like {form}") from None


def hour(value: Any) -> Hour:
    """Hours of the day in UTC: `9-17` ends at 17:00, `22-6` goes over midnight, `9` is one hour."""
    first, dash, last = str(value).replace(" ", "").partition("-")
    if not isinstance(value, bool) and first.isdecimal() and (last.isdecimal() or not dash):
        start, end = int(first[:3]), int(last[:3]) if dash else int(first[:3]) + 1
        if start <= 23 and end <= 24 and start != end:
            hours = range(start, end) if start < end else [*range(start, 24), *range(end)]
            return Hour(str(value), frozenset(hours))
    raise ValueError(f"{shown(value)} is no part of a day; write hours in UTC like 9-17, 22-6 or 9")


def refusal(value: Any) -> str:
    """Text that may stand in an SMTP reply: printable ASCII (RFC 5321 §4.2)."""
    text = parse_text(value)
    if not text.isascii() or len(text) > MAX_REFUSAL:
        raise ValueError(f"a refusal is at most {MAX_REFUSAL} ASCII characters; it becomes 550 5.7.1 TEXT")
    return text


def target(value: Any) -> float:
    """The share of an objective: between nothing and everything."""
    share = parse_percent(value)
    if not 0 < share < 1:
        raise ValueError(f"{shown(value)} can never be promised; write more than 0% and less than 100%")
    return share


def return_path(value: Any) -> str:
    """A domain, or an address."""
    text = parse_text(value)
    local, at, domain = text.rpartition("@")
    if at and (not local or " " in local or not local.isascii()):
        raise ValueError(
            f"{shown(value)} is no address; write a domain or an address like bounces@example.com"
        )
    parse_host(domain)
    return f"{local}@{domain.lower()}" if at else domain.lower()


def header_name(value: Any) -> str:
    """The name of a header field that may be changed."""
    text = header_key(value)
    if text.lower() in TRACE:
        raise ValueError(f"{text} may not be changed; it is the trace of the message's way (RFC 5321 §4.4)")
    return text


def header_key(value: Any) -> str:
    """The name of a header field to look at."""
    text = parse_text(value)
    if not HEADER_NAME.fullmatch(text):
        raise ValueError(f"{shown(value)} is no header name; use letters, digits and hyphens")
    return text


def _one_or_more(kind: str) -> WithJsonSchema:
    one = {"type": ["string", "integer"]}
    return WithJsonSchema(
        {"anyOf": [one, {"type": "array", "items": one, "minItems": 1}], "description": kind}
    )


PATTERNS = "a glob, or a regular expression after ~; a list means any of them"
Glob = Annotated[
    Pattern, BeforeValidator(pattern), WithJsonSchema({"type": "string", "description": PATTERNS})
]
Globs = Annotated[list[Glob], BeforeValidator(as_list), Field(min_length=1), _one_or_more(PATTERNS)]
Networks = Annotated[list[Network], BeforeValidator(as_list), Field(min_length=1), _one_or_more("networks")]
Sizes = Annotated[
    list[Annotated[Span, BeforeValidator(size_span)]],
    BeforeValidator(as_list),
    Field(min_length=1),
    _one_or_more("sizes: >1MB, <10k, 10k-1MB"),
]
Counts = Annotated[
    list[Annotated[Span, BeforeValidator(count_span)]],
    BeforeValidator(as_list),
    Field(min_length=1),
    _one_or_more("numbers of recipients: >5, 2-10"),
]
Hours = Annotated[
    list[Annotated[Hour, BeforeValidator(hour)]],
    BeforeValidator(as_list),
    Field(min_length=1),
    _one_or_more("hours in UTC: 9-17, 22-6"),
]
Filled = Annotated[
    Template,
    BeforeValidator(template),
    WithJsonSchema({"type": "string", "description": "text with {places}"}),
]
HeaderKey = Annotated[str, BeforeValidator(header_key)]
HeaderName = Annotated[str, BeforeValidator(header_name)]
Refusal = Annotated[
    str, BeforeValidator(refusal), WithJsonSchema({"type": "string", "maxLength": MAX_REFUSAL})
]
ReturnPath = Annotated[str, BeforeValidator(return_path), WithJsonSchema({"type": "string"})]
NameList = Annotated[list[Text], BeforeValidator(as_list), _one_or_more("names")]
TextList = Annotated[list[Text], BeforeValidator(as_list), Field(min_length=1), _one_or_more("text")]
Target = Annotated[float, BeforeValidator(target), PERCENT_SCHEMA]
Count = Annotated[Whole, Field(ge=1)]
Wait = Annotated[Duration, Field(gt=0)]
