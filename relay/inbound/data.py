"""The message after DATA, chunk by chunk: find its end, take out the stuffing, look for what is wrong.

Invariant: any way of cutting the same bytes into chunks gives the same content, the same findings and the
same rest. Only CRLF.CRLF ends the message (RFC 5321 §2.3.8, §4.1.1.4): anything looser is how a message is
smuggled behind another. No I/O here.
"""

from __future__ import annotations

import re

END = b"\r\n.\r\n"
MAX_LINE = 998  # octets before the CRLF, RFC 5322 §2.1.1
LINE_END = re.compile(rb"\r\n|\r|\n")
# CPython's regular expressions jump from LF to LF; bytes.find takes twice as long on lines of mail.
FIND_DOT = re.compile(rb"\n\.")  # where there is none, neither the end nor a stuffed dot is
FIND_END = re.compile(rb"\r\n\.\r\n")


class DataReader:
    """Reads one message. `feed` until it gives the rest; the pieces it collects in `pieces` are the content.

    With `repair` bare CR and bare LF become CRLF and NUL goes away, as the content passes; without it they
    stay and are only reported, for the caller to refuse the message."""

    __slots__ = ("_held", "_line", "_repair", "bare", "eight_bit", "long_lines", "nul", "pieces", "size")

    def __init__(self, *, repair: bool = False) -> None:
        self._repair = repair
        self._held = b"\r\n"  # the DATA line's own end: a dot may come first (RFC 5321 §4.5.2)
        self._line = 0  # octets of the unfinished line
        self.pieces: list[bytes] = []
        self.size = -2  # octets of content so far, without the virtual CRLF
        self.bare = False
        self.nul = False
        self.eight_bit = False
        self.long_lines = False

    def feed(self, chunk: bytes) -> bytes | None:
        """Takes the next bytes; returns None while the message goes on, else what came after its end."""
        data = self._held + chunk
        dot = FIND_DOT.search(data)
        end = FIND_END.search(data, max(0, dot.start() - 1)) if dot else None
        if end:
            self._emit(data[: end.start() + 2], dots=dot is not None and dot.start() < end.start())
            return data[end.end() :]
        keep = _held_back(data)
        self._held = data[len(data) - keep :]
        if len(data) > keep:
            self._emit(data[: len(data) - keep], dots=dot is not None)
        return None

    def take(self) -> bytes:
        """The content collected since the last call, joined; the reader forgets it."""
        data = self.pieces[0] if len(self.pieces) == 1 else b"".join(self.pieces)
        self.pieces.clear()
        return data

    def _emit(self, data: bytes, *, dots: bool) -> None:
        """One run of content. It never ends inside CRLF or a stuffed dot, so each run is judged by itself."""
        if dots:
            data = data.replace(b"\r\n.", b"\r\n")  # RFC 5321 §4.5.2: the first dot of a line was added
        lengths, ends = _lines(data)
        if len(data) != sum(lengths) + 2 * ends:  # an end that is not CRLF is one octet
            self.bare = True
            if self._repair:
                data = LINE_END.sub(b"\r\n", data)
        if b"\0" in data:
            self.nul = True
            if self._repair:
                data = data.replace(b"\0", b"")
                lengths, ends = _lines(data)
        if not data.isascii():
            self.eight_bit = True
        self._measure(lengths, ends)
        if self.size < 0:  # the virtual CRLF is not content
            self.size = 0
            data = data[2:]
        self.size += len(data)
        if data:
            self.pieces.append(data)

    def _measure(self, lengths: list[int], ends: int) -> None:
        """Looks for a line above the limit; the first one goes on from the run before."""
        if not lengths:
            return
        lengths[0] += self._line
        self.long_lines |= max(lengths) > MAX_LINE
        self._line = 0 if ends == len(lengths) else lengths[-1]


def _lines(data: bytes) -> tuple[list[int], int]:
    """The octets of each line between CR, LF and CRLF, the unfinished last one included; how many have an end."""
    lengths = list(map(len, data.splitlines()))
    return lengths, len(lengths) - (not data.endswith((b"\r", b"\n")))


def _held_back(data: bytes) -> int:
    """How many of the last bytes may be the start of the end, and must wait for the next chunk."""
    for length in (4, 3, 2, 1):
        if data.endswith(END[:length]):
            return length
    return 0
