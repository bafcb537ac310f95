"""Header blocks, edited byte for byte: a field that is not touched leaves exactly as it came."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from email.errors import HeaderParseError
from email.header import decode_header

# RFC 5322 §2.2: printable US-ASCII but the colon; white space before the colon is obsolete (§4.5), but met.
FIELD = re.compile(rb"([!-9;-~]+)[ \t]*:")
# A whole field: its first line and every line after it that starts with white space (§2.2.3).
FIELDS = re.compile(rb"[^\r\n]*(?:\r\n[ \t][^\r\n]*)*\r\n")
MAX_WORDS_BYTES = 4000  # more encoded text than any subject needs; decoding is not free


@dataclass(frozen=True, slots=True)
class Field:
    """One header field: `name` in lower case, `raw` its bytes with folding and final CRLF."""

    name: bytes
    raw: bytes

    @property
    def value(self) -> str:
        """The unfolded value without outer white space; bytes that are not UTF-8 become surrogates."""
        body = self.raw[self.raw.index(b":") + 1 :]
        return body.replace(b"\r\n", b"").strip(b" \t").decode("utf-8", "surrogateescape")


def split_message(data: bytes) -> tuple[bytes, bytes]:
    """The header block (complete lines, without the empty line) and the body of a message in network form.
    The first line that can be no header ends the block, as old programs forget the empty line."""
    end = 0
    while FIELD.match(data, end) and (match := FIELDS.match(data, end)):
        end = match.end()
    if data.startswith(b"\r\n", end):
        return data[:end], data[end + 2 :]
    return data[:end], data[end:]


class Headers:
    """The fields of one message in order. Names are matched without regard to case."""

    __slots__ = ("fields",)

    def __init__(self, fields: list[Field]) -> None:
        self.fields = fields

    @classmethod
    def parse(cls, block: bytes) -> Headers:
        """Fields of a block as `split_message` gives it; raises ValueError for a line that is no field."""
        fields = []
        for raw in FIELDS.findall(block):
            match = FIELD.match(raw)
            if match is None:
                raise ValueError(f"not a header field: {raw[:40]!r}")
            fields.append(Field(match[1].lower(), raw))
        return cls(fields)

    def first(self, name: str) -> str | None:
        """The unfolded value of the first field of that name, or None."""
        wanted = name.lower().encode()
        return next((field.value for field in self.fields if field.name == wanted), None)

    def all(self, name: str) -> list[str]:
        """The unfolded values of every field of that name, top first."""
        wanted = name.lower().encode()
        return [field.value for field in self.fields if field.name == wanted]

    def count(self, name: str) -> int:
        """How many fields have that name."""
        wanted = name.lower().encode()
        return sum(field.name == wanted for field in self.fields)

    def names(self) -> set[str]:
        """The names present, in lower case."""
        return {field.name.decode() for field in self.fields}

    def remove(self, names: Collection[str]) -> int:
        """Takes out every field of these names; returns how many went."""
        wanted = {name.lower().encode() for name in names}
        return self.remove_if(lambda field: field.name in wanted)

    def remove_if(self, unwanted: Callable[[Field], bool]) -> int:
        """Takes out every field the function names; returns how many went."""
        before = len(self.fields)
        self.fields = [field for field in self.fields if not unwanted(field)]
        return before - len(self.fields)

    def prepend(self, raw: bytes) -> None:
        """Puts a complete field (CRLF-ended, folded) on top, where trace fields go (RFC 5321 §4.4)."""
        self.fields.insert(0, _field(raw))

    def append(self, raw: bytes) -> None:
        """Puts a complete field below all others."""
        self.fields.append(_field(raw))

    def to_bytes(self) -> bytes:
        """The block again; equal to what was parsed when nothing was changed."""
        return b"".join([field.raw for field in self.fields])


def _field(raw: bytes) -> Field:
    """A field of our own making; raises ValueError for one that would break the block (header injection)."""
    match = FIELD.match(raw)
    if match is None or FIELDS.fullmatch(raw) is None:
        raise ValueError(f"not one complete header field: {raw[:60]!r}")
    return Field(match[1].lower(), raw)


def decode_words(value: str) -> str:
    """The value with encoded words (RFC 2047) turned into text; what cannot be decoded stays as it is."""
    if "=?" not in value or len(value) > MAX_WORDS_BYTES:
        return value
    try:
        return "".join(
            part if isinstance(part, str) else part.decode(charset or "ascii", "replace")
            for part, charset in decode_header(value)
        )
    except (HeaderParseError, LookupError, ValueError):
        return value
