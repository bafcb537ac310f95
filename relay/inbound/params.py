"""The arguments of MAIL and RCPT: parameters kept exactly as sent, or refused by name. Pure.

Parameters: SIZE (RFC 1870), BODY (RFC 6152), SMTPUTF8 (RFC 6531), RET, ENVID, NOTIFY, ORCPT (RFC 3461), AUTH
(RFC 4954 §5; checked, then forgotten: its claim is worth nothing here). Values keep their case.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from relay.core.address import AddressError, parse_path
from relay.core.envelope import Recipient
from relay.inbound.refusals import Refused

# xtext, RFC 3461 §4: printable ASCII but + and =, or + and two upper-case hex digits for a printable one
XTEXT = re.compile(r"(?:[!-*,-<>-~]|\+[2-6][0-9A-F]|\+7[0-9A-E])+")
# RFC 6533 §3, without C1 controls and what was no UTF-8
UTF8_XTEXT = re.compile(r"(?:[!-*,-<>-~\u00a0-\ud7ff\ue000-\U0010ffff]|\\x\{[0-9A-F]{2,6}\}|\+[2-7][0-9A-F])+")
ATOM = re.compile(r"[A-Za-z0-9-]+")
KEYWORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]*")  # RFC 5321 §4.1.2, esmtp-keyword
NOT_HELO = re.compile(r"[^A-Za-z0-9._:\[\]-]")
MAX_ENVID = 100  # characters, RFC 3461 §4.4
MAX_ORCPT = 500  # characters, RFC 3461 §4.2
MAX_SIZE_DIGITS = 20  # RFC 1870 §3
NOTIFY = frozenset({"NEVER", "SUCCESS", "FAILURE", "DELAY"})
MAIL_SYNTAX = "MAIL FROM:<address> [parameters]"
RCPT_SYNTAX = "RCPT TO:<address> [parameters]"
NOTHING = frozenset[str]()


class Mail(NamedTuple):
    """MAIL as understood: `size` is what the client announced in bytes, 0 when it did not."""

    sender: str
    size: int = 0
    body: str = ""
    utf8: bool = False
    ret: str = ""
    envid: str = ""


def parse_mail(arg: str) -> Mail:
    """The MAIL command after its verb; raises Refused."""
    if arg[:5].upper() != "FROM:":
        raise Refused("syntax", syntax=MAIL_SYNTAX)
    # whether SMTPUTF8 stands behind the address must be known before the address is read
    utf8 = not arg.isascii() and " SMTPUTF8" in arg.upper()
    sender, rest = _path(arg[5:], null=True, utf8=utf8)
    if not rest:
        return Mail(sender)
    given = _parameters(rest)
    mail = Mail(
        sender=sender,
        size=_size(given),
        body=_choice(given, "BODY", ("7BIT", "8BITMIME")),
        utf8=_flag(given, "SMTPUTF8"),
        ret=_choice(given, "RET", ("FULL", "HDRS")),
        envid=_envid(given),
    )
    auth = given.pop("AUTH", "<>") or ""
    if auth != "<>" and not XTEXT.fullmatch(auth):
        raise Refused("bad-parameter", text="AUTH must be <> or an address in xtext")
    _none_left(given)
    if utf8 and not mail.utf8:
        raise Refused("needs-smtputf8", text="an address beyond ASCII needs SMTPUTF8 on MAIL")
    return mail


def parse_rcpt(arg: str, *, utf8: bool, postmaster: str) -> Recipient:
    """The RCPT command after its verb; raises Refused. `<postmaster>` becomes `postmaster` (an address)
    when that is set, with the original kept in orcpt (RFC 5321 §4.5.1, RFC 3461 §4.2)."""
    if arg[:3].upper() != "TO:":
        raise Refused("syntax", syntax=RCPT_SYNTAX)
    address, rest = _path(arg[3:], null=False, utf8=utf8)
    if not rest and "@" in address:
        return Recipient(address)
    given = _parameters(rest)
    notify, orcpt = _notify(given), _orcpt(given, utf8=utf8)
    _none_left(given)
    if "@" not in address:
        if not postmaster:
            raise Refused("bad-recipient", text="the address needs a domain: postmaster@example.com")
        address, orcpt = postmaster, orcpt or f"rfc822;{address}"
    return Recipient(address, notify, orcpt)


def _path(text: str, *, null: bool, utf8: bool) -> tuple[str, str]:
    try:
        return parse_path(text, null=null, utf8=utf8)
    except AddressError as error:
        reason = "needs-smtputf8" if error.enhanced == "5.6.7" else "bad-sender" if null else "bad-recipient"
        raise Refused(reason, text=error.reason) from None


def _parameters(text: str) -> dict[str, str | None]:
    """Parameters by upper-case keyword; None for one without a value."""
    given: dict[str, str | None] = {}
    for word in text.split(" "):
        if not word:
            continue
        keyword, equals, value = word.partition("=")
        name = keyword.upper()
        if not KEYWORD.fullmatch(keyword) or (equals and not value):
            raise Refused("bad-parameter", text=f"{word[:60]} is not KEYWORD=VALUE")
        if name in given:
            raise Refused("bad-parameter", text=f"{name} is given twice")
        given[name] = value if equals else None
    return given


def _none_left(given: dict[str, str | None]) -> None:
    for name in given:
        raise Refused("unknown-parameter", parameter=name[:60])


def _size(given: dict[str, str | None]) -> int:
    if "SIZE" not in given:
        return 0
    value = given.pop("SIZE") or ""
    if not (value.isascii() and value.isdigit() and len(value) <= MAX_SIZE_DIGITS):
        raise Refused("bad-parameter", text="SIZE must be a number of bytes")
    return int(value)


def _choice(given: dict[str, str | None], name: str, allowed: tuple[str, ...]) -> str:
    if name not in given:
        return ""
    value = (given.pop(name) or "").upper()
    if value not in allowed:
        raise Refused("bad-parameter", text=f"{name} must be one of {', '.join(allowed)}")
    return value


def _flag(given: dict[str, str | None], name: str) -> bool:
    if name not in given:
        return False
    if given.pop(name) is not None:
        raise Refused("bad-parameter", text=f"{name} takes no value")
    return True


def _envid(given: dict[str, str | None]) -> str:
    if "ENVID" not in given:
        return ""
    value = given.pop("ENVID") or ""
    if len(value) > MAX_ENVID or not XTEXT.fullmatch(value):
        raise Refused("bad-parameter", text=f"ENVID must be xtext of at most {MAX_ENVID} characters")
    return value


def _notify(given: dict[str, str | None]) -> frozenset[str]:
    if "NOTIFY" not in given:
        return NOTHING
    words = (given.pop("NOTIFY") or "").upper().split(",")
    chosen = frozenset(words)
    if not chosen <= NOTIFY or len(words) != len(chosen) or ("NEVER" in chosen and len(chosen) > 1):
        raise Refused("bad-parameter", text="NOTIFY must be NEVER, or some of SUCCESS,FAILURE,DELAY")
    return chosen


def _orcpt(given: dict[str, str | None], *, utf8: bool) -> str:
    if "ORCPT" not in given:
        return ""
    value = given.pop("ORCPT") or ""
    kind, _, text = value.partition(";")
    wide = utf8 and kind.lower() == "utf-8"
    pattern = UTF8_XTEXT if wide else XTEXT
    if len(value) > MAX_ORCPT or not ATOM.fullmatch(kind) or not pattern.fullmatch(text):
        raise Refused("bad-parameter", text=f"ORCPT must be type;xtext of at most {MAX_ORCPT} characters")
    return value


def helo_text(arg: str | None) -> str:
    """The client's name for itself, safe for a header: what is not a letter, digit or one of `._:-[]` becomes
    `?`. Single labels, underscores and bare IPs are fine: many have nothing better. Raises Refused."""
    if not arg or not arg.strip():
        raise Refused("syntax", syntax="EHLO name, or HELO name")
    return NOT_HELO.sub("?", arg.strip()[:255])
