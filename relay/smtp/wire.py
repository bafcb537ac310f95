"""Bytes to replies and messages to bytes: the two translations an SMTP client needs.

ReplyReader is as tolerant as RFC 5321 §4.2 asks of a client (text optional, bare codes, any text) and
bounded against servers that are not friendly: nothing they send grows memory past a few KiB or raises.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache

from relay.core.reply import Reply

LINE_BYTES = 2000  # kept of one line; RFC 5321 §4.5.3.1.5 allows 512, real servers send some more
REPLY_LINES = 100  # a 250- that never ends is an attack; EHLO of real servers has about 15
REPLY_BYTES = 65_536  # of one reply, dropped ends of long lines included
TEXT_CHARS = 4096  # of one reply kept: thousands of recipients may each hold one
KNOWN_BYTES = 200  # longest reply that is read once for all: a server says "250 2.1.0 Ok" to every message
KNOWN_MOST = 500

_LINE = re.compile(rb"([2-5][0-9]{2})(?:([ -])(.*))?", re.DOTALL)
_ENHANCED = re.compile(r"([245])\.(0|[1-9][0-9]{0,2})\.(0|[1-9][0-9]{0,2})(?:[ \t]+|$)")


class ReplyReader:
    """Collects bytes and yields whole replies. `trouble` is "" or says what the server did wrong;
    from then on nothing more is read."""

    __slots__ = ("_bytes", "_code", "_enhanced", "_kept", "_lines", "_partial", "trouble")

    def __init__(self) -> None:
        self.trouble = ""
        self._partial = b""  # of the current line, at most LINE_BYTES
        self._bytes = 0  # of the current reply so far
        self._begin()

    def _begin(self) -> None:
        self._code = 0
        self._enhanced = ""
        self._kept = 0
        self._lines: list[str] = []

    @property
    def pending(self) -> bool:
        """Whether part of a reply has been read."""
        return bool(self._bytes)

    def feed(self, data: bytes) -> list[Reply]:
        """The replies that `data` completes, in order; those before a `trouble` are still given."""
        replies: list[Reply] = []
        if self.trouble:
            return replies
        lines = data.split(b"\n")
        rest = lines.pop()
        for line in lines:
            self._bytes += len(line) + 1
            if self._partial:
                line = self._partial + line  # noqa: PLW2901  the line begun by an earlier segment
                self._partial = b""
            reply = None if self._lines or len(line) > KNOWN_BYTES else _whole(line)
            if reply is None:
                reply = self._line(line[:LINE_BYTES])
            if self.trouble:
                return replies
            if reply is not None:
                replies.append(reply)
                self._bytes = 0
        if rest:
            self._bytes += len(rest)
            self._partial = (self._partial + rest)[:LINE_BYTES]
            if self._bytes > REPLY_BYTES:
                self.trouble = f"a reply of more than {REPLY_BYTES} bytes"
        return replies

    def _line(self, line: bytes) -> Reply | None:
        """One line without its LF; the reply if it is the last of one."""
        line = line.rstrip(b"\r")
        found = _LINE.fullmatch(line)
        if found is None:
            self.trouble = f"not a reply line: {_text(line[:80])!r}"
            return None
        code = int(found[1])
        if self._code and code // 100 != self._code // 100:  # RFC 5321 §4.2.1: all lines the same code
            self.trouble = f"one reply with two codes, {self._code} and {code}"
        elif self._bytes > REPLY_BYTES:
            self.trouble = f"a reply of more than {REPLY_BYTES} bytes"
        elif len(self._lines) >= REPLY_LINES:
            self.trouble = f"a reply of more than {REPLY_LINES} lines"
        else:
            self._code = code
            self._keep(*_split(code, found[3]))
            if found[2] != b"-":
                return self._finish()
        return None

    def _keep(self, enhanced: str, text: str) -> None:
        self._enhanced = self._enhanced or enhanced
        text = text[:TEXT_CHARS - self._kept]
        self._kept += len(text)
        self._lines.append(text)

    def _finish(self) -> Reply:
        reply = Reply(self._code, self._enhanced, tuple(self._lines))
        self._begin()
        return reply


@lru_cache(KNOWN_MOST)
def _whole(line: bytes) -> Reply | None:
    """The reply of one short line (without its LF); None for one line of several, or no reply at all."""
    found = _LINE.fullmatch(line.rstrip(b"\r"))
    if found is None or found[2] == b"-":
        return None
    code = int(found[1])
    enhanced, text = _split(code, found[3])
    return Reply(code, enhanced, (text,))


def _split(code: int, raw: bytes | None) -> tuple[str, str]:
    """The enhanced code or "", and the text behind it."""
    text = _text(raw) if raw else ""
    # RFC 2034 §4: the class is the first digit of the code, else it is only text that looks so
    if text[1:2] == "." and (found := _ENHANCED.match(text)) and int(found[1]) == code // 100:
        return found[0].rstrip(), text[found.end():]
    return "", text


def _text(raw: bytes) -> str:
    """What people may be shown: UTF-8 where it is, no control characters, no line separators."""
    text = raw.decode("utf-8", "replace")
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else " " if char in "\t\xa0" else "?" for char in text)


def stuff(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The bytes after 354: a message in CRLF form with its dots doubled (RFC 5321 §4.5.2) and the end
    of data; a CRLF is added where the last line lacks one. Chunk borders may fall anywhere."""
    last = b"\r\n"  # the two bytes before the chunk: the first line begins like every other
    for chunk in chunks:
        before, last = last, (last + chunk[-2:])[-2:]
        if before == b"\r\n" and chunk.startswith(b"."):
            chunk = b"." + chunk  # noqa: PLW2901
        elif before.endswith(b"\r") and chunk.startswith(b"\n."):
            chunk = b"\n." + chunk[1:]  # noqa: PLW2901
        if b"\r\n." in chunk:
            chunk = chunk.replace(b"\r\n.", b"\r\n..")  # noqa: PLW2901
        yield chunk
    yield b".\r\n" if last == b"\r\n" else b"\r\n.\r\n"


def stuffed(message: bytes) -> bytes:
    """What `stuff` gives for a message that is in memory as a whole, in one piece."""
    if message.startswith(b"."):
        message = b"." + message
    if b"\r\n." in message:
        message = message.replace(b"\r\n.", b"\r\n..")
    return message + (b".\r\n" if not message or message.endswith(b"\r\n") else b"\r\n.\r\n")
