"""The reverse-path a message leaves with: signed, so that a report can be told from a forgery."""

from __future__ import annotations

from relay.core.tokens import encode


def return_path(message: str, sender: str, wanted: str, key: bytes) -> str:
    """`wanted` is the stream's `return_path`: an address is taken as it is, a domain gets a signed local part, ""
    leaves the sender. A null sender stays null (RFC 5321 §4.5.5)."""
    if not sender or not wanted:
        return sender
    return wanted if "@" in wanted else f"{encode(message, 0, key)}@{wanted}"
