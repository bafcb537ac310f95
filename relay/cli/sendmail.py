"""`relay sendmail`: the drop-in for /usr/sbin/sendmail that cron, PHP and mail(1) call.

1. Flags are read as sendmail reads them; those without meaning here are accepted and ignored.
2. The message comes from standard input; a line with a single dot ends it unless -i or -oi.
3. With -t recipients are read from To, Cc and Bcc (the Resent- ones when there are any), and Bcc goes.
4. From is put in when it is missing; Date and Message-ID are the relay's to add.
5. The relay takes it by SMTP, at RELAY_SMTP or its first plain listener; exit codes are sysexits.h's.
"""

from __future__ import annotations

import getopt
import os
import pwd
import socket
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from email.headerregistry import Address
from email.policy import SMTP
from email.utils import getaddresses
from pathlib import Path
from typing import Final

from relay.cli.failure import Failed, Misused
from relay.cli.submit import Refused, Unreachable, sendmail_address, submit
from relay.core.headers import Headers, split_message

# sysexits.h, which callers of sendmail go by
EX_OK, EX_USAGE, EX_DATAERR, EX_NOUSER, EX_UNAVAILABLE = 0, 64, 65, 67, 69
EX_TEMPFAIL, EX_CONFIG = 75, 78

LETTERS: Final = "A:B:C:F:GIL:N:O:R:UV:X:b:e:f:h:imno:p:r:stv"  # sendmail(8), Postfix's sendmail(1)
OPTIONAL_VALUE: Final = ("-q", "-d")  # a value only when attached, which getopt cannot: left out
MODES: Final = {
    "m": "",
    "i": "",  # deliver (the default); newaliases: there are no aliases here
    "p": "the queue is shown by: relay queue list",
    "s": "SMTP on standard input is not spoken; connect to the relay's listener",
    "d": "the relay is started by: relay serve",
    "v": "addresses are not verified; see: relay explain DOMAIN",
}
MAILNAME: Final = Path("/etc/mailname")  # Debian policy §11.6: the domain of this machine's mail


@dataclass(frozen=True, slots=True)
class Flags:
    """What the command line said. `sender` is None when it did not name one, "" for the null sender."""

    sender: str | None = None
    full_name: str = ""
    from_headers: bool = False
    dot_is_text: bool = False
    aliases: bool = False
    recipients: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Caller:
    """Who runs the command: login, full name and the domain of this machine's mail."""

    login: str
    full_name: str
    domain: str


def run_sendmail(arguments: list[str], source: Iterable[bytes]) -> int:
    """Reads a message (lines) and hands it to the relay; returns a sysexits.h code."""
    try:
        flags = parse_flags(arguments)
        if flags.aliases:
            return EX_OK
        data = read_message(source, dot_is_text=flags.dot_is_text)
        sender, recipients, message = compose(flags, data, whoami())
        submit(sendmail_address(), sender, recipients, message)
    except Misused as error:
        return _say(error, EX_USAGE)
    except ValueError as error:
        return _say(error, EX_DATAERR)
    except Failed as error:
        return _say(error, EX_CONFIG)
    except Unreachable as error:
        return _say(error, EX_TEMPFAIL)
    except Refused as error:
        permanent = EX_NOUSER if error.phase == "RCPT" else EX_UNAVAILABLE
        return _say(error, permanent if error.code >= 500 else EX_TEMPFAIL)
    return EX_OK


def parse_flags(arguments: list[str]) -> Flags:
    """The flags and recipients; raises Misused for what sendmail would not do either, or we do not."""
    try:
        words = [word for word in arguments if not word.startswith(OPTIONAL_VALUE)]
        options, recipients = getopt.gnu_getopt(words, LETTERS)
    except getopt.GetoptError as error:
        raise Misused(f"{error}: usage: sendmail [-t] [-i] [-f SENDER] [-F NAME] [RECIPIENT]...") from None
    said = dict(options)  # the last one counts
    for letter, value in options:
        if letter == "-b" and (refusal := MODES.get(value, "no such mode")):
            raise Misused(f"-b{value}: {refusal}")
    return Flags(
        sender=next((value for letter, value in reversed(options) if letter in ("-f", "-r")), None),
        full_name=said.get("-F", ""),
        from_headers="-t" in said,
        dot_is_text="-i" in said or ("-o", "i") in options,
        aliases="-I" in said or ("-b", "i") in options,
        recipients=tuple(recipients),
    )


def read_message(source: Iterable[bytes], *, dot_is_text: bool) -> bytes:
    """The input in network form: every line ends CRLF, whatever it ended with. A line with a single dot
    ends it, unless dots are text."""
    lines = []
    for line in source:
        text = line.rstrip(b"\r\n")
        if text == b"." and not dot_is_text:
            break
        lines.append(text.replace(b"\r", b"\r\n"))
    if lines and lines[0].startswith(b"From "):  # an mbox separator, which old programs put in front
        del lines[0]
    return b"".join([line + b"\r\n" for line in lines])


def compose(flags: Flags, data: bytes, caller: Caller) -> tuple[str, list[str], bytes]:
    """Envelope sender, recipients and the finished message; raises Misused when nobody would get it."""
    block, body = split_message(data)
    headers = Headers.parse(block)
    named = list(flags.recipients)
    if flags.from_headers:
        named += header_recipients(headers)
        headers.remove(["bcc", "resent-bcc"])
    recipients = list(dict.fromkeys(qualified(address, caller.domain) for address in addresses_in(named)))
    if not recipients:
        raise Misused("no recipients: name them, or give -t and a To, Cc or Bcc header")
    given = f"{caller.login}@{caller.domain}" if flags.sender is None else _sender(flags.sender, caller.domain)
    if headers.first("from") is None:
        name = flags.full_name or caller.full_name
        headers.append(from_field(name, given or f"{caller.login}@{caller.domain}"))
    return given, recipients, headers.to_bytes() + b"\r\n" + body


def header_recipients(headers: Headers) -> list[str]:
    """The values of To, Cc and Bcc; of the Resent- fields alone when there are any (RFC 5322 §3.6.6)."""
    names = ("to", "cc", "bcc")
    resent = [value for name in names for value in headers.all(f"resent-{name}")]
    return resent or [value for name in names for value in headers.all(name)]


def addresses_in(values: Iterable[str]) -> list[str]:
    """The bare addresses in header values or arguments, without names and comments; groups are opened."""
    return [address for value in values for _, address in getaddresses([value]) if address]


def qualified(address: str, domain: str) -> str:
    """The address with a domain: cron writes to "root", SMTP needs root@somewhere."""
    return address if "@" in address else f"{address}@{domain}"


def from_field(name: str, address: str) -> bytes:
    """A From field, the name quoted or encoded as it needs (RFC 5322 §3.6.2, RFC 2047)."""
    printable = "".join(char for char in name if char.isprintable())
    field = SMTP.header_factory("From", Address(display_name=printable, addr_spec=address))
    return bytes(field.fold(policy=SMTP).encode())


def whoami() -> Caller:
    """The calling user, from the password file; a process without an entry there is its number."""
    domain = _mail_domain()
    try:
        entry = pwd.getpwuid(os.getuid())
    except KeyError:
        return Caller(f"uid{os.getuid()}", "", domain)
    full_name = entry.pw_gecos.partition(",")[0].replace("&", entry.pw_name.capitalize())
    return Caller(os.environ.get("LOGNAME", "") or entry.pw_name, os.environ.get("NAME", "") or full_name, domain)


def _mail_domain() -> str:
    try:
        name = MAILNAME.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError):
        name = ""
    return name or socket.getfqdn()


def _sender(given: str, domain: str) -> str:
    """The envelope sender of -f; "" and "<>" are the null sender."""
    if given in ("", "<>"):
        return ""
    found = addresses_in([given])
    if len(found) != 1:
        raise Misused(f"-f {given!r}: give one address, or <> for none")
    return qualified(found[0], domain)


def _say(error: Exception, code: int) -> int:
    print(f"sendmail: {error}", file=sys.stderr)
    return code
