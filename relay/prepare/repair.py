"""Header fields made legal before signing, or the refusal that says why they cannot be (RFC 6409 §8).

What is repaired changes only how a field is written, never what it says: `Subject :` loses its space
(RFC 5322 §4.5), lines over 998 bytes are folded (§2.1.1), raw 8-bit text is encoded where the client did
not declare SMTPUTF8 (RFC 2047, RFC 2231). A message that came signed keeps its fields as they are.
On a legacy listener, besides: NULs go, a field said twice in the same words is said once, To and Cc given
twice become one list, and a missing From is taken from the envelope.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from relay.core.headers import Field, Headers
from relay.core.reply import Reply, reply
from relay.prepare.words import (
    LONE_SPACE,
    MAX_LINE_BYTES,
    encode_addresses,
    encode_parameters,
    encode_text,
    fold,
    text_of,
)

# RFC 5322 §3.6: at most once; RFC 2045 §3 likewise. Large receivers refuse a message that breaks this,
# and what a reader shows of two From fields need not be the one that was checked.
ONCE = frozenset(
    b"from sender reply-to to cc message-id in-reply-to references date subject "
    b"mime-version content-type content-transfer-encoding".split()
)
LISTS = frozenset((b"to", b"cc"))
ADDRESSES = frozenset(
    b"from sender reply-to to cc resent-from resent-sender resent-to resent-cc "
    b"disposition-notification-to errors-to list-id".split()
)
PARAMETERS = frozenset((b"content-type", b"content-disposition"))
# Fields of ids, dates and addresses of the web: 8-bit bytes there are damage, not text.
NO_TEXT = frozenset(
    b"date message-id in-reply-to references received mime-version content-transfer-encoding content-id "
    b"list-unsubscribe list-unsubscribe-post list-post list-help resent-date resent-message-id "
    b"dkim-signature".split()
)


@dataclass(frozen=True, slots=True)
class Refusal:
    """A message that may not go out: what to answer at the final dot, and a word for the metric."""

    reply: Reply
    reason: str


def refused(reason: str, text: str, enhanced: str = "5.6.0") -> Refusal:
    """550 with the text; 5.6.0 is "other or undefined media error" (RFC 3463 §3.7)."""
    return Refusal(reply(550, enhanced, text), reason)


def came_signed(headers: Headers) -> bool:
    """Whether somebody's signature would break when fields are rewritten."""
    return bool(headers.count("dkim-signature"))


def repair(headers: Headers, *, legacy: bool, eight_bit: bool) -> Refusal | None:
    """Repairs the fields in place; the refusal when that is not possible. `eight_bit` says that some field
    may hold 8-bit bytes without the client having declared SMTPUTF8."""
    names = [field[0] for field in headers.fields]
    single = [name for name in names if name in ONCE]
    if len(single) != len(set(single)) and (trouble := _said_twice(headers, legacy=legacy)):
        return trouble
    signed = b"dkim-signature" in names
    block = headers.to_bytes()
    found = block.rfind  # looking backwards for two or three bytes takes half the time
    if not signed and (found(b" :") >= 0 or found(b"\t:") >= 0):
        _rewrite(headers, _without_space_before_colon)
    if not signed and (found(b" \r\n") >= 0 or found(b"\t\r\n") >= 0):
        _rewrite(headers, lambda field: LONE_SPACE.sub(b"", field.raw))
    if b"\0" in block:
        if not legacy:
            return refused("malformed-header", "a header contains a NUL byte (RFC 5322 section 2.2); remove it")
        _rewrite(headers, lambda field: field.raw.replace(b"\0", b""))
    if eight_bit and not signed and not block.isascii() and (trouble := _encode(headers, legacy=legacy)):
        return trouble
    if len(block) > MAX_LINE_BYTES:
        return _fold_long_lines(headers)
    return None


def _rewrite(headers: Headers, change: Callable[[Field], bytes]) -> None:
    headers.fields = [Field(field.name, change(field)) for field in headers.fields]


def _without_space_before_colon(field: Field) -> bytes:
    name, _, value = field.raw.partition(b":")
    return name.rstrip(b" \t") + b":" + value


def _said_twice(headers: Headers, *, legacy: bool) -> Refusal | None:
    """Settles fields that may occur once but do not; the refusal where only the sender can."""
    kept: dict[bytes, Field] = {}
    fields: list[Field] = []
    for field in headers.fields:
        before = kept.get(field.name)
        if field.name not in ONCE or before is None:
            kept[field.name] = field
            fields.append(field)
        elif not legacy:
            return _twice(field)
        elif field.value == before.value:
            continue
        elif field.name in LISTS:
            merged = before.raw.removesuffix(b"\r\n") + b",\r\n " + _value_bytes(field) + b"\r\n"
            kept[field.name] = Field(field.name, merged)
            fields[fields.index(before)] = kept[field.name]
        else:
            return _twice(field)
    headers.fields = fields
    return None


def _twice(field: Field) -> Refusal:
    name = field.name.decode().title()
    return refused("duplicate-header", f"more than one {name} header (RFC 5322 section 3.6); send one")


def _value_bytes(field: Field) -> bytes:
    return field.raw.partition(b":")[2].strip(b" \t\r\n")


def _encode(headers: Headers, *, legacy: bool) -> Refusal | None:
    """Encodes 8-bit text in every field; a field that cannot be encoded stays on a legacy listener."""
    charset = _charset(headers)
    fields = []
    for field in headers.fields:
        raw = field.raw if field.raw.isascii() else encoded_field(field, charset)
        if raw is None and not legacy:
            name = field.name.decode().title()
            text = f"8-bit characters in the {name} header, where only SMTPUTF8 may have them (RFC 6532)"
            return refused("eight-bit-header", text, "5.6.7")
        fields.append(field if raw is None else Field(field.name, raw))
    headers.fields = fields
    return None


def _charset(headers: Headers) -> str:
    """The charset the message claims for its body, which 8-bit header text most likely has too."""
    _, found, rest = (headers.first("content-type") or "").lower().partition("charset=")
    return rest.partition(";")[0].strip(' "') if found and rest.isascii() else ""


def encoded_field(field: Field, charset: str = "") -> bytes | None:
    """The field in ASCII, folded; None when what is 8-bit in it is no text."""
    name, _, rest = field.raw.partition(b":")
    value = text_of(rest.replace(b"\r\n", b"").strip(b" \t"), charset)
    encoded: str | None
    if field.name in NO_TEXT:
        encoded = None
    elif field.name in ADDRESSES:
        encoded = encode_addresses(value)
    elif field.name in PARAMETERS:
        encoded = encode_parameters(value)
    else:
        encoded = encode_text(value)
    return None if encoded is None else fold(name + b": " + encoded.encode("ascii") + b"\r\n")


def _fold_long_lines(headers: Headers) -> Refusal | None:
    """Folds fields with a line over 998 bytes; the refusal where there is no white space to fold at."""
    for index, field in enumerate(headers.fields):
        if len(field.raw) <= MAX_LINE_BYTES or _longest(field.raw) <= MAX_LINE_BYTES:
            continue
        raw = fold(field.raw)
        if (length := _longest(raw)) > MAX_LINE_BYTES:
            name = field.name.decode().title()[:60]
            text = f"a line of the {name} header has {length} bytes without white space to fold it at; "
            return refused("long-header", text + "998 are allowed (RFC 5322 section 2.1.1)")
        headers.fields[index] = Field(field.name, raw)
    return None


def _longest(raw: bytes) -> int:
    return max(map(len, raw.split(b"\r\n")))
