"""AUTH PLAIN and LOGIN (RFC 4954, RFC 4616), as old clients speak them.

Mechanism names in any case, the response in the command or after a prompt, LOGIN's user name in the command
(.NET, smtplib) or after `Username:`; the prompts are compared letter by letter by Go add-ons and printers.
"""

from __future__ import annotations

import base64
import binascii
from typing import Protocol

from relay.inbound.command import MAX_LINE
from relay.inbound.refusals import Refused

USERNAME_PROMPT = b"334 VXNlcm5hbWU6\r\n"  # Username:
PASSWORD_PROMPT = b"334 UGFzc3dvcmQ6\r\n"  # Password:
EMPTY_PROMPT = b"334 \r\n"  # RFC 4954 §4: the space belongs to it
MECHANISMS = ("PLAIN", "LOGIN")


class Line(Protocol):
    """What AUTH needs of a connection."""

    def say(self, data: bytes) -> None: ...

    async def read_line(self) -> bytes: ...


async def ask_password(line: Line, arg: str | None) -> tuple[str, str]:
    """Leads the exchange for `AUTH arg` and returns account and password as the client gave them; bytes that
    are not UTF-8 come as surrogates. Raises Refused."""
    words = (arg or "").split()
    if not words:
        raise Refused("syntax", syntax="AUTH PLAIN or AUTH LOGIN")
    mechanism, initial = words[0].upper(), words[1:]
    if mechanism not in MECHANISMS:
        raise Refused("auth-mechanism")
    if len(initial) > 1:
        raise Refused("syntax", syntax=f"AUTH {mechanism} [initial-response]")
    if mechanism == "PLAIN":
        answer = _decode(initial[0]) if initial else await _ask(line, EMPTY_PROMPT)
        return _split_plain(answer)
    name = _decode(initial[0]) if initial else await _ask(line, USERNAME_PROMPT)
    password = await _ask(line, PASSWORD_PROMPT)
    return _text(name), _text(password)


async def _ask(line: Line, prompt: bytes) -> bytes:
    line.say(prompt)
    try:
        answer = await line.read_line()
    except Refused as refused:
        raise Refused("auth-too-long" if refused.reason == "line-too-long" else refused.reason) from None
    if len(answer) > MAX_LINE:
        raise Refused("auth-too-long")
    answer = answer.rstrip(b"\r\n")
    if answer == b"*":
        raise Refused("auth-cancelled")
    return _decode(answer.decode("ascii", "replace"))


def _decode(text: str) -> bytes:
    """Base64, where "=" stands for an empty response (RFC 4954 §4)."""
    if text == "=":
        return b""
    try:
        return base64.b64decode(text.strip(), validate=True)
    except (binascii.Error, ValueError):
        raise Refused("auth-encoding") from None


def _split_plain(answer: bytes) -> tuple[str, str]:
    """authzid NUL authcid NUL password; an authzid may only repeat the account (RFC 4616 §2)."""
    parts = answer.split(b"\0")
    if len(parts) != 3 or not parts[1]:
        raise Refused("auth-encoding")
    if parts[0] not in (b"", parts[1]):
        raise Refused("auth-failed")
    return _text(parts[1]), _text(parts[2])


def _text(value: bytes) -> str:
    return value.decode("utf-8", "surrogateescape")
