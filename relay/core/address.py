"""Mail addresses as SMTP knows them (RFC 5321 §4.1.2): strict, literal, and fast for the common form.

What is not an address is refused, never repaired: a repaired address is somebody else's mailbox. Of a source
route `@a,@b:x@c` only x@c counts, as RFC 5321 has it. The local
part is kept as sent (§2.4): `%` and `!` are ordinary letters here, and what to think of them is the
listener's business. Two things are wider than the grammar, because real hosts have them: underscores in
domain labels, and paths without angle brackets.
"""

from __future__ import annotations

import ipaddress
import re

import idna

MAX_LOCAL = 64  # octets, RFC 5321 §4.5.3.1.1
MAX_DOMAIN = 255  # octets, RFC 5321 §4.5.3.1.2
MAX_PATH = 256  # octets with the angle brackets, RFC 5321 §4.5.3.1.3
MAX_HEADER_VALUE = 10_000  # characters of a From field that are looked at; 128 mailboxes fit

ATEXT = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]"
UTEXT = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~\u0080-\U0010ffff-]"  # RFC 6531 §3.3
LABEL = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
ULABEL = r"[A-Za-z0-9_\u0080-\U0010ffff](?:[A-Za-z0-9_\u0080-\U0010ffff-]*[A-Za-z0-9_\u0080-\U0010ffff])?"
# qtextSMTP and quoted-pairSMTP, RFC 5321 §4.1.2; beyond ASCII by RFC 6531 §3.3
QUOTED = r'"(?>(?:[ !#-\[\]-~\u0080-\U0010ffff]|\\[ -~])*)"'

# The lengths are looked at first: MAX_LOCAL, and MAX_PATH without the brackets.
COMMON = re.compile(
    rf"<(?=[^@>]{{1,{MAX_LOCAL}}}@)(?=[^>]{{1,{MAX_PATH - 2}}}>)"
    rf"({ATEXT}++(?>(?:\.{ATEXT}++)*)@{LABEL}(?>(?:\.{LABEL})*))>(?: +|$)"
)
AT_DOMAIN = rf"@{ULABEL}(?>(?:\.{ULABEL})*)"
ROUTE = re.compile(rf"{AT_DOMAIN}(?>(?:,{AT_DOMAIN})*):")  # A-d-l, RFC 5321 §4.1.2
MAILBOX = re.compile(
    rf"(?P<local>{UTEXT}++(?>(?:\.{UTEXT}++)*)|{QUOTED})@(?P<domain>{ULABEL}(?>(?:\.{ULABEL})*)|\[[!-Z^-~]++\])"
)
FORBIDDEN = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")  # C0, DEL, C1, and bytes that were not UTF-8
# What may stand between the addresses of a header field: strings and comments are stepped over whole.
HEADER_TOKEN = re.compile(r'"(?>(?:[^"\\]|\\.)*)"?|\\.|[<>,;:()]|[^"\\<>,;:()]++', re.DOTALL)

# A header value with one address and nothing strange: bare, or in brackets behind a name.
SPEC = r"""[^\s"\\<>,;:()@\x00-\x1f\x7f-\x9f\ud800-\udfff]++"""
ONE_ADDRESS = re.compile(
    rf"""\s*+(?:({SPEC}@{SPEC})|(?>(?:"[^"\\]*+"|[^"\\<>,;:()]++)*)<({SPEC}@{SPEC})>)\s*+"""
)


class AddressError(ValueError):
    """This is no address: `reason` says why, `enhanced` in numbers (RFC 3463 §3.2, RFC 6531 §3.5)."""

    def __init__(self, reason: str, enhanced: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.enhanced = enhanced


def parse_path(text: str, *, null: bool, utf8: bool) -> tuple[str, str]:
    """The address at the start of `text` and the parameters after it: "<a@b> SIZE=1" → ("a@b", "SIZE=1").

    `null` is True for MAIL: "<>" gives "" there, and errors are 5.1.7 instead of 5.1.3. For RCPT the bare
    "<postmaster>" is allowed (RFC 5321 §4.5.1) and comes back as "postmaster". `utf8` says that the client
    asked for SMTPUTF8; without it anything but ASCII is 5.6.7. Raises AddressError, nothing else."""
    match = COMMON.match(text)
    if match:
        return match[1], text[match.end() :].rstrip(" ")
    return _parse_rare(text.lstrip(" "), null=null, utf8=utf8)


def _parse_rare(text: str, *, null: bool, utf8: bool) -> tuple[str, str]:
    bad = "5.1.7" if null else "5.1.3"
    inner, rest = _split_path(text, bad)
    if FORBIDDEN.search(inner):
        raise AddressError("control characters and bytes that are not UTF-8 have no place in an address", bad)
    if not utf8 and not inner.isascii():
        raise AddressError("an address beyond ASCII needs SMTPUTF8 on MAIL", "5.6.7")  # RFC 6531 §3.4
    if null and not inner:
        return "", rest
    if not null and inner.lower() == "postmaster":
        return inner, rest  # RFC 5321 §4.1.1.3: accepted without a domain
    if route := ROUTE.match(inner):
        inner = inner[route.end() :]  # RFC 5321 §4.1.1.3, appendix F.2: accepted, stripped, never followed
    match = MAILBOX.fullmatch(inner)
    if match is None:
        raise AddressError(_complaint(inner), bad)
    _check_lengths(match["local"], match["domain"], bad)
    _check_domain(match["domain"], bad)
    return inner, rest


def _split_path(text: str, bad: str) -> tuple[str, str]:
    """What is between the angle brackets and what follows them; quoted strings may hold brackets."""
    if not text.startswith("<"):
        if not text:  # a program whose sender is unset would otherwise never hear of a bounce
            raise AddressError("an address is missing; the null sender is written <>", bad)
        return _split_bare(text)
    match = re.compile(r'<((?>(?:"(?>(?:[^"\\]|\\.)*)"|[^"<>])*))>', re.DOTALL).match(text)
    if match is None:
        raise AddressError("the address must be between < and >", bad)
    rest = text[match.end() :]
    if rest and not rest.startswith(" "):
        raise AddressError("a space must follow the > of the address", bad)
    return match[1].strip(" "), rest.strip(" ")


def _split_bare(text: str) -> tuple[str, str]:
    """Old programs leave the brackets away: the address goes to the first space outside quotes."""
    match = re.compile(r'(?>(?:"(?>(?:[^"\\]|\\.)*)"|[^" ])*)', re.DOTALL).match(text)
    assert match is not None  # it can match nothing at all
    return match[0], text[match.end() :].strip(" ")


def _complaint(inner: str) -> str:
    if not inner:
        return "an address is missing"
    if "@" not in inner:
        return "the address needs a domain: name@example.com"
    local, _, domain = inner.rpartition("@")
    if not domain or not re.fullmatch(rf"{ULABEL}(?>(?:\.{ULABEL})*)|\[.*\]", domain):
        return "the domain is not well formed"
    if not local:
        return "the part before the @ is missing"
    return "the part before the @ is not well formed; unusual characters need quotes"


def _check_lengths(local: str, domain: str, bad: str) -> None:
    if len(local.encode()) > MAX_LOCAL:
        raise AddressError(f"the part before the @ is longer than {MAX_LOCAL} octets", bad)
    if len(domain.encode()) > MAX_DOMAIN or len(f"<{local}@{domain}>".encode()) > MAX_PATH:
        raise AddressError(f"the address is longer than {MAX_PATH} octets", bad)


def _check_domain(domain: str, bad: str) -> None:
    if domain.startswith("["):
        if literal(domain) is None:
            raise AddressError("an address literal is [192.0.2.1] or [IPv6:2001:db8::1]", bad)
    elif not domain.isascii():
        if _a_labels(domain) is None:
            raise AddressError("the domain is not a valid international name", bad)
    elif max(map(len, domain.split("."))) > 63:
        raise AddressError("a label of the domain is longer than 63 octets", bad)  # RFC 1035 §2.3.4


def _a_labels(domain: str) -> str | None:
    """The ASCII form of an international domain (RFC 5891, mapped as UTS 46 says), None if there is none."""
    try:
        return idna.encode(domain, uts46=True).decode("ascii")
    except (idna.IDNAError, UnicodeError):
        return None


def literal(domain: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """The IP address of "[192.0.2.1]" or "[IPv6:2001:db8::1]" (RFC 5321 §4.1.3), None for anything else."""
    if not (domain.startswith("[") and domain.endswith("]")):
        return None
    inner = domain[1:-1]
    try:
        if inner[:5].lower() == "ipv6:":
            return ipaddress.IPv6Address(inner[5:])
        return ipaddress.IPv4Address(inner)
    except ValueError:
        return None


def domain_of(address: str) -> str:
    """The domain in lower case and ASCII form, "" for the null path or an address without a domain."""
    domain = address.rpartition("@")[2] if "@" in address else ""
    if domain.isascii():
        return domain.lower()
    return _a_labels(domain) or domain.lower()


def is_route(address: str) -> bool:
    """Whether the local part could be read as a route by some other system: `%`, `!`, or an `@` in it."""
    local = address.rpartition("@")[0]
    return "%" in local or "!" in local or "@" in local


def address_in(header_value: str) -> str:
    """The first addr-spec of a From, Sender or Reply-To value (RFC 5322 §3.4), "" if it holds none."""
    return next(iter(addresses_in(header_value)), "")


def addresses_in(header_value: str) -> list[str]:
    """Every addr-spec of a header value in order, without display names, comments and groups' names."""
    if len(header_value) <= MAX_HEADER_VALUE and (match := ONE_ADDRESS.fullmatch(header_value)):
        return [match[1] or match[2]]
    return _addresses_among(header_value)


def _addresses_among(header_value: str) -> list[str]:
    """The same for any value."""
    found: list[str] = []
    loose: list[str] = []  # the words of the mailbox being read, outside angle brackets
    angle: list[str] | None = None
    depth = 0
    for word in HEADER_TOKEN.findall(header_value[:MAX_HEADER_VALUE]):
        if word == "(":
            depth += 1
        elif word == ")" and depth:
            depth -= 1
        elif depth:
            continue
        elif word == "<":
            angle = []
        elif word == ">" and angle is not None:
            found.append(_spec(angle))
            angle, loose = None, ["<>"]
        elif word in (",", ";") and angle is None:
            found.append(_spec(loose))
            loose = []
        elif word == ":" and angle is None:
            loose = []  # a group's name ends here
        else:
            (loose if angle is None else angle).append(word)
    found.append(_spec(loose))
    return [spec for spec in found if spec]


def _spec(words: list[str]) -> str:
    """The words of one mailbox as an addr-spec, "" when they are none; white space in it is obsolete."""
    text = "".join(words).strip()
    text = text[text.rfind(":") + 1 :] if text.startswith("@") else text  # obsolete route, RFC 5322 §4.4
    if "<>" in words or "@" not in text:
        return ""
    if not text.startswith('"'):
        text = "".join(text.split())
    return "" if FORBIDDEN.search(text) else text
