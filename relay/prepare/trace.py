"""The trace field our relay puts on top (RFC 5321 §4.4), and the date in it."""

from __future__ import annotations

import ipaddress
import re
import time
from functools import lru_cache

from relay.core.envelope import Submission
from relay.prepare.words import fold

DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
MAX_HELO_CHARS = 100
NOT_DOMAIN = re.compile(r"[^A-Za-z0-9._:\[\]-]")  # underscores are no domain either, but old Windows hosts
NOT_COMMENT = re.compile(r"[^A-Za-z0-9 @._+=/:-]")
NOT_PATH = re.compile(r"[\x00-\x20\x7f<>]")


class Dates:
    """RFC 5322 §3.3 date-times in UTC; the last second's text is kept, as messages come many a second.
    Kept as one pair: large messages are prepared in a thread, at the same time as others."""

    __slots__ = ("_last",)

    def __init__(self) -> None:
        self._last = (-1, "")

    def text(self, time_s: float) -> str:
        """ "Mon, 02 Nov 2026 09:30:00 +0000" for a Unix time in seconds."""
        second = int(time_s)
        kept, text = self._last
        if second != kept:
            t = time.gmtime(second)
            text = (
                f"{DAYS[t.tm_wday]}, {t.tm_mday:02} {MONTHS[t.tm_mon - 1]} {t.tm_year} "
                f"{t.tm_hour:02}:{t.tm_min:02}:{t.tm_sec:02} +0000"
            )
            self._last = (second, text)
        return text


def received(submission: Submission, *, hostname: str, date: str, show_credential: bool) -> bytes:
    """The Received field: complete, folded, with nothing in it that could end a line or a comment.

    from HELO ([client]) with TLS and, if asked for, the account as comments; by hostname with PROTOCOL
    (RFC 3848) id; for only when there is one recipient, as it would show a blind copy to others.
    """
    client = submission.client
    credential = client.credential if show_credential else ""
    raw = (
        f"Received: from {_came_from(client.helo, client.address, client.tls, credential)}\r\n"
        f"\tby {hostname} with {_word(client.protocol)} id {submission.id}"
        f"{_for_clause(submission)};\r\n\t{date}\r\n"
    ).encode()
    return raw if len(raw) < 300 else fold(raw)  # only a long name can make a line too long


@lru_cache(maxsize=512)  # a client brings many messages
def _came_from(helo: str, address: str, tls: str, credential: str) -> str:
    """The client's name and address, and the comments on it."""
    comments = f"\r\n\t(using {_word(tls)})" if tls else ""
    if credential:
        comments += f"\r\n\t(Authenticated sender: {NOT_COMMENT.sub('?', credential)})"
    return f"{helo_name(helo)} ({address_literal(address)}){comments}"


@lru_cache(maxsize=64)
def _word(text: str) -> str:
    """A protocol's name without what may not stand there."""
    return NOT_COMMENT.sub("", text)


def helo_name(helo: str) -> str:
    """The client's own claim as a domain or literal; what cannot be one becomes question marks."""
    return NOT_DOMAIN.sub("?", helo[:MAX_HELO_CHARS]) or "unknown"


def address_literal(address: str) -> str:
    """An IP address as RFC 5321 §4.1.3 writes it: [192.0.2.1] or [IPv6:2001:db8::1]."""
    if ":" not in address:
        return f"[{NOT_DOMAIN.sub('', address)}]"
    try:
        ip = ipaddress.IPv6Address(address.partition("%")[0])
    except ValueError:
        return "[unknown]"
    return f"[{ip.ipv4_mapped}]" if ip.ipv4_mapped else f"[IPv6:{ip}]"


def _for_clause(submission: Submission) -> str:
    """The only recipient, if one line can hold it and the message may carry its characters."""
    recipients = submission.envelope.recipients
    if len(recipients) != 1:
        return ""
    address = recipients[0].address
    if NOT_PATH.search(address) or not (address.isascii() or submission.envelope.utf8):
        return ""
    return f"\r\n\tfor <{address}>"
