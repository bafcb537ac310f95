"""A command line: its end, its length, its verb and what follows. Pure."""

from __future__ import annotations

import re

from relay.inbound.refusals import Refused

MAX_LINE = 12_288  # octets of the longest command there is, AUTH (RFC 4954 §4)
# Octets of a command line with its CRLF: 512 (RFC 5321 §4.5.3.1.4) plus what each extension adds: SIZE 26,
# 8BITMIME 17, SMTPUTF8 10 (and longer paths), AUTH 500, DSN 117 on MAIL and 530 on RCPT; rounded up.
LINE_LIMITS = {"MAIL": 2048, "RCPT": 2048, "AUTH": MAX_LINE}
LINE_LIMIT = 512
CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def parse_command(line: bytes, *, legacy: bool) -> tuple[str, str | None]:
    """Verb in upper case and argument, None when there is none; bytes that are not UTF-8 become surrogates.
    `line` comes with its end, which must be CRLF (RFC 5321 §2.3.8) unless `legacy`. Raises Refused."""
    if line[-2:] == b"\r\n":
        text = line[:-2].decode("utf-8", "surrogateescape")
    elif legacy:
        text = line[:-1].decode("utf-8", "surrogateescape")
    else:
        raise Refused("bare-line-feed")
    if not text.isprintable() and CONTROL.search(text):
        raise Refused("control-character")
    verb, _, arg = text.partition(" ")
    verb = verb.upper()
    if len(line) > LINE_LIMIT and len(line) > (limit := LINE_LIMITS.get(verb, LINE_LIMIT)):
        raise Refused("line-too-long", limit=limit)
    if not verb and not arg.strip():
        raise Refused("empty-line")
    return verb, (arg.strip(" ") or None) if arg else None
