"""Reports to the sender: RFC 3464 delivery status notifications, as bytes, from values alone.

A report has three parts (RFC 6522): words for people, fields for programs, and the original's header or
all of it. Everything that came from outside (a remote server's words, ENVID, ORCPT) is stripped of control
characters before it is written, so nothing can add a field, a part or a header. The result is 7-bit, but
for reports about addresses that are not ASCII, which use the types of RFC 6533 (`Report.utf8`).
The sender of a report is the null reverse-path (RFC 3464 §2), which is the caller's business.
"""

from __future__ import annotations

import re
import textwrap
from binascii import b2a_qp
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import Enum

FULL_BYTES = 100_000  # the largest original returned whole; RET=FULL is a wish (RFC 3461 §4.3)
HEADER_BYTES = 65_536  # of the original's header returned
LINE_CHARS = 76
FIELD_BYTES = 900  # of one field's only line; RFC 5322 §2.1.1 ends at 998
_XTEXT = re.compile(r"\+([0-9A-F]{2})")
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


class Action(Enum):
    """What is reported (RFC 3464 §2.3.3). RELAYED: the next server does not report successes."""

    FAILED = "failed"
    DELAYED = "delayed"
    RELAYED = "relayed"
    DELIVERED = "delivered"


@dataclass(frozen=True, slots=True)
class Reported:
    """One recipient. `orcpt` as the client sent it (RFC 3461 §4.2), "" when not given; `final` the address
    used; `status` as "5.1.1"; `diagnostic` the remote server's reply, "" when it said nothing; `text` one
    line for people; times are Unix seconds (UTC), 0 when they do not apply."""

    final: str
    status: str
    orcpt: str = ""
    diagnostic: str = ""
    text: str = ""
    remote_mta: str = ""
    last_attempt_at: float = 0.0
    retry_until: float = 0.0


@dataclass(frozen=True, slots=True)
class Report:
    """One report to `to`. `envid` as the client sent it (RFC 3461 §4.4); `header` the original's header
    block; `whole` the original in full where RET=FULL asked for it, else b"". `boundary` and `message_id`
    (with its angle brackets) are random strings of the caller. Times are Unix seconds (UTC)."""

    action: Action
    reporting_mta: str
    to: str
    recipients: tuple[Reported, ...]
    arrived_at: float
    now: float
    message_id: str
    boundary: str
    envid: str = ""
    header: bytes = field(default=b"", repr=False)
    whole: bytes = field(default=b"", repr=False)

    @property
    def utf8(self) -> bool:
        """Whether the report needs RFC 6533's types and is not 7-bit."""
        return not (self.to.isascii() and all(one.final.isascii() for one in self.recipients))


def build(report: Report) -> tuple[bytes, bytes]:
    """Header block and body of the report in CRLF form, each line complete."""
    header = _lines([
        f"From: Mail Delivery System <MAILER-DAEMON@{_clean(report.reporting_mta)}>",
        f"To: <{_clean(report.to)}>",
        f"Subject: {_SUBJECTS[report.action]}",
        f"Date: {date(report.now)}",
        f"Message-ID: {_clean(report.message_id)}",
        "Auto-Submitted: auto-replied",  # RFC 3834 §5, RFC 3464 §2
        "MIME-Version: 1.0",
        "Content-Type: multipart/report; report-type=delivery-status;",
        f'\tboundary="{report.boundary}"',
        f"Content-Transfer-Encoding: {'8bit' if report.utf8 else '7bit'}",
    ])
    border = f"--{report.boundary}\r\n".encode()
    body = b"".join((border, _for_people(report), b"\r\n", border, _for_programs(report), b"\r\n",
                     border, _original(report), b"\r\n", f"--{report.boundary}--\r\n".encode()))
    return header, body


def date(at: float) -> str:
    """RFC 5322 §3.3 date-time of a Unix time in UTC."""
    when = datetime.fromtimestamp(int(at), UTC)
    return (f"{_DAYS[when.weekday()]}, {when.day:02} {_MONTHS[when.month - 1]} {when.year:04} "
            f"{when.hour:02}:{when.minute:02}:{when.second:02} +0000")


def decode_xtext(text: str) -> str:
    """RFC 3461 §4: "+3D" is "="; control characters, which it can smuggle, become "?"."""
    return _clean(_XTEXT.sub(lambda found: chr(int(found[1], 16)), text))


# --- for people ----------------------------------------------------------------------------------

_SUBJECTS = {
    Action.FAILED: "Your message could not be delivered",
    Action.DELAYED: "Your message is delayed",
    Action.RELAYED: "Your message was passed on",
    Action.DELIVERED: "Your message was delivered",
}
_OPENINGS = {
    Action.FAILED: "Your message could not be delivered to the recipients below. Nothing more will be tried "
                   "for them.",
    Action.DELAYED: "Your message has not been delivered yet to the recipients below. You need not do "
                    "anything: delivery is tried again by itself.",
    Action.RELAYED: "Your message was handed to the recipients' mail server, which does not report "
                    "deliveries. You will hear no more of it unless that server sends a message itself.",
    Action.DELIVERED: "Your message was delivered to the recipients below.",
}
# subject.detail of the status, most exact first, then the subject alone (RFC 3463 §3)
_ADVICE = {
    "1.2": "Check the part of the address after the @: there is no such mail domain.",
    "1.10": "That domain receives no mail at all; ask the recipient for another address.",
    "1": "Check the address for typing mistakes; if it is right, ask the recipient another way.",
    "2.2": "The mailbox is full. Ask the recipient to make room, then send the message again.",
    "2": "The mailbox cannot take mail. Ask the recipient another way for a working address.",
    "3.4": "Send a smaller message, or share large files another way.",
    "4": "The recipient's mail server could not be reached. Try again later, or tell the recipient.",
    "5": "The two mail servers did not understand each other; forward this report to your mail "
         "administrator.",
    "6": "The recipient's server cannot take this form of message; forward this report to your mail "
         "administrator.",
    "7": "The recipient's server refuses the message by its rules; forward this report to your mail "
         "administrator.",
}
_OTHER_ADVICE = "If it matters, try again later or forward this report to your mail administrator."


def _for_people(report: Report) -> bytes:
    paragraphs = [f"This is the mail relay at {_clean(report.reporting_mta)}.", _OPENINGS[report.action]]
    lines = [*_wrapped(paragraphs[0]), "", *_wrapped(paragraphs[1]), ""]
    for one in report.recipients:
        lines += [_cut(f"<{_clean(one.final)}>"), *_said(one, report)]
    lines += ["The rest of this report is for mail programs and administrators."]
    charset = "utf-8" if report.utf8 else "us-ascii"
    encoding = "8bit" if report.utf8 else "7bit"
    return _lines(["Content-Description: Notification", f"Content-Type: text/plain; charset={charset}",
                   f"Content-Transfer-Encoding: {encoding}", "", *(_ascii(line, report) for line in lines)])


def _said(one: Reported, report: Report) -> list[str]:
    """What is known of one recipient, indented."""
    words = []
    if one.diagnostic:
        host = f"The server {_clean(one.remote_mta)} said" if one.remote_mta else "The server said"
        words.append(f"{host}: {_clean(one.diagnostic)}")
    elif one.text:
        words.append(f"Reason: {_clean(one.text).rstrip('.')}.")
    if report.action is Action.FAILED:
        detail = one.status[2:]
        words.append(_ADVICE.get(detail) or _ADVICE.get(detail.partition(".")[0], _OTHER_ADVICE))
    if one.retry_until:
        words.append(f"Delivery is tried until {date(one.retry_until)}.")
    return [*(line for word in words for line in _wrapped(word, "    ")), ""]


def _wrapped(text: str, indent: str = "") -> list[str]:
    return textwrap.wrap(text, LINE_CHARS, initial_indent=indent, subsequent_indent=indent)


# --- for programs --------------------------------------------------------------------------------


def _for_programs(report: Report) -> bytes:
    """RFC 3464 §2.2 and §2.3: one group of fields for the message, one for each recipient."""
    kind = "global-delivery-status" if report.utf8 else "delivery-status"  # RFC 6533 §3
    fields = [f"Reporting-MTA: dns; {_clean(report.reporting_mta)}"]
    if report.envid:
        fields.insert(0, f"Original-Envelope-Id: {decode_xtext(report.envid)}")
    fields.append(f"Arrival-Date: {date(report.arrived_at)}")
    for one in report.recipients:
        fields += ["", *_recipient_fields(one, report)]
    folded = [line for text in fields for line in _folded(_ascii(text, report))]
    encoding = ["Content-Transfer-Encoding: 8bit"] if report.utf8 else []
    return _lines(["Content-Description: Delivery report", f"Content-Type: message/{kind}", *encoding, "",
                   *folded])


def _recipient_fields(one: Reported, report: Report) -> list[str]:
    fields = []
    if one.orcpt:  # RFC 3461 §6.3 (c): present when ORCPT was, with its value
        kind, _, address = one.orcpt.partition(";")
        fields.append(f"Original-Recipient: {_clean(kind)}; {_original_address(kind, address)}")
    kind = "rfc822" if one.final.isascii() else "utf-8"
    fields += [f"Final-Recipient: {kind}; {_clean(one.final)}", f"Action: {report.action.value}",
               f"Status: {_clean(one.status)}"]
    if one.remote_mta:
        fields.append(f"Remote-MTA: dns; {_clean(one.remote_mta)}")
    if one.diagnostic:
        fields.append(f"Diagnostic-Code: smtp; {_clean(one.diagnostic)}")
    if one.last_attempt_at:
        fields.append(f"Last-Attempt-Date: {date(one.last_attempt_at)}")
    if one.retry_until and report.action is Action.DELAYED:  # RFC 3464 §2.3.9: delayed only
        fields.append(f"Will-Retry-Until: {date(one.retry_until)}")
    return fields


def _original_address(kind: str, address: str) -> str:
    if kind.lower() == "utf-8":  # RFC 6533 §3: \x{20AC}, which an ASCII report keeps as it is
        return _clean(address)
    return decode_xtext(address)


def _folded(line: str) -> list[str]:
    """RFC 5322 §2.2.3. Only the server's words are folded: folding could put a space into an address or
    an ENVID, which must come back exact; those are short enough, or cut (RFC 5322 §2.1.1)."""
    if not line.startswith("Diagnostic-Code:"):
        return [_cut(line)]
    return textwrap.wrap(line, LINE_CHARS, subsequent_indent=" ", break_on_hyphens=False)


# --- the original --------------------------------------------------------------------------------


def _original(report: Report) -> bytes:
    """message/rfc822 where the whole was asked for, is small and 7-bit (it may not be encoded, RFC 2046
    §5.2.1); else the header alone."""
    if report.whole and len(report.whole) <= FULL_BYTES and report.whole.isascii():
        return _lines(["Content-Description: Undelivered message", "Content-Type: message/rfc822", ""]) \
            + report.whole
    header = report.header
    if len(header) > HEADER_BYTES:
        header = header[:header.rfind(b"\r\n", 0, HEADER_BYTES) + 2]
    fields = ["Content-Description: Header of the message", "Content-Type: text/rfc822-headers"]
    if not header.isascii():  # RFC 6522 §4: then, and only then, it may be encoded
        fields.append("Content-Transfer-Encoding: quoted-printable")
        header = b2a_qp(header, istext=True)
    return _lines([*fields, ""]) + header


# --- bytes ---------------------------------------------------------------------------------------


def _lines(lines: list[str]) -> bytes:
    return ("\r\n".join(lines) + "\r\n").encode()


def _clean(text: str) -> str:
    """One line without control characters, whatever came in."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else " " if char.isspace() else "?" for char in text)


def _cut(line: str) -> str:
    return line.encode()[:FIELD_BYTES].decode("utf-8", "ignore")


def _ascii(text: str, report: Report) -> str:
    return text if report.utf8 or text.isascii() else text.encode("ascii", "replace").decode()
