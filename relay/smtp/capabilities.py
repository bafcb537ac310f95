"""What a server says it can do: the answer to EHLO (RFC 5321 §4.1.1.1), read once a session."""

from __future__ import annotations

from dataclasses import dataclass

from relay.core.reply import Reply


@dataclass(frozen=True, slots=True)
class Capabilities:
    """Extensions announced; all off after HELO. `size_limit` is the largest message in bytes, 0 when none
    is known (RFC 1870 §4); `auth` the mechanisms in upper case. CHUNKING is not used and not kept."""

    pipelining: bool = False
    size: bool = False
    size_limit: int = 0
    eight_bit: bool = False
    utf8: bool = False
    starttls: bool = False
    dsn: bool = False
    enhanced: bool = False
    requiretls: bool = False
    auth: frozenset[str] = frozenset()


NONE = Capabilities()


def parse(reply: Reply) -> Capabilities:
    """The capabilities in a 250 to EHLO: keywords in any case, unknown ones ignored. The first line is
    the server's name."""
    words: dict[str, str] = {}
    mechanisms: set[str] = set()
    for line in reply.lines[1:]:
        keyword, _, value = line.strip().upper().partition(" ")
        if keyword == "AUTH" or keyword.startswith("AUTH="):  # AUTH=LOGIN: servers older than RFC 2554
            mechanisms.update(f"{keyword[5:]} {value}".split())
        else:
            words[keyword] = value
    limit = words.get("SIZE", "").strip()
    return Capabilities(
        pipelining="PIPELINING" in words,
        size="SIZE" in words,
        size_limit=int(limit) if limit.isascii() and limit.isdigit() and len(limit) <= 20 else 0,
        eight_bit="8BITMIME" in words,
        utf8="SMTPUTF8" in words,
        starttls="STARTTLS" in words,
        dsn="DSN" in words,
        enhanced="ENHANCEDSTATUSCODES" in words,
        requiretls="REQUIRETLS" in words,
        auth=frozenset(mechanisms),
    )
