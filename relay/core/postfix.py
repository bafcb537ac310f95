"""A queue file of Postfix, read: who still waits, with what envelope, and the message in network form.

A file is a sequence of records: a type, a length in groups of 7 bits (least first, bit 8 says that more follow) and
that many bytes (Postfix 3.7, src/global/record.c, rec_type.h). Envelope records come first; after `M` the content, a
record a line (`N`), or a part of one (`L`); after `X` more envelope; `E` ends it. `p` jumps to where a milter's edits
lie, `w` is padding. Everything is checked: a file is hostile until it was read to its `E`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from relay.core.address import AddressError, parse_path
from relay.core.envelope import Envelope, Recipient

QUEUE_ID = re.compile(r"[0-9A-Za-z]{5,40}")  # short ids are hexadecimal, long ones of base 52 (postconf(5))
RECIPIENTS_MOST = 100_000
LENGTH_BITS = 35  # five groups, as record.c has it
# src/global/dsn_mask.h
NOTIFY = ((1, "NEVER"), (2, "SUCCESS"), (4, "FAILURE"), (8, "DELAY"))
RET = {1: "FULL", 2: "HDRS"}
UTF8_REQUESTED = 1  # of the sixth number in the size record: SMTPUTF8 was on MAIL (src/global/smtputf8.h)
DOT_STRING = re.compile(r"[^\s\x00-\x1f\x7f()<>@,;:\\\".\[\]]+(?:\.[^\s\x00-\x1f\x7f()<>@,;:\\\".\[\]]+)*")
ADDRESS_TYPE = re.compile(r"[A-Za-z0-9-]{1,40}")  # rfc822, utf-8 (RFC 3461 §4.2)
NOT_XTEXT = re.compile(rb"[^!-*,-<>-~]")  # RFC 3461 §4: what is not printable, "+" and "="


class NotQueueFile(ValueError):
    """The file is no queue file, or not a whole one; the text says what is wrong with it."""


@dataclass(frozen=True, slots=True)
class QueueFile:
    """One message of a Postfix queue. `envelope` has only recipients that are still open, `done` counts the others.
    `arrived_at` is Unix seconds (UTC), `stamp` the same as Postfix wrote it. `client` is the IP address, `helo` and
    `user` (SASL) what it called itself. `redirected` is where an operator sent the message instead, or "". `content`
    has CRLF line ends."""

    arrived_at: float
    stamp: str
    envelope: Envelope
    done: int
    client: str
    helo: str
    user: str
    redirected: str
    content: bytes = field(repr=False)


def read_queue_file(data: bytes) -> QueueFile:
    """The message in a queue file; raises NotQueueFile, nothing else."""
    reading = _Reading()
    for kind, value in _records(data):
        reading.take(kind, value)
    return reading.finish()


def _records(data: bytes) -> Iterator[tuple[str, bytes]]:
    """Types and values in reading order, up to and with `E`. No byte is read twice in a true file, so a file that
    jumps in circles ends with an error."""
    offset, left = 0, len(data)
    while True:
        kind, start, end = _record(data, offset)
        left -= end - offset
        if left < 0:
            raise NotQueueFile("its pointers go in circles")
        value = data[start:end]
        offset = end
        if kind == "p":
            offset = _number(value.decode("latin-1"), "a pointer") or offset
        elif kind != "w":
            yield kind, value
            if kind == "E":
                return


def _record(data: bytes, offset: int) -> tuple[str, int, int]:
    """Type, and where the value begins and ends."""
    at, length, shift = offset + 1, 0, 0
    while True:
        if at >= len(data):
            raise NotQueueFile("it ends in the middle: Postfix was writing it, or it is no queue file")
        length |= (data[at] & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if not data[at - 1] & 0x80:
            break
        if shift >= LENGTH_BITS:
            raise NotQueueFile("a record has no end to its length")
    if at + length > len(data):
        raise NotQueueFile("it ends in the middle: Postfix was writing it, or it is no queue file")
    return chr(data[offset]), at, at + length


def _number(text: str, what: str) -> int:
    digits = text.strip(" ")
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 18):
        raise NotQueueFile(f"{what} is no number: {text[:40]!r}")
    return int(digits)


class _Reading:
    """One file on its way to a QueueFile."""

    def __init__(self) -> None:
        self.part = "envelope"
        self.lines: list[bytes] = []
        self.unfinished = False  # the last line is still going on
        self.stamp, self.redirected = "", ""
        self.sender: str | None = None
        self.recipients: list[Recipient] = []
        self.done = 0
        self.utf8 = False
        self.attributes: dict[str, str] = {}
        self.notify: frozenset[str] = frozenset()
        self.orcpt = ""

    def take(self, kind: str, value: bytes) -> None:
        """One record. Types that mean nothing for us (warning time, filters, priorities …) are passed over."""
        if self.part == "content":
            self._content(kind, value)
        elif kind == "M":
            if self.part != "envelope":
                raise NotQueueFile("it has two messages")
            self.part = "content"
        elif taken := ENVELOPE.get(kind):
            taken(self, value.decode("utf-8", "surrogateescape"))

    def _content(self, kind: str, value: bytes) -> None:
        if kind == "X":
            self.part = "extracted"
        elif kind not in "LN":
            raise NotQueueFile(f"a record {kind!r} stands in its content")
        else:
            self.lines.append(value if kind == "L" else value + b"\r\n")
            self.unfinished = kind == "L"

    def size(self, text: str) -> None:
        numbers = text.split()
        if len(numbers) > 5:
            self.utf8 = bool(_number(numbers[5], "the size record") & UTF8_REQUESTED)

    def time(self, text: str) -> None:
        self.stamp = self.stamp or text.strip()

    def from_(self, text: str) -> None:
        if self.sender is None:
            self.sender = text

    def recipient(self, text: str) -> None:
        if not text:
            raise NotQueueFile("a recipient is empty")
        if len(self.recipients) >= RECIPIENTS_MOST:
            raise NotQueueFile(f"more than {RECIPIENTS_MOST} recipients")
        self.recipients.append(Recipient(text, self.notify, self.orcpt))
        self.notify, self.orcpt = frozenset(), ""

    def ended(self, _text: str) -> None:
        self.done += 1
        self.notify, self.orcpt = frozenset(), ""

    def redirect(self, text: str) -> None:
        self.redirected = text

    def attribute(self, text: str) -> None:
        name, _, value = text.partition("=")
        if name == "notify_flags":
            flags = _number(value, name)
            self.notify = frozenset(word for flag, word in NOTIFY if flags & flag)
        elif name == "dsn_orig_rcpt":
            kind, _, address = value.partition(";")
            self.orcpt = f"{kind};{xtext(address)}" if ADDRESS_TYPE.fullmatch(kind) and address else ""
        else:
            self.attributes[name] = value

    def finish(self) -> QueueFile:
        """The message, once the last record was taken."""
        if self.sender is None or not self.stamp:
            raise NotQueueFile("it has no sender or no time of arrival")
        if self.part != "extracted":
            raise NotQueueFile("it has no whole message")
        if self.unfinished:
            self.lines.append(b"\r\n")
        given, content = self.attributes, b"".join(self.lines)
        header = content.partition(b"\r\n\r\n")[0]
        names = "".join([self.sender, *(one.address for one in self.recipients)])
        envelope = Envelope(
            mailbox(self.sender), tuple(self._open()),
            body="8BITMIME" if given.get("encoding") == "8bit" else "",
            utf8=self.utf8 and not (header.isascii() and names.isascii()),  # only then must the receiver have it
            ret=RET.get(_number(given.get("ret_flags", "0"), "ret_flags"), ""),
            envid=xtext(given.get("envelope_id", "")),
        )  # fmt: skip
        return QueueFile(
            _seconds(self.stamp), self.stamp, envelope, self.done,
            client=given.get("log_client_address", ""), helo=given.get("log_helo_name", ""),
            user=given.get("sasl_username", ""), redirected=self.redirected, content=content,
        )  # fmt: skip

    def _open(self) -> Iterator[Recipient]:
        for one in self.recipients:
            yield Recipient(mailbox(one.address), one.notify, one.orcpt)


ENVELOPE: dict[str, Callable[[_Reading, str], None]] = {
    "C": _Reading.size, "T": _Reading.time, "S": _Reading.from_, "R": _Reading.recipient, "D": _Reading.ended,
    "/": _Reading.ended, "A": _Reading.attribute, ">": _Reading.redirect,
}  # fmt: skip


def _seconds(stamp: str) -> float:
    """ "1772366400 123456": seconds and microseconds."""
    whole, _, micro = stamp.partition(" ")
    return _number(whole, "the time of arrival") + _number(micro or "0", "the time of arrival") % 1_000_000 / 1e6


def mailbox(text: str) -> str:
    """An address as SMTP writes it: Postfix keeps local parts without their quotes. Raises NotQueueFile."""
    if not text:
        return ""
    local, at, domain = text.rpartition("@")
    if not at:
        raise NotQueueFile(f"{text[:100]!r} has no domain: Postfix has not completed it yet")
    if not DOT_STRING.fullmatch(local):
        escaped = local.replace("\\", "\\\\").replace('"', '\\"')
        local = f'"{escaped}"'
    try:
        return parse_path(f"<{local}@{domain}>", null=False, utf8=True)[0]
    except AddressError as error:
        raise NotQueueFile(f"{text[:100]!r} is no address: {error.reason}") from None


def xtext(text: str) -> str:
    """Text as xtext (RFC 3461 §4); Postfix keeps it decoded."""
    octets = text.encode("utf-8", "surrogateescape")
    return NOT_XTEXT.sub(lambda found: b"+%02X" % found[0][0], octets).decode("ascii")
