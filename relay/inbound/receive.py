"""One message from the first chunk after 354 to a Content: in memory while small, in the spool when not.

Whatever is wrong with a message is said after its end (RFC 5321 §3.3: the reply to DATA's data is one), so a
message in trouble is still read, and thrown away as it comes.
"""

from __future__ import annotations

import logging
import re
from pathlib import Path

from relay.core.content import Content, MemoryBody
from relay.core.headers import split_message
from relay.inbound.data import DataReader
from relay.inbound.reception import Budget
from relay.inbound.refusals import Refused
from relay.inbound.settings import ListenerSettings
from relay.queue.spool import FileBody, Spool, SpoolWriter

MAX_HOPS = 100  # RFC 5321 §6.3: at least 100 Received fields before a loop is assumed
RETRY_BYTES = 32_768  # how much more of a long header must come before its end is looked for again
TIGHT_BYTES = 65_536  # what a message may have in memory while that is short
RECEIVED = re.compile(rb"^received[ \t]*:", re.IGNORECASE | re.MULTILINE)

FIELD_START = re.compile(rb"[!-9;-~]+[ \t]*:")  # RFC 5322 §2.2; white space there is obsolete, §4.5

log = logging.getLogger(__name__)


class Receiver:
    """Takes one message: `feed` until it gives the rest, `finish` once, `release` always."""

    __slots__ = ("_budget", "_front", "_header", "_kept", "_path", "_settings", "_spool", "_taken",
                 "_trouble", "_try_at", "_writer", "reader")  # fmt: skip

    def __init__(self, settings: ListenerSettings, budget: Budget, spool: Spool | None, kept: float = 0.0) -> None:
        self.reader = DataReader(repair=settings.legacy)
        self._settings = settings
        self._budget, self._kept = budget, kept
        self._spool = spool
        self._taken = 0
        self._front = b""  # a beginning so long that it will be spooled, while its header has no end yet
        self._try_at = settings.spill_bytes
        self._header: bytes | None = None
        self._writer: SpoolWriter | None = None
        self._path = ""
        self._trouble: Refused | None = None

    def feed(self, chunk: bytes) -> bytes | None:
        """Takes the next bytes; None while the message goes on, else what came after its end."""
        rest = self.reader.feed(chunk)
        if self._trouble is None:
            try:
                self._keep(len(chunk))
            except Refused as refused:
                self._fail(refused)
            except OSError as error:
                log.error("cannot write to the spool: %s", error)
                self._fail(Refused("no-space"))
        if self._trouble is not None:
            self.reader.pieces.clear()
        return rest

    def _keep(self, amount: int) -> None:
        size = self.reader.size
        if size > self._settings.max_message_bytes:
            raise Refused("too-big", limit=self._settings.max_message_bytes)
        if self._writer is not None:
            self._writer.write(self.reader.take())
            return
        if not self._budget.take(amount, self._kept):
            raise Refused("out-of-memory")
        self._taken += amount
        if self._spool is not None and (size > self._try_at or (size > TIGHT_BYTES and self._short())):
            self._spill(self._spool)

    def _short(self) -> bool:
        """Whether memory is short and this message, of some size, shall leave it."""
        return not self._front and self._budget.tight

    def _spill(self, spool: Spool) -> None:
        """Moves the body to a file once the header is known to be complete."""
        data = self._front + self.reader.take()
        header, body = split_message(data)
        ended = b"\r\n\r\n" in data or data.startswith(b"\r\n")
        whole = ended or b"\n" in body  # else the header may go on
        if not whole:
            unsure = header or FIELD_START.match(data)
            if unsure and len(data) > self._settings.max_header_bytes:
                raise Refused("header-too-big", limit=self._settings.max_header_bytes)
            if unsure or len(data) <= self._settings.max_header_bytes:
                self._front = data
                self._try_at = len(data) + RETRY_BYTES
                return
        self._front = b""
        self._header = header
        self._check_header(header)
        self._writer = spool.writer()
        self._path = self._writer.path
        self._writer.write(body)
        self._budget.give(self._taken - len(header))
        self._taken = len(header)

    def _check_header(self, header: bytes) -> None:
        if len(header) > self._settings.max_header_bytes:
            raise Refused("header-too-big", limit=self._settings.max_header_bytes)
        hops = len(RECEIVED.findall(header))
        if hops >= MAX_HOPS:
            raise Refused("loop", hops=hops)

    def _fail(self, refused: Refused) -> None:
        self._trouble = refused
        self._front = b""
        self.discard()
        self.release()

    def finish(self) -> Content:
        """The content, header and body apart; raises Refused with what was wrong with the message."""
        reader = self.reader
        if self._trouble is not None:
            raise self._trouble
        if (reader.bare or reader.nul) and not self._settings.legacy:
            raise Refused("bare-line-end")
        body: MemoryBody | FileBody
        if self._writer is not None:
            header, body = self._header or b"", self._close(self._writer)
            self._writer = None
        else:
            data = reader.take()
            header, rest = split_message(self._front + data if self._front else data)
            self._check_header(header)
            body = MemoryBody(rest)
        return Content(header, body, reader.eight_bit, reader.long_lines)

    def _close(self, writer: SpoolWriter) -> FileBody:
        try:
            return writer.finish()
        except OSError as error:  # some file systems tell of a full disk only now
            log.error("cannot close a file of the spool: %s", error)
            raise Refused("no-space") from error

    def discard(self) -> None:
        """Removes the spool file: the message was refused, or its client is gone."""
        if self._writer is not None:
            self._writer.abandon()
            self._writer = None
        elif self._path:
            Path(self._path).unlink(missing_ok=True)  # gone when the commit has moved it

    def release(self) -> None:
        """Gives the memory back to the budget; may be called twice."""
        self._budget.give(self._taken)
        self._taken = 0
