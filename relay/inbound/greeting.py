"""What the relay says of itself: the greeting and the replies to HELO and EHLO. Each is made once for every form that
it takes, not for every client."""

from __future__ import annotations

from functools import lru_cache

FORMS = 64  # listeners times what STARTTLS and AUTH make of their replies


@lru_cache(maxsize=FORMS)
def greeting(hostname: str) -> bytes:
    """The first line of a session (RFC 5321 §4.3.1)."""
    return f"220 {hostname} ESMTP\r\n".encode()


@lru_cache(maxsize=FORMS)
def helo_reply(hostname: str) -> bytes:
    """RFC 5321 §4.1.1.1, without extensions."""
    return f"250 {hostname}\r\n".encode()


@lru_cache(maxsize=FORMS)
def ehlo_reply(hostname: str, max_bytes: int, *, starttls: bool, auth: bool, legacy: bool) -> bytes:
    """RFC 5321 §4.1.1.1: only what is done is announced. `starttls`, `auth`: whether it is offered now."""
    words = [hostname, "PIPELINING", f"SIZE {max_bytes}", "8BITMIME", "SMTPUTF8", "DSN"]
    if starttls:
        words.append("STARTTLS")
    if auth:
        words.append("AUTH PLAIN LOGIN")
        if legacy:
            words.append("AUTH=PLAIN LOGIN")  # a draft of RFC 2554; old Outlook Express
    lines = [f"250-{word}\r\n" for word in words]
    return "".join([*lines, "250 ENHANCEDSTATUSCODES\r\n"]).encode()
