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
# CPython's regular expressions jump from CR to CR; bytes.find and count take twice as long on lines of mail.
FIND_END = re.compile(rb"\r\n\.\r\n")
STUFFED = re.compile(rb"\n\.")
BARE_CR = re.compile(rb"\r(?!\n)")


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
        if end := FIND_END.search(data):
            self._emit(data[: end.start() + 2])
            return data[end.end() :]
        keep = _held_back(data)
        self._held = data[len(data) - keep :]
        if len(data) > keep:
            self._emit(data[: len(data) - keep])
        return None

    def take(self) -> bytes:
        """The content collected since the last call, joined; the reader forgets it."""
        data = self.pieces[0] if len(self.pieces) == 1 else b"".join(self.pieces)
        self.pieces.clear()
        return data

    def _emit(self, data: bytes) -> None:
        """One run of content. It never ends inside CRLF or a stuffed dot, so each run is judged by itself."""
        if STUFFED.search(data):
            data = data.replace(b"\r\n.", b"\r\n")  # RFC 5321 §4.5.2: the first dot of a line was added
        # when no CR is bare, as many LFs as CRs means that no LF is bare either
        if BARE_CR.search(data) or data.count(b"\n") != data.count(b"\r"):
            self.bare = True
            if self._repair:
                data = LINE_END.sub(b"\r\n", data)
        if b"\0" in data:
            self.nul = True
            if self._repair:
                data = data.replace(b"\0", b"")
        if not data.isascii():
            self.eight_bit = True
        self._measure(data)
        if self.size < 0:  # the virtual CRLF is not content
            self.size = 0
            data = data[2:]
        self.size += len(data)
        if data:
            self.pieces.append(data)

    def _measure(self, data: bytes) -> None:
        """Looks for a line above the limit in strides of the limit, not line by line."""
        first = data.find(b"\n")
        if first < 0:
            self._line += len(data)
            self.long_lines |= self._line > MAX_LINE + 1
            return
        self.long_lines |= self._line + first - 1 > MAX_LINE
        start = first + 1
        while len(data) - start > MAX_LINE + 1:  # one more: the CR may be among them
            end = data.rfind(b"\n", start, start + MAX_LINE + 2)
            if end < 0:
                self.long_lines = True
                end = data.rfind(b"\n", start)
                if end < 0:
                    break
            start = end + 1
        self._line = len(data) - 1 - data.rfind(b"\n")


def _held_back(data: bytes) -> int:
    """How many of the last bytes may be the start of the end, and must wait for the next chunk."""
    for length in (4, 3, 2, 1):
        if data.endswith(END[:length]):
            return length
    return 0
