"""Proving who we are to a smarthost: AUTH PLAIN and LOGIN (RFC 4954, RFC 4616)."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Login:
    """An account at a smarthost. Without TLS it is used only where `clear_allowed` says so, since both
    mechanisms show the password to whoever listens (RFC 4954 §4)."""

    user: str
    password: str = field(repr=False)
    clear_allowed: bool = False


def login_lines(login: Login, mechanisms: frozenset[str], *, tls: bool) -> list[bytes]:
    """The lines to send in turn, without CRLF: the command, then an answer to each 334. Empty when the
    server offers nothing usable."""
    if not (tls or login.clear_allowed):
        return []
    user, password = login.user.encode(), login.password.encode()
    if "PLAIN" in mechanisms:
        answer = b64encode(b"\0" + user + b"\0" + password)
        # some servers overlook the initial response and ask for it with an empty challenge
        return [b"AUTH PLAIN " + answer, answer]
    if "LOGIN" in mechanisms:
        return [b"AUTH LOGIN", b64encode(user), b64encode(password)]
    return []
