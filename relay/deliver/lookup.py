"""One DNS question, and an answer that never confuses "there is none" with "I could not find out".

UDP with EDNS, over TCP when truncated (RFC 7766 §5); 5 s a server, 15 s in all. Search domains are never
used. CNAMEs are followed, by the server or here. A negative answer counts as one only when it comes with
the authority for it (RFC 2308 §2): everything else is trouble that may pass.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address
from typing import TYPE_CHECKING

import dns.asyncresolver
import dns.exception
import dns.flags
import dns.name
import dns.nameserver
import dns.rcode
import dns.rdatatype
import dns.resolver
from dns.rdtypes.ANY.MX import MX
from dns.rdtypes.IN.A import A
from dns.rdtypes.IN.AAAA import AAAA

if TYPE_CHECKING:
    from collections.abc import Sequence

    import dns.message
    import dns.rdata

SERVER_TIMEOUT_S = 5.0
LIFETIME_S = 15.0
EDNS_PAYLOAD = 1232  # what crosses every path unfragmented (DNS Flag Day 2020)
MAX_ALIASES = 8
RESOLV_CONF_FALLBACK = "127.0.0.1"  # resolv.conf(5): the local machine when the file is absent


@dataclass(frozen=True, slots=True)
class Found:
    """Records: (preference, name) of an MX, (0, address) of an A or AAAA. Names end without a dot; "" is
    the root. `ttl_s` is the shortest of the chain."""

    records: tuple[tuple[int, str], ...]
    ttl_s: float


@dataclass(frozen=True, slots=True)
class Absent:
    """There is no such record, authoritatively; with `whole` not even the name exists."""

    whole: bool


@dataclass(frozen=True, slots=True)
class Unknown:
    """Nobody could tell: timeout, SERVFAIL, REFUSED, a lame server. `text` says which."""

    text: str


Answer = Found | Absent | Unknown


def parse_server(text: str) -> tuple[str, int]:
    """(address, port) of "192.0.2.1", "192.0.2.1:5353", "2001:db8::1" or "[2001:db8::1]:5353";
    raises ValueError with a sentence for anything else."""
    host, port = text.strip(), "53"
    if host.startswith("["):
        host, _, rest = host[1:].partition("]")
        port = rest.removeprefix(":") or port
    elif host.count(":") == 1:
        host, _, port = host.partition(":")
    try:
        address, number = str(ip_address(host)), int(port)
    except ValueError:
        address, number = "", 0
    if not 0 < number < 65536:
        raise ValueError(f'not a DNS server: {text!r}; write "192.0.2.1", "192.0.2.1:53", "[2001:db8::1]:53"')
    return address, number


class Lookup:
    """Asks recursive servers: those given, else those of /etc/resolv.conf. Never raises for what DNS says."""

    def __init__(
        self,
        servers: Sequence[str] = (),
        *,
        timeout_s: float = SERVER_TIMEOUT_S,
        lifetime_s: float = LIFETIME_S,
    ) -> None:
        self._resolver = _resolver(servers)
        self._resolver.timeout = timeout_s
        self._resolver.lifetime = lifetime_s
        self._resolver.use_edns(0, 0, EDNS_PAYLOAD)

    async def __call__(self, name: str, kind: str) -> Answer:
        """What DNS says of `name` (A-labels, without regard to a final dot) and "MX", "A" or "AAAA"."""
        try:
            question = dns.name.from_text(name)
        except dns.exception.DNSException:
            return Absent(whole=True)  # an empty or overlong label: no such name can exist
        for _ in range(MAX_ALIASES):
            answer = await self._ask(question, kind)
            if not isinstance(answer, dns.name.Name):
                return answer
            question = answer
        return Unknown(f"more than {MAX_ALIASES} aliases follow {name}")

    async def _ask(self, name: dns.name.Name, kind: str) -> Answer | dns.name.Name:
        try:
            answer = await self._resolver.resolve(name, kind, search=False, raise_on_no_answer=False)
        except dns.resolver.NXDOMAIN as no:
            responses: dict[dns.name.Name, dns.message.QueryMessage] = no.kwargs["responses"]
            return _missing(responses[name])
        except (dns.exception.DNSException, OSError, EOFError) as trouble:
            return Unknown(_words(trouble))
        if answer.rrset is None:
            if answer.canonical_name != name:
                return answer.canonical_name  # the server left the rest of the chain to us
            return _nothing(answer.response)
        ttl_s = float(answer.chaining_result.minimum_ttl)
        return Found(tuple(_record(rdata) for rdata in answer.rrset), ttl_s)


def _resolver(servers: Sequence[str]) -> dns.asyncresolver.Resolver:
    if not servers:
        try:
            return dns.asyncresolver.Resolver(configure=True)
        except dns.resolver.NoResolverConfiguration:
            servers = (RESOLV_CONF_FALLBACK,)
    resolver = dns.asyncresolver.Resolver(configure=False)
    resolver.nameservers = [dns.nameserver.Do53Nameserver(*parse_server(server)) for server in servers]
    return resolver


def _record(rdata: dns.rdata.Rdata) -> tuple[int, str]:
    if isinstance(rdata, MX):
        return rdata.preference, rdata.exchange.to_text(omit_final_dot=True).lower().removesuffix(".")
    assert isinstance(rdata, A | AAAA)
    return 0, rdata.address


def _missing(response: dns.message.QueryMessage) -> Answer:
    """NXDOMAIN, believed when an authority stands behind it: its SOA, or its own flag (RFC 2308 §2.1)."""
    if _soa(response) or response.flags & dns.flags.AA:
        return Absent(whole=True)
    return Unknown("NXDOMAIN without the authority for it")


def _nothing(response: dns.message.QueryMessage) -> Answer:
    """No error and no record: absent, unless it is a referral, which a lame server gives (RFC 2308 §2.2)."""
    referral = any(rrset.rdtype == dns.rdatatype.NS for rrset in response.authority)
    if referral and not _soa(response) and not response.flags & dns.flags.AA:
        return Unknown("the DNS server only refers to others")
    return Absent(whole=False)


def _soa(response: dns.message.QueryMessage) -> bool:
    return any(rrset.rdtype == dns.rdatatype.SOA for rrset in response.authority)


def _words(trouble: Exception) -> str:
    """One line for people: what each server did."""
    errors = getattr(trouble, "kwargs", {}).get("errors") or ()
    seen = {
        f"{server.removeprefix('Do53:')} {_symptom(error, response)}": None
        for server, _, _, error, response in errors
    }
    if not seen and isinstance(trouble, dns.exception.Timeout):
        return "no DNS server answered in time"
    return "; ".join(seen) or str(trouble) or type(trouble).__name__


def _symptom(error: object, response: dns.message.Message | None) -> str:
    if response is not None:
        return f"answered {dns.rcode.to_text(response.rcode())}"
    if isinstance(error, dns.exception.Timeout):
        return "did not answer in time"
    return f"failed: {error}"
