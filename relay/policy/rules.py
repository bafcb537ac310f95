"""Conditions of routes, compiled: each says whether it holds for a message and, when asked, why."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import Protocol

from relay.core.headers import decode_words
from relay.core.pattern import Pattern
from relay.policy.facts import Facts

Network = IPv4Network | IPv6Network
SHOWN = 60  # characters of a value that the trail shows


class View:
    """The facts of one message with what conditions ask for again and again worked out once."""

    __slots__ = ("_names", "_subject", "facts", "sender")

    def __init__(self, facts: Facts) -> None:
        self.facts = facts
        self.sender = facts.sender or "<>"  # the null reverse-path as it is written in SMTP
        self._names: set[bytes] | None = None
        self._subject: str | None = None

    @property
    def subject(self) -> str:
        """The first Subject with its encoded words (RFC 2047) turned into text; "" without one."""
        if self._subject is None:
            self._subject = decode_words(self.facts.headers.first("subject") or "")
        return self._subject

    def header(self, name: bytes) -> list[str]:
        """The values of every field of that lower-case name."""
        if self._names is None:
            self._names = {field[0] for field in self.facts.headers.fields}
        if name not in self._names:
            return []
        return [decode_words(field.value) for field in self.facts.headers.fields if field[0] == name]


class Condition(Protocol):
    """Something that holds for a message or does not."""

    def holds(self, view: View) -> bool:
        """Whether it holds."""
        ...

    def reason(self, view: View) -> str:
        """One line for people: the part that decided, with the value seen."""
        ...


@dataclass(frozen=True, slots=True)
class Text:
    """Some value of a field matches one of the patterns."""

    name: str
    patterns: tuple[Pattern, ...]
    values: Callable[[View], Sequence[str]] = field(repr=False, compare=False)

    def holds(self, view: View) -> bool:
        patterns = self.patterns
        for value in self.values(view):
            for pattern in patterns:
                if pattern.matches(value):
                    return True
        return False

    def reason(self, view: View) -> str:
        values = self.values(view)
        for value in values:
            for pattern in self.patterns:
                if pattern.matches(value):
                    return f"{self.name} {_shown(value)} matches {pattern}"
        seen = ", ".join(_shown(value) for value in values[:3]) or "(none)"
        more = f" and {len(values) - 3} more" if len(values) > 3 else ""
        return f"{self.name} {seen}{more} does not match {_either(self.patterns)}"


@dataclass(frozen=True, slots=True)
class HeaderThere:
    """A header field is present, or (`wanted` False) is not."""

    name: str
    key: bytes
    wanted: bool

    def holds(self, view: View) -> bool:
        return bool(view.header(self.key)) is self.wanted

    def reason(self, view: View) -> str:
        state = "present" if view.header(self.key) else "absent"
        return f"header {self.name} is {state}"


@dataclass(frozen=True, slots=True)
class From:
    """The client's address lies in one of the networks."""

    networks: tuple[Network, ...]
    ranges: tuple[tuple[int, int, int], ...] = field(repr=False, compare=False)  # version, mask, network

    def holds(self, view: View) -> bool:
        version, number = address_number(view.facts.client)
        return any(kind == version and number & mask == base for kind, mask, base in self.ranges)

    def reason(self, view: View) -> str:
        word = "is in" if self.holds(view) else "is not in"
        return f"client {view.facts.client or '(none)'} {word} {_either(self.networks)}"


def client_in(networks: Sequence[Network]) -> From:
    """The condition that the client's address lies in one of the networks."""
    return From(
        tuple(networks),
        tuple((net.version, int(net.netmask), int(net.network_address)) for net in networks),
    )


@lru_cache(maxsize=4096)
def address_number(text: str) -> tuple[int, int]:
    """IP version and number of an address; an IPv4 one mapped into IPv6 (RFC 4291 §2.5.5.2) counts as IPv4;
    (0, 0) for what is no address."""
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return 0, 0
    mapped = getattr(address, "ipv4_mapped", None)
    chosen = mapped or address
    return chosen.version, int(chosen)


@dataclass(frozen=True, slots=True)
class Span:
    """Whole numbers from `least` to `most`, both included; `most` None is without end."""

    text: str
    least: int
    most: int | None

    def has(self, number: int) -> bool:
        """Whether the number lies in it."""
        return self.least <= number and (self.most is None or number <= self.most)

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True)
class Amount:
    """A number of the message (size in bytes, recipients) lies in one of the spans."""

    name: str
    spans: tuple[Span, ...]
    number: Callable[[View], int] = field(repr=False, compare=False)

    def holds(self, view: View) -> bool:
        number = self.number(view)
        return any(span.has(number) for span in self.spans)

    def reason(self, view: View) -> str:
        word = "is" if self.holds(view) else "is not"
        return f"{self.name} {self.number(view)} {word} {_either(self.spans)}"


@dataclass(frozen=True, slots=True)
class Hour:
    """The hour of day in UTC is one of these; `text` is what was written."""

    text: str
    hours: frozenset[int]

    def holds(self, view: View) -> bool:
        return view.facts.hour in self.hours

    def reason(self, view: View) -> str:
        word = "is in" if self.holds(view) else "is not in"
        return f"hour {view.facts.hour} (UTC) {word} {self.text}"


@dataclass(frozen=True, slots=True)
class All:
    """Every part holds."""

    parts: tuple[Condition, ...]

    def holds(self, view: View) -> bool:
        for part in self.parts:  # noqa: SIM110 - a generator costs twice the time here
            if not part.holds(view):
                return False
        return True

    def reason(self, view: View) -> str:
        for part in self.parts:
            if not part.holds(view):
                return part.reason(view)
        return "; ".join(part.reason(view) for part in self.parts)


@dataclass(frozen=True, slots=True)
class Any:
    """At least one part holds."""

    parts: tuple[Condition, ...]

    def holds(self, view: View) -> bool:
        for part in self.parts:  # noqa: SIM110 - a generator costs twice the time here
            if part.holds(view):
                return True
        return False

    def reason(self, view: View) -> str:
        for part in self.parts:
            if part.holds(view):
                return part.reason(view)
        return "none of: " + "; ".join(part.reason(view) for part in self.parts)


@dataclass(frozen=True, slots=True)
class Not:
    """The part does not hold."""

    part: Condition

    def holds(self, view: View) -> bool:
        return not self.part.holds(view)

    def reason(self, view: View) -> str:
        return f"not ({self.part.reason(view)})"


def _shown(value: str) -> str:
    """The value for one line of a trail: short, printable, in quotes only where it has spaces."""
    short = value if len(value) <= SHOWN else value[: SHOWN - 1] + "…"
    return short if short.isprintable() and short and " " not in short else repr(short)


def _either(choices: Sequence[object]) -> str:
    return " or ".join(str(choice) for choice in choices)
