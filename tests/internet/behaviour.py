"""What a provider bears and how it says no. Plain values: they travel as JSON to the process that plays them.

Replies are texts as `tests.internet.words` finds them in the shipped policies; lines end with a line feed there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

BUSY = "421 4.7.0 mx.example.org Error: too many connections from 203.0.113.42"
SLOWER = "450 4.7.1 too much mail from 203.0.113.42, slow down"
GREY = "450 4.2.0 Greylisted, see http://postgrey.example/help"
CLOSING = "421 4.3.2 closing"
BLOCKED = "554 5.7.1 203.0.113.42 is on our block list"


@dataclass(frozen=True, slots=True)
class Cap:
    """So many connections at once from one client address; one more is told so and closed."""

    most: int
    reply: str = BUSY


@dataclass(frozen=True, slots=True)
class Pace:
    """So many messages a second from one client address, `burst` at once; more is refused at MAIL."""

    rate: float
    burst: int = 1
    reply: str = SLOWER


@dataclass(frozen=True, slots=True)
class Greylist:
    """A client, sender and recipient that was never seen is sent away for so many seconds (RFC 6647 §2)."""

    wait_s: float
    reply: str = GREY


@dataclass(frozen=True, slots=True)
class Block:
    """After so many messages a client address gets nothing but this reply as the first word, for a time; then all
    is forgiven. Connections that are open when it begins hear `inside` at MAIL, and may go on after a 5xx.
    `only` one address, where it is given, is treated so."""

    after: int
    for_s: float
    reply: str = BLOCKED
    inside: str = CLOSING
    only: str = ""


@dataclass(frozen=True, slots=True)
class Provider:
    """Hosts mail for `domains` at so many `hosts`, each an address of its own; what it bears it counts over all of
    them. `message_s` is how long it thinks after the final dot, `banner_s` before its first word. Providers of
    one `group` share a process."""

    name: str
    domains: tuple[str, ...]
    hosts: int = 1
    message_s: float = 0.0
    banner_s: float = 0.0
    cap: Cap | None = None
    pace: Pace | None = None
    greylist: Greylist | None = None
    block: Block | None = None
    group: str = "all"

    def host(self, number: int) -> str:
        """The name of one of its MX hosts; all of them match *.NAME.test."""
        return f"mx{number}.{self.name}.test"

    @property
    def host_names(self) -> list[str]:
        """The names of all its MX hosts."""
        return [self.host(number) for number in range(self.hosts)]


def as_json(provider: Provider) -> dict[str, Any]:
    """For the process that plays it."""
    return asdict(provider)


def from_json(found: Mapping[str, Any]) -> Provider:
    """What `as_json` wrote."""
    kinds = {"cap": Cap, "pace": Pace, "greylist": Greylist, "block": Block}
    values = {name: kinds[name](**value) if name in kinds and value else value for name, value in found.items()}
    return Provider(**{**values, "domains": tuple(found["domains"])})


def crowd(name: str, count: int, **behaviour: Any) -> list[Provider]:
    """So many providers that behave alike, each with one domain: NAME0.test, NAME1.test ..."""
    return [Provider(f"{name}{number}", (f"{name}{number}.test",), **behaviour) for number in range(count)]


def domains_of(providers: Iterable[Provider]) -> list[str]:
    """All their domains."""
    return [domain for provider in providers for domain in provider.domains]


