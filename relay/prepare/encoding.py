"""Body parts re-encoded where the wire cannot carry them, everything around them byte for byte.

A walk over the MIME structure finds the parts with lines over 998 bytes (RFC 5322 §2.1.1) or, where the
stream asks for it, with 8-bit bytes, and writes those parts anew in quoted-printable or base64. Boundaries,
preambles and all other parts keep their bytes. What a signature covers (multipart/signed, a message
that came with DKIM-Signature) and messages inside messages (RFC 2046 §5.2.1 lets them have no encoding)
are not touched: with a long line they are refused, 8-bit ones go out as they are.
"""

from __future__ import annotations

import re
from binascii import b2a_base64, b2a_qp
from collections.abc import Iterator
from dataclasses import dataclass
from email.message import Message

from relay.core.content import Body, MemoryBody
from relay.core.headers import Headers, split_message
from relay.prepare.repair import Refusal, encoded_field, refused
from relay.prepare.words import MAX_LINE_BYTES, fold

MAX_DEPTH = 20  # no mail program nests deeper than a handful; hostile ones nest thousands
MAX_PARTS = 1000
LONG_LINE = re.compile(rb"(?:\A|\n)[^\r\n]{%d}" % (MAX_LINE_BYTES + 1))
ASCII = bytes(range(128))
ENCODED_CHARS = 76  # RFC 2045 §6.7 (5), §6.8

FOREIGN = re.compile(rb"[\x80-\xff]")
COMMENT = re.compile(r"\([^()]*\)")
PLAIN = frozenset(("7bit", "8bit", "binary"))
KNOWN = PLAIN | {"base64", "quoted-printable"}
MAX_TYPE_CHARS = 2000  # the standard library's parameter parser is not linear


@dataclass(frozen=True, slots=True)
class Part:
    """One leaf of the MIME tree: data[start:end] of the message body are its header block, the empty line
    and its text. `fixed`: may not be changed, all of it is `text`. `top`: the message has no parts, its
    fields are the message's."""

    start: int
    end: int
    headers: Headers
    text: bytes
    fixed: bool = False
    top: bool = False


def reencoded(headers: Headers, body: Body, *, eight_bit: bool, signed: bool) -> Body | Refusal:
    """The body with the parts that need it re-encoded; the same object when none does. A message of one
    part gets its new Content-Transfer-Encoding in `headers`. Loads the body into memory."""
    data = b"".join(body.chunks())
    pieces: list[bytes] = []
    done = 0
    for part in leaves(headers, data, signed=signed):
        text_at = part.end - len(part.text)
        own = data[part.start : text_at]
        long_line, long_field = LONG_LINE.search(part.text), LONG_LINE.search(own)
        if part.fixed:
            if long_line:
                return _too_long(data, text_at, long_line, signed=signed)
            continue
        text_in_trouble = long_line or (eight_bit and not part.text.isascii())
        if not (text_in_trouble or long_field or (eight_bit and not own.isascii())):
            continue
        text = encode(part.headers, part.text, top=part.top) if text_in_trouble else part.text
        new = b"" if part.top else _tidied(part.headers, eight_bit=eight_bit) + b"\r\n"
        if long_field and LONG_LINE.search(new):
            return _too_long(data, part.start, long_field, signed=signed)
        pieces += [data[done : part.start], new, text]
        done = part.end
    return MemoryBody(b"".join([*pieces, data[done:]])) if pieces else body


def _tidied(headers: Headers, *, eight_bit: bool) -> bytes:
    """A part's header block with long lines folded and, where asked, 8-bit text (file names) encoded."""
    fields = []
    for field in headers.fields:
        raw = (None if field.raw.isascii() or not eight_bit else encoded_field(field)) or field.raw
        fields.append(fold(raw) if len(raw) > MAX_LINE_BYTES else raw)
    return b"".join(fields)


def _too_long(data: bytes, offset: int, found: re.Match[bytes], *, signed: bool) -> Refusal:
    start = offset + found.end() - (MAX_LINE_BYTES + 1)
    number = data.count(b"\n", 0, start) + 1
    end = data.find(b"\r\n", start)
    length = (end if end >= 0 else len(data)) - start
    why = "the message is signed" if signed else "that part may not be re-encoded"
    text = f"line {number} of the body has {length} bytes and {why}; 998 are allowed (RFC 5322 section 2.1.1)"
    return refused("long-line", text)


def leaves(headers: Headers, data: bytes, *, signed: bool) -> Iterator[Part]:
    """The leaves of the tree in order of their bytes; preambles, epilogues and the header blocks of inner
    multiparts are among them as fixed ones."""
    if signed:
        yield Part(0, len(data), headers, data, fixed=True)
        return
    budget = iter(range(MAX_PARTS))
    yield from _walk(headers, data, (0, 0, len(data)), budget=budget)


def _walk(
    headers: Headers,
    data: bytes,
    span: tuple[int, int, int],
    *,
    default: str = "text/plain",
    depth: int = 0,
    budget: Iterator[int],
) -> Iterator[Part]:
    """One part whose bytes begin at span[0], its text at span[1], its end at span[2]."""
    start, text_at, end = span
    kind, boundary = content_type(headers, default)
    top = depth == 0
    if not kind.startswith("multipart/"):
        fixed = kind.startswith("message/") or transfer_encoding(headers) not in KNOWN
        yield Part(start, end, headers, data[start if fixed else text_at : end], fixed, top)
        return
    yield Part(start, text_at, headers, data[start:text_at], fixed=True)
    sealed = kind in ("multipart/signed", "multipart/encrypted")
    marks = [] if sealed or not boundary or depth == MAX_DEPTH else _delimiters(boundary, data, text_at, end)
    inner = "message/rfc822" if kind == "multipart/digest" else "text/plain"
    at = text_at
    inside = False
    for begin, after, last in [*marks, (end, end, True)]:
        stop = max(at, begin - 2 if begin < end else end)  # the CRLF before a delimiter belongs to it
        if inside and next(budget, None) is not None:
            own, text = split_message(data[at:stop])
            span = (at, stop - len(text), stop)
            yield from _walk(Headers.parse(own), data, span, default=inner, depth=depth + 1, budget=budget)
        else:
            yield Part(at, stop, headers, data[at:stop], fixed=True)
        at, inside = min(after, end), not last


def _delimiters(boundary: str, data: bytes, start: int, end: int) -> list[tuple[int, int, bool]]:
    """Where each delimiter line begins, where the next line begins, and whether it is the closing one;
    none after that (RFC 2046 §5.1.1)."""
    line = re.compile(rb"(?:\A|(?<=\r\n))--" + re.escape(boundary.encode()) + rb"(--)?[ \t]*(?:\r\n|\Z)")
    found = []
    for match in line.finditer(data, start, end):
        found.append((match.start(), match.end(), match[1] is not None))
        if match[1]:
            break
    return found


def content_type(headers: Headers, default: str = "text/plain") -> tuple[str, str]:
    """The type in lower case and the boundary, "" when there is none."""
    value = headers.first("content-type")
    if not value:
        return default, ""
    if len(value) > MAX_TYPE_CHARS:
        return "multipart/encrypted", ""  # nothing real; left alone
    message = Message()
    message["Content-Type"] = value.encode("ascii", "replace").decode()
    return message.get_content_type(), message.get_boundary() or ""


def transfer_encoding(headers: Headers) -> str:
    """The Content-Transfer-Encoding in lower case, "7bit" when none is given (RFC 2045 §6.1)."""
    value = COMMENT.sub("", headers.first("content-transfer-encoding") or "")
    return value.partition(";")[0].strip().lower() or "7bit"


def encode(headers: Headers, text: bytes, *, top: bool) -> bytes:
    """The text of one part fit for the wire, and its fields to match. What is base64 or quoted-printable
    already only gets shorter lines."""
    encoding = transfer_encoding(headers)
    if encoding == "base64":
        return _wrapped(b"".join(text.split()), ended=text.endswith(b"\r\n"))
    if encoding == "quoted-printable":
        safe = FOREIGN.sub(lambda match: b"=%02X" % match[0][0], text)
        return b"\r\n".join([_soft_broken(line) for line in safe.split(b"\r\n")])
    foreign = len(text.translate(None, ASCII))
    _declare(headers, text, "base64" if foreign * 6 > len(text) else "quoted-printable", top=top)
    if foreign * 6 > len(text):  # quoted-printable triples each such byte, base64 adds a third to all
        return _wrapped(b2a_base64(text, newline=False), ended=True)
    return b"\r\n".join([_quoted(line) for line in text.split(b"\r\n")])


def _declare(headers: Headers, text: bytes, encoding: str, *, top: bool) -> None:
    headers.remove(["content-transfer-encoding"])
    if top and not headers.count("mime-version"):
        headers.append(b"MIME-Version: 1.0\r\n")
    if top and not headers.count("content-type"):
        charset = "us-ascii" if text.isascii() else "utf-8" if _is_utf8(text) else "windows-1252"
        headers.append(f"Content-Type: text/plain; charset={charset}\r\n".encode())
    headers.append(f"Content-Transfer-Encoding: {encoding}\r\n".encode())


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


def _quoted(line: bytes) -> bytes:
    """One line without its CRLF in quoted-printable, soft line breaks as CRLF."""
    return b2a_qp(line, istext=False).replace(b"\n", b"\r\n")


def _wrapped(text: bytes, *, ended: bool) -> bytes:
    lines = [text[i : i + ENCODED_CHARS] for i in range(0, len(text), ENCODED_CHARS)]
    return b"\r\n".join(lines) + (b"\r\n" if ended else b"")


def _soft_broken(line: bytes) -> bytes:
    """A quoted-printable line in pieces of at most 76, no =XX cut in two (RFC 2045 §6.7 (5))."""
    pieces, at = [], 0
    while len(line) - at > ENCODED_CHARS:
        cut = at + ENCODED_CHARS - 1
        if (equals := line.find(b"=", cut - 2, cut)) >= 0:
            cut = equals
        pieces.append(line[at:cut] + b"=")
        at = cut
    return b"\r\n".join([*pieces, line[at:]])
