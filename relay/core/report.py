"""A report that came in, taken apart (RFC 6522): bytes of a stranger to values. Nothing here raises, and nothing
reads more than it is told: a report is small, and whoever makes it large has no report to give.
"""

from __future__ import annotations

import re
from binascii import Error, a2b_base64, a2b_qp
from dataclasses import dataclass, field
from itertools import islice

from relay.core.headers import Headers, split_message

READ_BYTES = 131_072  # of a report's body: words, fields, and an original's header; the rest of it is not ours to see
PARTS_MOST = 10  # RFC 6522 §3 has three
TYPE_CHARS = 2000  # of a Content-Type that are looked at
BOUNDARY_CHARS = 200  # RFC 2046 §5.1.1: 70
PARAMETER = re.compile(r';\s*+([A-Za-z-]{1,40})\s*+=\s*+("(?>(?:[^"\\]|\\.)*)"|[^\s;"]++)')
QUOTED_PAIR = re.compile(r"\\(.)")
LINE_END = re.compile(rb"\r?\n")
CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]+")
PATH = re.compile(r"<?([^<>\s]{1,320})>?")


@dataclass(frozen=True, slots=True)
class Part:
    """One part: its media type in lower case, and its content without transfer encoding."""

    type: str
    content: bytes


@dataclass(frozen=True, slots=True)
class Report:
    """`kind` is the report-type in lower case, "" for mail that is no multipart/report; `parts` in order."""

    kind: str = ""
    parts: tuple[Part, ...] = field(default=(), repr=False)

    def first(self, *types: str) -> bytes | None:
        """The content of the first part of one of these types."""
        return next((part.content for part in self.parts if part.type in types), None)


NO_REPORT = Report()


def take_apart(header: bytes, body: bytes) -> Report:
    """The report in a message in network form; `body` may be cut, READ_BYTES are looked at."""
    what, parameters = media_type(fields(header).first("content-type") or "")
    boundary = parameters.get("boundary", "")
    kind = CONTROLS.sub("", parameters.get("report-type", "")).lower()
    if what != "multipart/report" or not kind or not 0 < len(boundary) <= BOUNDARY_CHARS:
        return NO_REPORT
    return Report(kind, tuple(_part(data) for data in _split(body[:READ_BYTES], boundary)))


def media_type(value: str) -> tuple[str, dict[str, str]]:
    """Type and parameters of a Content-Type, names and type in lower case."""
    value = value[:TYPE_CHARS]
    parameters: dict[str, str] = {}
    for name, text in PARAMETER.findall(value):
        quoted = text.startswith('"')
        parameters.setdefault(name.lower(), QUOTED_PAIR.sub(r"\1", text[1:-1]) if quoted else text)
    return value.partition(";")[0].strip().lower(), parameters


def fields(block: bytes) -> Headers:
    """The fields at the beginning of some bytes, up to the first line that is none."""
    return Headers.parse(split_message(block)[0])


def field_blocks(data: bytes, most: int) -> list[Headers]:
    """Groups of fields with empty lines between them (RFC 3464 §2.1), at most so many."""
    blocks = LINE_END.sub(b"\r\n", data).strip(b"\r\n").split(b"\r\n\r\n", most)[:most]
    return [fields(block.lstrip(b"\r\n") + b"\r\n") for block in blocks]


def text_of(value: str | None, most: int = 300) -> str:
    """A stranger's words for our log: without control characters, cut."""
    return CONTROLS.sub(" ", value or "").strip()[:most]


def path_in(value: str | None) -> str:
    """The address of `<a@b>`, `a@b` or `rfc822; a@b` (RFC 3464 §2.3.2); "" when there is none."""
    found = PATH.search(text_of(value).rpartition(";")[2])
    return found[1] if found else ""


def _split(body: bytes, boundary: str) -> list[bytes]:
    """What stands between the lines of the boundary (RFC 2046 §5.1.1); the last may lack its end."""
    line = re.compile(rb"\r\n--" + re.escape(boundary.encode("utf-8", "surrogateescape")) + rb"(--)?[ \t]*+(?=\r\n)")
    data = b"\r\n" + body + b"\r\n"
    borders = list(islice(line.finditer(data), PARTS_MOST + 1))
    ends = [*(border.start() + 2 for border in borders[1:]), len(data)]
    found = []
    for border, end in zip(borders[:PARTS_MOST], ends, strict=False):
        if border[1]:
            break
        found.append(data[border.end() + 2 : end])
    return found


def _part(data: bytes) -> Part:
    """A part whose header is missing is text (RFC 2046 §5.1)."""
    header, content = split_message(data)
    headers = Headers.parse(header)
    what = media_type(headers.first("content-type") or "text/plain")[0]
    encoding = (headers.first("content-transfer-encoding") or "").lower()
    return Part(what, _decoded(content, encoding))


def _decoded(content: bytes, encoding: str) -> bytes:
    """Fields should not be encoded (RFC 3464 §2.1), and some are. Lines end CRLF again."""
    if encoding == "base64":
        try:
            return LINE_END.sub(b"\r\n", a2b_base64(content))
        except Error:
            return b""
    if encoding == "quoted-printable":
        return LINE_END.sub(b"\r\n", a2b_qp(content))
    return content
