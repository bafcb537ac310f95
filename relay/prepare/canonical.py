"""Relaxed canonicalisation (RFC 6376 §3.4): what a signature covers, in time linear in the size.

Everything is whole-buffer operations of the interpreter's C code. The obvious patterns, such as
`[ \\t]+(?=\\r\\n)`, look at a run of n spaces n times: 1 MB of legal lines took dkimpy 1.4 s.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from hashlib import sha256

CRLF = b"\r\n"
SPACES = re.compile(rb"  +")
HALVINGS = 4  # replacing pairs is ten times faster than SPACES, but needs a pass for each doubling of a run
ODD_SPACE = re.compile(rb"[\x0b\x0c]")  # bytes.split() takes these for space; RFC 5234's WSP does not
WSP = re.compile(rb"[ \t]+")
TABS_TO_SPACES = bytes.maketrans(b"\t", b" ")


def relaxed_header(raw: bytes) -> bytes:
    """One field in relaxed form with its CRLF (§3.4.2); `raw` is the complete field."""
    name, _, value = raw.partition(b":")
    if ODD_SPACE.search(value):
        text = WSP.sub(b" ", value.replace(CRLF, b"")).strip(b" ")
    else:
        text = b" ".join(value.split())  # unfolds, compresses and strips in one call
    return name.rstrip(b" \t").lower() + b":" + text + CRLF


def relaxed_lines(data: bytes) -> bytes:
    """Complete lines with runs of white space made one space and none left at line ends (§3.4.4 a)."""
    if b"\t" in data:
        data = data.translate(TABS_TO_SPACES)
    last = data.rfind(b" ") + 1
    if not last:  # an attachment in base64 is looked at no further
        return data
    return _compressed(data[: last + 2]) + data[last + 2 :]


def _compressed(data: bytes) -> bytes:
    for _ in range(HALVINGS):
        if b"  " not in data:
            break
        data = data.replace(b"  ", b" ")
    else:
        data = SPACES.sub(b" ", data)
    if b" \r\n" in data:
        data = data.replace(b" \r\n", CRLF)
    return data


def relaxed_body(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The canonical body in pieces: relaxed lines, without the empty lines at its end (§3.4.4 b); the
    last line gets the CRLF it lacks. Nothing at all for a body of empty lines."""
    pending, text_seen = 0, False  # line ends not yet known to be inside the text
    for lines in whole_lines(chunks):
        piece = relaxed_lines(lines)
        end = end_of_text(piece)
        if end:
            yield CRLF * pending + piece[:end] if pending else piece[:end]
            pending, text_seen = 0, True
        pending += (len(piece) - end) // 2
    if text_seen:
        yield CRLF


def relaxed_body_hash(chunks: Iterable[bytes]) -> bytes:
    """The SHA-256 digest of the canonical body, for every signature of the message alike (§3.7)."""
    digest = sha256()
    for piece in relaxed_body(chunks):
        digest.update(piece)
    return digest.digest()


def whole_lines(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The same bytes in pieces that end CRLF, so that no line is cut; a CRLF is added at the very end
    where it is missing (§3.4.4). Holds at most a chunk and one line."""
    held: list[bytes] = []
    for chunk in chunks:
        cut = chunk.rfind(CRLF) + 2
        if cut == 1:  # no line end in it
            held.append(chunk)
            continue
        whole = chunk if cut == len(chunk) else chunk[:cut]
        yield b"".join([*held, whole]) if held else whole
        held = [chunk[cut:]] if cut < len(chunk) else []
    if rest := b"".join(held):
        yield rest if rest.endswith(CRLF) else rest + CRLF


def end_of_text(lines: bytes) -> int:
    """Where the CRLFs at the end begin, the last line's own included."""
    end = len(lines.rstrip(CRLF))
    tail = len(lines) - end
    if lines.count(CRLF, end) * 2 == tail:
        return end
    end = len(lines)  # a bare CR or LF, which no listener lets in, is text
    while lines.endswith(CRLF, 0, end):
        end -= 2
    return end
