"""Finishing a message: everything that is added, removed or repaired before it is signed.

Steps, in this order:
1. take out what may not leave: Bcc, Return-Path, X-Relay-*, Authentication-Results in our name;
2. the policy's own edits;
3. repair the header fields, or refuse (relay/prepare/repair.py);
4. add what is missing: From (legacy listeners only; refused elsewhere), Date, Message-ID;
5. re-encode body parts with lines over 998 bytes or, where the stream asks, 8-bit (encoding.py);
6. put Received on top.

Nothing that is there is altered but as step 3 and 5 say; the body of an ordinary message is handed on as
the very object that came in.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from relay.core.content import Body, Content
from relay.core.envelope import Envelope, Submission
from relay.core.headers import Field, Headers, decode_words
from relay.prepare.authresults import NAME as AUTHENTICATION_RESULTS
from relay.prepare.authresults import claims_to_be
from relay.prepare.encoding import reencoded
from relay.prepare.repair import ONCE, Refusal, came_signed, refused, repair
from relay.prepare.trace import Dates, received
from relay.prepare.words import CONTROLS, encoded_words, fold, new_field

__all__ = ["NO_EDITS", "Edits", "Preparer", "Refusal"]

# Bcc shows who is not to be shown (RFC 5322 §3.6.3); Return-Path is the last host's to add (RFC 5321 §4.4).
DROPPED = frozenset((b"bcc", b"resent-bcc", b"return-path"))
RELAY_ONLY = b"x-relay-"
BEGINNING = slice(len(RELAY_ONLY))

LOOP_BYTES = 131_072  # re-encoding more takes milliseconds: not on the event loop

EightBit = Literal["keep", "encode"]


@dataclass(frozen=True, slots=True)
class Edits:
    """What a policy changes in the headers: names to take out, then (name, value) pairs to put in.
    A field that may occur once replaces what is there; any other is added below."""

    remove: tuple[str, ...] = ()
    add: tuple[tuple[str, str], ...] = ()


NO_EDITS = Edits()


class Preparer:
    """Finishes messages for one host. `authserv_id` is the name our own Authentication-Results would
    carry; `show_credential` puts the account's name into Received, for all the world to read."""

    def __init__(
        self, hostname: str, *, authserv_id: str = "", postmaster: str = "", show_credential: bool = False
    ) -> None:
        self.hostname = hostname
        self.authserv_id = authserv_id or hostname
        self.postmaster = postmaster or f"postmaster@{hostname}"
        self.show_credential = show_credential
        self._dates = Dates()

    def prepare(
        self,
        submission: Submission,
        headers: Headers,
        *,
        edits: Edits = NO_EDITS,
        legacy: bool = False,
        eight_bit: EightBit = "keep",
    ) -> Content | Refusal:
        """The finished, unsigned message, or why it may not go out. `headers` are the fields of
        `submission.content.header`; they are edited in place and are, afterwards, those of the result."""
        content = submission.content
        utf8 = submission.envelope.utf8
        self._take_out(headers)
        if edits.remove or edits.add:
            edit(headers, edits)
        if trouble := repair(headers, legacy=legacy, eight_bit=content.eight_bit and not utf8):
            return trouble
        date = self._dates.text(submission.received_at)
        if trouble := self._add_missing(submission, headers, date, legacy=legacy):
            return trouble
        body = content.body
        if content.long_lines or (content.eight_bit and eight_bit == "encode"):
            done = reencoded(headers, body, eight_bit=eight_bit == "encode", signed=came_signed(headers))
            if isinstance(done, Refusal):
                return done
            body = done
        trace = received(submission, hostname=self.hostname, date=date, show_credential=self.show_credential)
        headers.fields.insert(0, Field(b"received", trace))
        header = headers.to_bytes()
        return Content(header, body, eight_bit=_eight_bit(content, header, body))

    def takes_long(self, content: Content, eight_bit: EightBit = "keep") -> bool:
        """Whether `prepare` would re-encode a large body: run it in a thread then. Else it takes 15 µs."""
        reencodes = content.long_lines or (content.eight_bit and eight_bit == "encode")
        return reencodes and content.body.size > LOOP_BYTES

    def _take_out(self, headers: Headers) -> None:
        """Step 1. Looks before it builds a new list: most messages have nothing of it."""
        names = [field[0] for field in headers.fields]
        if [name for name in names if name in DROPPED or name[BEGINNING] == RELAY_ONLY]:
            headers.remove_if(lambda field: field.name in DROPPED or field.name.startswith(RELAY_ONLY))
        if AUTHENTICATION_RESULTS in names:
            headers.remove_if(
                lambda field: field.name == AUTHENTICATION_RESULTS and claims_to_be(field, self.authserv_id)
            )

    def _add_missing(
        self, submission: Submission, headers: Headers, date: str, *, legacy: bool
    ) -> Refusal | None:
        """Step 4 (RFC 6409 §8.2, §8.3). From is what DKIM and DMARC stand on: it is made up only for
        clients that cannot be taught."""
        raws = dict(headers.fields)
        if b"@" not in raws.get(b"from", b""):
            author = headers.first("from")
            if not legacy:
                what = "no From header" if author is None else "no address in the From header"
                return refused("no-from", f"{what} (RFC 5322 section 3.6.2); say who the message is from")
            headers.remove(["from"])
            headers.append(self._from_envelope(submission.envelope, author or ""))
        if b"date" not in raws:
            headers.fields.append(Field(b"date", f"Date: {date}\r\n".encode()))
        if b"message-id" not in raws:
            raw = f"Message-ID: <{submission.id}@{self.hostname}>\r\n".encode()
            headers.fields.append(Field(b"message-id", raw))
        return None

    def _from_envelope(self, envelope: Envelope, name: str) -> bytes:
        """A From field for a client that gave none, or only a name such as `root`."""
        address = envelope.sender or self.postmaster
        quoted = CONTROLS.sub(" ", decode_words(name) or ("" if envelope.sender else "MAILER-DAEMON")).strip()
        quoted = re.sub(r'(["\\])', r"\\\1", quoted)
        phrase = f'"{quoted}" ' if quoted.isascii() else f"{encoded_words(quoted)} "
        return fold(f"From: {phrase if quoted else ''}<{address}>\r\n".encode("utf-8", "replace"))


def _eight_bit(before: Content, header: bytes, body: Body) -> bool:
    """Whether a byte above 127 is left. Bodies are read again only when the answer may have changed."""
    if not before.eight_bit or not header.isascii():
        return not header.isascii()
    if body is before.body and before.header.isascii():
        return True
    return not all(map(bytes.isascii, body.chunks()))


def edit(headers: Headers, edits: Edits) -> None:
    """Step 2; raises ValueError for a name that is none."""
    headers.remove(edits.remove)
    for name, value in edits.add:
        raw = new_field(name, value)
        if name.lower().encode() in ONCE:
            headers.remove([name])
        headers.append(raw)
