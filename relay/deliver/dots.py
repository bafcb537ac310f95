"""The end of DATA, found in a stream of chunks with bounded memory (RFC 5321 §4.5.2)."""

from __future__ import annotations

import re

END = b"\r\n.\r\n"
STUFFED = re.compile(rb"\r\n\.")


class DotStream:
    """Turns the bytes after 354 back into the message: feeds on chunks, gives lines without their stuffing.

    `rest` is what came after the final dot: commands sent ahead, to be read next. Only CRLF.CRLF ends the
    data, and a chunk may be cut anywhere; at most one chunk and five bytes are held.
    """

    def __init__(self) -> None:
        self.ended = False
        self.rest = b""
        self._held = bytearray(b"\r\n")  # the line before the first one ends here: a dot may open the data
        self._skip = 2

    def feed(self, chunk: bytes) -> bytes:
        """The part of the message that is certain now; b"" when more must come first."""
        held = self._held
        held += chunk
        end = held.find(END)
        if end >= 0:
            self.ended = True
            self.rest = bytes(held[end + len(END) :])
            return self._plain(end + 2)
        # The last line is held back from its CRLF on while it may still turn out to be the final dot.
        cut = held.rfind(b"\r\n")
        if cut < 0 or not END.startswith(held[cut:]):
            cut = len(held) - held.endswith(b"\r")
        return self._plain(cut)

    def _plain(self, cut: int) -> bytes:
        plain = STUFFED.sub(b"\r\n", self._held[:cut])
        del self._held[:cut]
        if plain and self._skip:
            plain, self._skip = plain[self._skip :], 0
        return plain
