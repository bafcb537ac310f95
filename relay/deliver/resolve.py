"""Where the mail of a domain goes: its mail exchangers in order (RFC 5321 §5.1), and one name for them all.

1. An address literal names its host. Otherwise ask for MX.
2. A single MX to the root is a null MX: the domain takes no mail (RFC 7505 §3).
3. No MX: the domain itself is its only host (implicit MX).
4. Of at most 20 best hosts, find the addresses; drop ourselves and all that is not better than us.
5. What DNS could not tell is deferred; what it denies with authority fails; what only leads to private
   addresses waits until an operator lists them.

Routes are kept for their TTL, 1 min to 1 h. Hosts of equal preference come in random order at each call.
"""

from __future__ import annotations

import asyncio
import random
import re
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from ipaddress import ip_address
from itertools import chain, groupby, zip_longest

from relay.core.outcome import Outcome, Phase, Trouble, judge
from relay.core.site import site_name
from relay.deliver.cache import SharedCache
from relay.deliver.lookup import Absent, Answer, Found, Lookup, Unknown
from relay.deliver.targets import TargetGuard

MAX_HOSTS = 20  # large providers publish fewer than 10; a thousand would be an attack (RELIABILITY, DNS)
MAX_ADDRESSES = 50
MIN_KEEP_S, MAX_KEEP_S = 60.0, 3600.0
KEEP_FAILED_S = 60.0  # a domain that was just registered must not wait long
KEEP_UNKNOWN_S = 15.0  # long enough that a thousand waiting messages ask once
CACHED_ROUTES = 20_000
# No top-level domain is numeric (RFC 3696 §2): an MX "192.0.2.1." is a mistake that names no host.
NUMERIC = re.compile(r"(?:.*\.)?[0-9]+")


@dataclass(frozen=True, slots=True)
class Host:
    """One mail exchanger and its addresses in the order to try them."""

    name: str
    preference: int
    addresses: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Route:
    """Where to deliver: `hosts` in the order to try them, all on `port`. `site` names who runs them: limits
    and kept connections belong to it. `guarded` is False when the operator named the host, so that the
    check of private addresses does not apply."""

    site: str
    hosts: tuple[Host, ...]
    port: int = 25
    guarded: bool = True


@dataclass(frozen=True, slots=True)
class ResolverSettings:
    """`hostname` and `addresses` are ourselves: addresses where we answer on the delivery port (no others:
    what another program serves there is no loop). `servers` as "ip", "ip:port" or "[v6]:port", none: the
    system's. With `ipv6` False no AAAA is asked for. `allow_targets` is CIDR."""

    hostname: str
    addresses: frozenset[str] = frozenset()
    servers: tuple[str, ...] = ()
    port: int = 25
    ipv6: bool = True
    allow_targets: tuple[str, ...] = ()


class Resolver:
    """Routes by domain, kept and shared. Raises ValueError for settings that are no addresses."""

    def __init__(
        self,
        settings: ResolverSettings,
        *,
        lookup: Callable[[str, str], Awaitable[Answer]] | None = None,
        clock: Callable[[], float] = time.monotonic,
        dice: random.Random | None = None,
    ) -> None:
        self.settings = settings
        self.guard = TargetGuard(settings.allow_targets)
        self._lookup = lookup or Lookup(settings.servers)
        self._dice = dice or random.Random()  # noqa: S311 (spreads load, keeps no secret)
        self._us = frozenset(str(ip_address(address)) for address in settings.addresses)
        self._routes = SharedCache(self._find, size=CACHED_ROUTES, clock=clock)
        self._addresses = SharedCache(self._ask_addresses, size=CACHED_ROUTES, clock=clock)

    async def resolve(self, domain: str) -> Route | Outcome:
        """The route to a domain (lower case, A-labels, or an address literal in brackets), or why there is
        none: deferred when DNS may yet tell, failed when it denies."""
        found = self._routes.peek(domain)
        if found is None:
            found = await self._routes.get(domain)
        return self._shuffled(found) if isinstance(found, Route) else found

    async def fixed_route(self, host: str, port: int) -> Route | Outcome:
        """The route to a host the operator named (smarthost): its addresses, no MX, no check of them."""
        literal = _literal(host.strip("[]")) or ""
        found = Found(((0, literal),), MAX_KEEP_S) if literal else await self._addresses.get(host.lower())
        if isinstance(found, Found):
            addresses = tuple(address for _, address in found.records)
            return Route(f"{host}:{port}", (Host(host, 0, addresses),), port, guarded=False)
        if isinstance(found, Unknown):
            return _no(Trouble.DNS_TEMPORARY, f"the smarthost {host} could not be looked up: {found.text}")[0]
        # The operator's own host is a matter of configuration: mail waits until it is right again.
        return _no(Trouble.DNS_TEMPORARY, f"the smarthost {host} has no address")[0]

    def forget(self) -> None:
        """Drops everything kept; the next call asks again."""
        self._routes.clear()
        self._addresses.clear()

    async def close(self) -> None:
        """Ends the lookups under way."""
        await self._routes.close()
        await self._addresses.close()

    async def _find(self, domain: str) -> tuple[Route | Outcome, float]:
        if domain.startswith("["):
            return self._literal_route(domain)
        answer = await self._lookup(domain, "MX")
        match answer:
            case Unknown(text):
                return _no(Trouble.DNS_TEMPORARY, f"the MX of {domain} could not be looked up: {text}")
            case Absent(whole=True):
                return _no(Trouble.NO_DOMAIN, f"the domain {domain} does not exist")
            case Absent():
                return await self._route(domain, ((0, domain),), MAX_KEEP_S)
            case Found(((_, ""),), _):  # RFC 7505 §3, §4.2
                return _no(Trouble.NULL_MX, f"556 {domain} accepts no mail: it has a null MX")
        return await self._route(domain, answer.records, answer.ttl_s)

    async def _route(
        self, domain: str, exchangers: tuple[tuple[int, str], ...], ttl_s: float
    ) -> tuple[Route | Outcome, float]:
        usable = [(rank, name) for rank, name in exchangers if name and not NUMERIC.fullmatch(name)]
        if not usable:
            return _no(Trouble.NO_ADDRESS, f"no MX of {domain} names a host")
        best = self._best(usable)
        answers = await asyncio.gather(*(self._addresses.get(name) for _, name in best))
        asked = [(rank, name, answer) for (rank, name), answer in zip(best, answers, strict=True)]
        ours = {rank for rank, _, answer in asked if not self._us.isdisjoint(_texts(answer))}
        relevant = [one for one in asked if not ours or one[0] < min(ours)]
        left = [(rank, name, answer) for rank, name, answer in relevant if isinstance(answer, Found)]
        if not left:
            return _no_host(domain, relevant, looped=not best or bool(ours))
        hosts = self._allowed(left)
        if not hosts:
            return _no(Trouble.TARGET_FORBIDDEN, self._refusals(domain, left))
        ttl_s = min(ttl_s, *(self._addresses.left_s(name) for _, name, _ in left))
        site = site_name(name for _, name in usable)
        return Route(site, hosts, self.settings.port), min(max(ttl_s, MIN_KEEP_S), MAX_KEEP_S)

    def _best(self, exchangers: list[tuple[int, str]]) -> list[tuple[int, str]]:
        """The 20 best by preference, without ourselves and everything of equal or worse preference: no mail
        in circles (RFC 5321 §5.1). Which of a thousand equals are taken is left to chance."""
        ours = {rank for rank, name in exchangers if name == self.settings.hostname.lower()}
        better = [one for one in exchangers if not ours or one[0] < min(ours)]
        self._dice.shuffle(better)
        return sorted(better, key=lambda one: one[0])[:MAX_HOSTS]

    def _allowed(self, found: list[tuple[int, str, Found]]) -> tuple[Host, ...]:
        """Hosts with the addresses the guard lets through, at most 50 addresses in all."""
        hosts, room = [], MAX_ADDRESSES
        for rank, name, answer in found:
            addresses = [one for one in _texts(answer) if self.guard.refusal(one) is None][:room]
            room -= len(addresses)
            if addresses:
                hosts.append(Host(name, rank, tuple(addresses)))
        return tuple(hosts)

    def _refusals(self, domain: str, found: list[tuple[int, str, Found]]) -> str:
        name, address = next((name, one) for _, name, answer in found for one in _texts(answer))
        return f"no host of {domain} may be connected to: {name}: {self.guard.refusal(address)}"

    def _literal_route(self, domain: str) -> tuple[Route | Outcome, float]:
        address = _literal(domain[1:-1].removeprefix("ipv6:"))  # RFC 5321 §4.1.3
        if address is None:
            return _no(Trouble.NO_DOMAIN, f"{domain} is not an address literal")
        if address in self._us:
            return _no(Trouble.LOOP, f"{domain} is this relay itself")
        if refusal := self.guard.refusal(address):
            return _no(Trouble.TARGET_FORBIDDEN, refusal)
        return Route(domain, (Host(domain, 0, (address,)),), self.settings.port), MAX_KEEP_S

    async def _ask_addresses(self, name: str) -> tuple[Answer, float]:
        """A and AAAA together, taking turns, IPv4 first: docs/decisions/0010 says why."""
        kinds = ("A", "AAAA") if self.settings.ipv6 else ("A",)
        answers = await asyncio.gather(*(self._lookup(name, kind) for kind in kinds))
        found = [answer for answer in answers if isinstance(answer, Found)]
        if not found:
            unknown = next((answer for answer in answers if isinstance(answer, Unknown)), None)
            return (unknown, KEEP_UNKNOWN_S) if unknown else (Absent(whole=False), KEEP_FAILED_S)
        turns = chain.from_iterable(zip_longest(*(answer.records for answer in found)))
        records = tuple(one for one in turns if one is not None)[:MAX_ADDRESSES]
        ttl_s = min(answer.ttl_s for answer in found)
        return Found(records, ttl_s), min(max(ttl_s, MIN_KEEP_S), MAX_KEEP_S)

    def _shuffled(self, route: Route) -> Route:
        """Equal preferences in random order, to spread the load (RFC 5321 §5.1)."""
        ranks = {host.preference for host in route.hosts}
        if len(ranks) == len(route.hosts):
            return route
        hosts: list[Host] = []
        for _, group in groupby(route.hosts, key=lambda host: host.preference):
            equals = list(group)
            self._dice.shuffle(equals)
            hosts += equals
        return replace(route, hosts=tuple(hosts))


def _texts(answer: Answer) -> list[str]:
    return [address for _, address in answer.records] if isinstance(answer, Found) else []


def _literal(text: str) -> str | None:
    try:
        return str(ip_address(text))
    except ValueError:
        return None


def _no_host(domain: str, found: list[tuple[int, str, Answer]], *, looped: bool) -> tuple[Outcome, float]:
    """Why no exchanger is left: one nobody could tell about keeps the mail waiting."""
    for _, name, answer in found:
        if isinstance(answer, Unknown):
            text = f"{name}, MX of {domain}, could not be looked up: {answer.text}"
            return _no(Trouble.DNS_TEMPORARY, text)
    if looped:
        return _no(Trouble.LOOP, f"the best MX of {domain} is this relay itself")
    if [name for _, name, _ in found] == [domain]:
        return _no(Trouble.NO_DOMAIN, f"the domain {domain} has neither MX nor address")
    return _no(Trouble.NO_ADDRESS, f"no MX of {domain} has an address")


def _no(trouble: Trouble, text: str) -> tuple[Outcome, float]:
    """No route, and the seconds for which that is kept."""
    keep_s = KEEP_UNKNOWN_S if trouble is Trouble.DNS_TEMPORARY else KEEP_FAILED_S
    return judge(trouble, Phase.RESOLVE, text), keep_s
