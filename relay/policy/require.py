"""`require:` of a stream: what its mail must have before it is taken, and what of it is missing.

- `list_unsubscribe`: List-Unsubscribe with an https URI, and List-Unsubscribe-Post with exactly
  `List-Unsubscribe=One-Click` (RFC 8058 §3.1), the pair that large mailbox providers ask of bulk mail.
- `aligned_dkim`: a signature will be made whose domain is that of the From field, or above or below it. DMARC's
  relaxed alignment (RFC 7489 §3.1.1) takes any two names of one organisation; where an organisation begins
  takes a list that changes, so that two names beside each other (mail.example.com, news.example.com) do not
  count here.
- `visible_address`: one From field with one address that people see and can answer: well formed, in a domain
  of at least two labels, and no other address shown in place of it in the display name.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator

from relay.core.address import AddressError, addresses_in, domain_of, parse_path
from relay.core.headers import Headers, decode_words
from relay.policy.decide import Decision
from relay.policy.requirements import Requirement

HTTPS = re.compile(r"<\s*https://[^<>\s]+\s*>", re.IGNORECASE)
ONE_CLICK = "list-unsubscribe=one-click"
SHOWN = re.compile(r"[^\s<>\"',;:()]{1,64}@([a-z0-9.-]{3,255})", re.IGNORECASE)
READ_CHARACTERS = 2000


def missing(
    decision: Decision, required: Iterable[Requirement], headers: Headers, signing: Callable[[str], Iterable[str]]
) -> list[str]:
    """What the message lacks, each as a clause for the refusal; `signing` gives the domains that will sign
    for a From domain. Fields are looked at as the route will leave them."""
    fields = _Fields(headers, decision)
    found: list[str] = []
    for name in required:
        if name == "list_unsubscribe":
            found += _unsubscribe(fields)
        elif name == "aligned_dkim":
            found += _signature(fields, signing)
        else:
            found += _address(fields)
    return found


class _Fields:
    """Header fields with the route's edits made."""

    def __init__(self, headers: Headers, decision: Decision) -> None:
        self.headers = headers
        self.removed = {name.lower() for name in decision.headers_remove}
        self.added = [(name.lower(), value) for name, value in decision.headers_add]

    def all(self, name: str) -> list[str]:
        """Every value of the lower-case name."""
        there = [] if name in self.removed else self.headers.all(name)
        return there + [value for added, value in self.added if added == name]


def _unsubscribe(fields: _Fields) -> Iterator[str]:
    if not any(HTTPS.search(value[:READ_CHARACTERS]) for value in fields.all("list-unsubscribe")):
        yield "a List-Unsubscribe header with an https URI (RFC 8058)"
    if [value.strip().lower() for value in fields.all("list-unsubscribe-post")] != [ONE_CLICK]:
        yield "the header List-Unsubscribe-Post: List-Unsubscribe=One-Click (RFC 8058)"


def _signature(fields: _Fields, signing: Callable[[str], Iterable[str]]) -> Iterator[str]:
    domain = next((domain_of(one) for value in fields.all("from") for one in addresses_in(value)), "")
    if not any(aligned(one, domain) for one in signing(domain)):
        yield f"a DKIM key for the From domain {domain or '(there is none)'}"


def aligned(signer: str, author: str) -> bool:
    """Whether a signing domain speaks for a From domain: the same, or one above the other, with at least two
    labels."""
    short, long = sorted((signer.lower(), author.lower()), key=len)
    return "." in short and (short == long or long.endswith(f".{short}"))


def _address(fields: _Fields) -> Iterator[str]:
    values = fields.all("from")
    found = [one for value in values for one in addresses_in(value)]
    if len(values) != 1 or len(found) != 1 or not _well_formed(found[0]):
        yield "one From address that can be answered"
        return
    name = decode_words(values[0][:READ_CHARACTERS]).replace(found[0], "")
    other = SHOWN.search(name)
    if other and not aligned(domain_of(other[0]), domain_of(found[0])):
        yield "a From name that shows no other address"


def _well_formed(address: str) -> bool:
    try:
        parse_path(f"<{address}>", null=False, utf8=True)
    except AddressError:
        return False
    return "." in domain_of(address).strip("[]") and not domain_of(address).endswith((".invalid", ".local"))
