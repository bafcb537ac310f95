"""Header blocks, edited byte for byte: a field that is not touched leaves exactly as it came."""

from __future__ import annotations

import re
from binascii import a2b_base64, a2b_qp
from collections.abc import Callable, Collection, Iterator
from typing import NamedTuple

# RFC 5322 §2.2: a name is printable US-ASCII but the colon; white space before the colon is obsolete (§4.5),
# but met. A field is its first line and every line after it that starts with white space (§2.2.3).
# The quantifiers give nothing back, so no header makes the search worse than linear. Round a group that is (?>…),
# everywhere in the relay: Python 3.11 before .5, as in Debian 12, matches (…)*+ wrongly (python/cpython#106052).
_FIELD = rb"([!-9;-~]++)[ \t]*+:[^\r\n]*+\r\n(?>(?:[ \t][^\r\n]*+\r\n)*)"
FIELDS = re.compile(rb"(" + _FIELD + rb")")
ONE_FIELD = re.compile(_FIELD)
BLOCK = re.compile(rb"(?>(?:" + _FIELD.replace(rb"([!-9;-~]++)", rb"[!-9;-~]++") + rb")*)")
# The line that mbox files put before a message and old programs send with it.
MBOX_LINE = re.compile(rb">*From [^\r\n]*\r\n(?=[!-9;-~]+[ \t]*:)")
# RFC 2047 §2, with the spaces that careless programs leave inside; a "?" ends each part, so this is linear.
WORD = re.compile(r"=\?([!->@-~]{1,60})\?([QqBb])\?([^?]{0,900})\?=")
MAX_WORDS_CHARS = 8000  # more encoded text than any subject needs; decoding is not free


class Field(NamedTuple):
    """One header field: `name` in lower case, `raw` its bytes with folding and final CRLF.
    A named tuple as every message makes a dozen: a frozen data class takes three times as long."""

    name: bytes
    raw: bytes

    @property
    def value(self) -> str:
        """The unfolded value without outer white space; bytes that are not UTF-8 become surrogates."""
        body = self.raw[self.raw.index(b":") + 1 :]
        return body.replace(b"\r\n", b"").strip(b" \t").decode("utf-8", "surrogateescape")


def split_message(data: bytes) -> tuple[bytes, bytes]:
    """The header block (complete lines, without the empty line) and the body of a message in network form.
    The first line that can be no header ends the block, as old programs forget the empty line. An mbox
    line on top becomes X-Mailbox-Line, as Postfix has it, for it would hide every header below it."""
    if mbox := MBOX_LINE.match(data):
        data = b"X-Mailbox-Line: " + data[mbox.start() :]
    match = BLOCK.match(data)
    assert match is not None  # the empty block matches everywhere
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
        fields = [Field(name.lower(), raw) for raw, name in FIELDS.findall(block)]
        if sum([len(field[1]) for field in fields]) != len(block):
            match = BLOCK.match(block)
            bad = block[match.end() if match else 0 :].partition(b"\r\n")[0]
            raise ValueError(f"not a header field: {bad[:40]!r}")
        return cls(fields)

    def first(self, name: str) -> str | None:
        """The unfolded value of the first field of that name, or None."""
        wanted = name.lower().encode()
        for field in self.fields:
            if field[0] == wanted:
                return field.value
        return None

    def all(self, name: str) -> list[str]:
        """The unfolded values of every field of that name, top first."""
        wanted = name.lower().encode()
        return [field.value for field in self.fields if field[0] == wanted]

    def count(self, name: str) -> int:
        """How many fields have that name."""
        wanted = name.lower().encode()
        return [field[0] for field in self.fields].count(wanted)

    def names(self) -> set[str]:
        """The names present, in lower case."""
        return {field[0].decode() for field in self.fields}

    def remove(self, names: Collection[str]) -> int:
        """Takes out every field of these names; returns how many went."""
        wanted = {name.lower().encode() for name in names}
        return self.remove_if(lambda field: field[0] in wanted)

    def remove_if(self, unwanted: Callable[[Field], bool]) -> int:
        """Takes out every field the function names; returns how many went."""
        before = len(self.fields)
        self.fields = [field for field in self.fields if not unwanted(field)]
        return before - len(self.fields)

    def prepend(self, raw: bytes) -> None:
        """Puts a complete field (CRLF-ended, folded) on top, where trace fields go (RFC 5321 §4.4)."""
        self.fields.insert(0, one_field(raw))

    def append(self, raw: bytes) -> None:
        """Puts a complete field below all others."""
        self.fields.append(one_field(raw))

    def to_bytes(self) -> bytes:
        """The block again; equal to what was parsed when nothing was changed."""
        return b"".join([field[1] for field in self.fields])


def one_field(raw: bytes) -> Field:
    """A field of our own making; raises ValueError for one that would break the block (header injection)."""
    match = ONE_FIELD.fullmatch(raw)
    if match is None:
        raise ValueError(f"not one complete header field: {raw[:60]!r}")
    return Field(match[1].lower(), raw)


def decode_words(value: str) -> str:
    """The value with encoded words (RFC 2047) turned into text; what cannot be decoded stays as it is."""
    if "=?" not in value or len(value) > MAX_WORDS_CHARS:
        return value
    return "".join(_decoded(value))


def _decoded(value: str) -> Iterator[str]:
    """Plain text and decoded words in turn. Words of one charset that touch are decoded as one, as some
    programs cut a character in two; white space between words is no text (RFC 2047 §6.2)."""
    held, charset, end = b"", "", 0
    for match in WORD.finditer(value):
        between, word = value[end : match.start()], _word_bytes(match)
        adjacent = not between or (between.isspace() and end > 0)
        if word is None:
            yield _text(held, charset) + between + match[0]
            held, charset = b"", ""
        elif adjacent and charset == match[1].lower():
            held += word
        else:
            yield _text(held, charset) + ("" if adjacent and charset else between)
            held, charset = word, match[1].lower()
        end = match.end()
    yield _text(held, charset) + value[end:]


def _word_bytes(match: re.Match[str]) -> bytes | None:
    """The octets an encoded word stands for; None when it is none after all."""
    try:
        "".encode(match[1].partition("*")[0])  # RFC 2231 §5: a language may follow the charset
        text = match[3].encode("ascii")
        return a2b_qp(text, header=True) if match[2] in "Qq" else a2b_base64(text + b"=" * (-len(text) % 4))
    except (LookupError, ValueError):  # bad base64 and bad text are ValueErrors too
        return None


def _text(octets: bytes, charset: str) -> str:
    """The octets in their charset; idna and the like, which are no charsets of mail, give replacements."""
    try:
        return octets.decode(charset.partition("*")[0], "replace") if charset else ""
    except UnicodeError:
        return octets.decode("ascii", "replace")
