"""An SMTP server as RFC 5321 has it, small enough to be checked by reading: bytes in, first digits out.

No I/O and no code of the relay. `Server.take(data)` is told what a client sends and gives the first digit of every
reply that must come, in order; `accepted` is the mail that must be there afterwards. Addresses and parameters are
not parsed: SENDERS and RECIPIENTS list what is well formed and what it means, everything else is malformed.
Several states matter and are all there is: greeted or not (§4.1.4), a transaction begun or not (§3.3), its
recipients, inside DATA, inside an AUTH exchange (RFC 4954 §4), TLS (RFC 3207), who is logged in, the end.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass, field

SIZE_LIMIT = 20_000
RECIPIENTS_MOST = 3
PASSWORDS = {b"shop": b"open sesame", b"printer": b"ink"}
MAY_SEND_AS = {b"shop": "@shop.example.com"}
POSTMASTER = "postmaster@example.com"

# argument of MAIL: (address, announced size, RET, ENVID)
SENDERS: dict[bytes, tuple[str, int, str, str]] = {
    b"FROM:<>": ("", 0, "", ""),
    b"FROM:<a@example.com>": ("a@example.com", 0, "", ""),
    b"from:<A.b+c@Example.com>": ("A.b+c@Example.com", 0, "", ""),
    b"FROM:<bob@shop.example.com> BODY=8BITMIME SIZE=100": ("bob@shop.example.com", 100, "", ""),
    b"FROM:<a@example.com> RET=HDRS ENVID=QQ314159": ("a@example.com", 0, "HDRS", "QQ314159"),
    b'FROM:<"a b"@example.com>': ('"a b"@example.com', 0, "", ""),
    b"FROM:<@hop.example:a@example.com>": ("a@example.com", 0, "", ""),  # appendix F.2: the route is dropped
    b"FROM:<a@example.com> SIZE=99999999": ("a@example.com", 99_999_999, "", ""),
    "FROM:<jürgen@example.com> SMTPUTF8".encode(): ("jürgen@example.com", 0, "", ""),
}
# argument of RCPT: (address, NOTIFY, ORCPT)
RECIPIENTS: dict[bytes, tuple[str, frozenset[str], str]] = {
    b"TO:<b@example.net>": ("b@example.net", frozenset(), ""),
    b"TO:<b@EXAMPLE.net>": ("b@EXAMPLE.net", frozenset(), ""),  # the same mailbox
    b"to:<B@example.net>": ("B@example.net", frozenset(), ""),  # another: the local part keeps its case (§2.4)
    b"TO:<c@example.net> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;c@example.org": (
        "c@example.net", frozenset({"SUCCESS", "FAILURE"}), "rfc822;c@example.org"),
    b"TO:<@hop.example,@other.example:d@example.net>": ("d@example.net", frozenset(), ""),
    b"TO:<Postmaster>": (POSTMASTER, frozenset(), "rfc822;Postmaster"),  # §4.5.1
    b"TO:<e%f@example.net>": ("e%f@example.net", frozenset(), ""),  # a route for a stranger, a name for a friend
}  # fmt: skip
WITHOUT_ARGUMENT = {b"RSET": 2, b"NOOP": 2, b"HELP": 2, b"VRFY": 5}
NEEDS_NOTHING = {b"RSET": 2, b"NOOP": 2, b"HELP": 2, b"VRFY": 2}
HEADER_LINE = re.compile(rb"[!-9;-~]+[ \t]*:[^\r\n]*\r\n([ \t][^\r\n]*\r\n)*")


@dataclass(frozen=True)
class House:
    """How the listener is set up."""

    legacy: bool = False  # repairs bare line ends instead of refusing them
    tls: bool = False  # STARTTLS is offered
    auth: str = "none"  # none, optional, required
    clear_auth: bool = False  # AUTH without TLS
    friendly: bool = True  # the client's network may relay


@dataclass(frozen=True)
class Mail:
    """A message that must have been accepted, exactly."""

    sender: str
    ret: str
    envid: str
    recipients: tuple[tuple[str, frozenset[str], str], ...]
    protocol: str
    account: str
    header: bytes
    body: bytes


@dataclass
class Server:
    """One connection's server."""

    house: House
    greeted: bytes = b""
    tls: bool = False
    account: bytes = b""
    failures: int = 0
    mail: tuple[str, int, str, str] | None = None
    recipients: dict[str, tuple[str, frozenset[str], str]] = field(default_factory=dict)
    data: bytes | None = None  # inside DATA: what has come of it
    asking: list[bytes] | None = None  # inside AUTH: mechanism and what was answered so far
    skipping: int = 0  # octets of a BDAT chunk still to come
    closed: bool = False
    handshake: bool = False  # 220 was said to STARTTLS: what follows is TLS
    accepted: list[Mail] = field(default_factory=list)
    rest: bytes = b""
    unread: int = 0  # octets that came behind the command that ended the session, or began TLS

    def take(self, data: bytes) -> list[int]:
        """The first digits of the replies to these bytes, in order."""
        self.rest += data
        replies: list[int] = []
        while self.rest and not self.closed and not self.handshake:
            before = self.rest
            replies += self._some()
            if self.rest == before:
                break  # a line that is not complete
        if self.closed or self.handshake:  # RFC 3207 §4.2: what was sent in clear after STARTTLS is forgotten
            self.unread, self.rest = len(self.rest), b""
        return replies

    def _some(self) -> list[int]:
        if self.data is not None:
            return self._message()
        if self.skipping:
            number = min(self.skipping, len(self.rest))
            self.rest, self.skipping = self.rest[number:], self.skipping - number
            return [] if self.skipping else [5]
        if b"\n" not in self.rest:
            return []
        line, _, self.rest = self.rest.partition(b"\n")
        if self.asking is not None:
            return self._login(self.asking, line.rstrip(b"\r"))
        if not line.endswith(b"\r") and not self.house.legacy:
            return [5]  # §2.3.8: CRLF and nothing else ends a line
        return self._command(line.removesuffix(b"\r"))

    def _command(self, line: bytes) -> list[int]:
        verb, _, argument = line.partition(b" ")
        verb, argument = verb.upper(), argument.strip(b" ")
        if re.search(rb"[\x00-\x1f\x7f]", line) or (len(line) > 510 and verb not in (b"MAIL", b"RCPT", b"AUTH")):
            return [5]
        if verb in NEEDS_NOTHING:
            if verb == b"RSET":
                self._forget()
            return [(NEEDS_NOTHING if argument else WITHOUT_ARGUMENT)[verb]]
        match verb:
            case b"EHLO" | b"HELO":
                return self._hello(verb, argument)
            case b"MAIL":
                return [self._mail(argument)]
            case b"RCPT":
                return [self._recipient(argument)]
            case b"DATA":
                return [self._go_ahead(argument)]
            case b"STARTTLS":
                return [self._starttls(argument)]
            case b"AUTH":
                return self._auth(argument)
            case b"QUIT":
                self.closed = True
                return [2]
            case b"BDAT" if re.fullmatch(rb"[0-9]{1,20}( LAST)?", argument):
                self.skipping = int(argument.split()[0])
                return [] if self.skipping else [5]
        return [5]

    # the verbs of a transaction

    def _forget(self) -> None:
        self.mail, self.recipients = None, {}

    def _hello(self, verb: bytes, argument: bytes) -> list[int]:
        if not argument:
            return [5]
        self.greeted = verb
        self._forget()  # §4.1.4: EHLO is also a reset
        return [2]

    @property
    def _friend(self) -> bool:
        return bool(self.account) or (self.house.friendly and self.house.auth != "required")

    def _mail(self, argument: bytes) -> int:
        known = SENDERS.get(argument)
        if not self.greeted or self.mail is not None or known is None or known[1] > SIZE_LIMIT:
            return 5
        if not self._friend and self.house.auth != "none":
            return 5
        if known[0] and not known[0].endswith(MAY_SEND_AS.get(self.account, "")):
            return 5
        self.mail = known
        return 2

    def _recipient(self, argument: bytes) -> int:
        known = RECIPIENTS.get(argument)
        if self.mail is None or not self._friend or known is None:
            return 5
        if "%" in known[0] and not self.account:
            return 5
        if len(self.recipients) >= RECIPIENTS_MOST:
            return 4  # §4.5.3.1.10
        local, _, domain = known[0].rpartition("@")
        self.recipients.setdefault(f"{local}@{domain.lower()}", known)
        return 2

    def _go_ahead(self, argument: bytes) -> int:
        if not self.recipients or argument:
            return 5
        self.data = b"\r\n"
        return 3

    def _message(self) -> list[int]:
        assert self.data is not None
        self.data, self.rest = self.data + self.rest, b""
        content, end, rest = self.data.partition(b"\r\n.\r\n")  # §4.1.1.4: these five octets and no others
        if not end:
            return []
        content = (content + b"\r\n").replace(b"\r\n.", b"\r\n")[2:]  # §4.5.2
        self.data, self.rest = None, rest
        digit = self._verdict(content)
        self._forget()
        return [digit]

    def _verdict(self, content: bytes) -> int:
        bare = re.search(rb"\r(?!\n)|(?<!\r)\n|\0", content)
        if bare and not self.house.legacy:
            return 5
        content = re.sub(rb"\r\n|\r|\n", b"\r\n", content).replace(b"\0", b"")
        if len(content) > SIZE_LIMIT:
            return 5
        end = 0
        while found := HEADER_LINE.match(content, end):
            end = found.end()
        header, body = content[:end], content[end:].removeprefix(b"\r\n")
        if len(re.findall(rb"(?im)^received:", header)) >= 100:
            return 5  # §6.3
        if b"X-Fate: later" in header:
            return 4
        assert self.mail is not None
        word = "SMTP"
        if self.greeted == b"EHLO":
            word = "ESMTP" if self.mail[0].isascii() else "UTF8SMTP"
            word += "S" * self.tls + "A" * bool(self.account)
        self.accepted.append(Mail(
            self.mail[0], self.mail[2], self.mail[3], tuple(self.recipients.values()),
            word, self.account.decode(), header, body,
        ))  # fmt: skip
        return 2

    # TLS and AUTH

    def _starttls(self, argument: bytes) -> int:
        if argument or self.tls or not self.house.tls or self.mail is not None:
            return 5
        self.handshake = True
        return 2

    def secured(self) -> None:
        """The handshake is done: everything said before is forgotten (RFC 3207 §4.2)."""
        self.handshake, self.tls, self.greeted, self.account = False, True, b"", b""
        self._forget()

    def _auth(self, argument: bytes) -> list[int]:
        words = argument.split()
        allowed = self.house.auth != "none" and (self.tls or self.house.clear_auth)
        if not self.greeted or not allowed or self.mail is not None or self.account:
            return [5]
        if not 1 <= len(words) <= 2 or words[0].upper() not in (b"PLAIN", b"LOGIN"):
            return [5]
        self.asking = [words[0].upper()]
        if len(words) == 2:
            return self._login(self.asking, words[1])
        return [3]

    def _login(self, asking: list[bytes], line: bytes) -> list[int]:
        """One answer of the client: PLAIN wants one, LOGIN two."""
        try:
            answer = b"" if line == b"=" else base64.b64decode(line, validate=True)
        except (binascii.Error, ValueError):  # `*` and everything that is not base64
            self.asking = None
            return [5]
        asking.append(answer)
        if asking[0] == b"LOGIN" and len(asking) == 2:
            return [3]
        self.asking = None
        name, password, right = asking[1], asking[-1], True
        if asking[0] == b"PLAIN":
            parts = answer.split(b"\0")
            if len(parts) != 3 or not parts[1]:
                return [5]
            right = parts[0] in (b"", parts[1])
            name, password = parts[1:]
        if right and PASSWORDS.get(name) == password:
            self.account = name
            return [2]
        self.failures += 1
        self.closed = self.failures >= 3
        return [5, 4] if self.closed else [5]
