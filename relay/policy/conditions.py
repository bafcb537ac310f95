"""From what `when:` says to a compiled condition, and what can be known to be always false in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from relay.core.pattern import Pattern
from relay.policy.entries import MatchEntry
from relay.policy.rules import (
    All,
    Amount,
    Any,
    Condition,
    From,
    HeaderThere,
    Hour,
    Not,
    Span,
    Text,
    View,
    client_in,
)

Path = tuple[str | int, ...]

TEXTS: dict[str, Callable[[View], Sequence[str]]] = {
    "listener": lambda view: (view.facts.listener,),
    "credential": lambda view: (view.facts.credential,) if view.facts.credential else (),
    "sender": lambda view: (view.sender,),
    "recipient": lambda view: view.facts.recipients,
    "subject": lambda view: (view.subject,),
}
ONE_VALUE = {"listener", "credential", "sender", "subject"}


def compile_match(entry: MatchEntry) -> Condition:
    """The condition of a `when:`; several keys must all hold."""
    parts = tuple(_parts(entry))
    return parts[0] if len(parts) == 1 else All(parts)


def _parts(entry: MatchEntry) -> Iterator[Condition]:
    """The keys' conditions, the cheapest to ask first: a message's envelope before its headers."""
    for name in ("listener", "credential", "sender"):
        if patterns := getattr(entry, name):
            yield Text(name, tuple(patterns), TEXTS[name])
    if entry.client:
        yield client_in(entry.client)
    if entry.size:
        yield Amount("size", tuple(entry.size), lambda view: view.facts.size)
    if entry.recipients:
        yield Amount("recipients", tuple(entry.recipients), lambda view: len(view.facts.recipients))
    if entry.hour:
        hours = frozenset(number for part in entry.hour for number in part.hours)
        yield Hour(" or ".join(part.text for part in entry.hour), hours)
    for name in ("recipient", "subject"):
        if patterns := getattr(entry, name):
            yield Text(name, tuple(patterns), TEXTS[name])
    for name, patterns in (entry.header or {}).items():
        yield _header(name, tuple(patterns))
    if entry.none:
        yield Not(compile_match(entry.none))
    if entry.any:
        yield Any(tuple(compile_match(part) for part in entry.any))
    if entry.all:
        yield All(tuple(compile_match(part) for part in entry.all))


def _header(name: str, patterns: tuple[Pattern, ...]) -> Condition:
    """`present` and `absent` are words, not values; write ~^present$ for a header that says so."""
    key = name.lower().encode()
    if len(patterns) == 1 and patterns[0].text in ("present", "absent"):
        return HeaderThere(name, key, patterns[0].text == "present")
    return Text(f"header {name}", patterns, lambda view: view.header(key))


def empty_matches(entry: MatchEntry, path: Path) -> Iterator[Path]:
    """The places of mappings without any key, which would say nothing."""
    if not any(getattr(entry, name) for name in type(entry).model_fields):
        yield path
    for part, inner in inner_matches(entry, path):
        yield from empty_matches(part, inner)


def inner_matches(entry: MatchEntry, path: Path) -> Iterator[tuple[MatchEntry, Path]]:
    """The parts that `all`, `any` and `not` nest, with their places."""
    for key, parts in (("all", entry.all), ("any", entry.any)):
        for number, part in enumerate(parts or []):
            yield part, (*path, key, number)
    if entry.none:
        yield entry.none, (*path, "not")


def names_used(entry: MatchEntry, path: Path, name: str) -> Iterator[tuple[Pattern, Path]]:
    """Every pattern for `listener` or `credential` with its place."""
    for number, pattern in enumerate(getattr(entry, name) or []):
        yield pattern, (*path, name, number)
    for part, inner in inner_matches(entry, path):
        yield from names_used(part, inner, name)


def never(condition: Condition) -> str:
    """Why the condition can hold for no message, or "" where it may (or that cannot be told)."""
    if isinstance(condition, Any):
        reasons = [never(part) for part in condition.parts]
        return next(filter(None, reasons), "")  # one dead branch is a mistake already
    if isinstance(condition, Amount):
        spans = condition.spans
        dead = next((span for span in spans if span.most is not None and span.most < span.least), None)
        return f"{condition.name} cannot be {dead}" if dead else ""
    if not isinstance(condition, All):
        return ""
    parts = list(_flat(condition))
    for number, part in enumerate(parts):
        if reason := never(part):
            return reason
        for other in parts[number + 1 :]:
            if reason := _clash(part, other):
                return reason
    return ""


def _flat(condition: Condition) -> Iterator[Condition]:
    if isinstance(condition, All):
        for part in condition.parts:
            yield from _flat(part)
    else:
        yield condition


def _clash(one: Condition, other: Condition) -> str:
    """Why two conditions cannot hold together."""
    if Not(one) == other or one == Not(other):
        return "it asks for something and for its opposite"
    match one, other:
        case Text(), Text() if one.name == other.name and one.name in ONE_VALUE:
            clash = not _common(one.patterns, other.patterns)
            return (
                f"{one.name} cannot be both {_words(one.patterns)} and {_words(other.patterns)}"
                if clash
                else ""
            )
        case From(), From():
            shared = any(
                a.version == b.version and a.overlaps(b) for a in one.networks for b in other.networks
            )
            return "" if shared else "client cannot be in both networks"
        case Hour(), Hour():
            return "" if one.hours & other.hours else f"hour cannot be both {one.text} and {other.text}"
        case Amount(), Amount() if one.name == other.name:
            clash = not any(_meet(a, b) for a in one.spans for b in other.spans)
            return f"{one.name} cannot be both {_words(one.spans)} and {_words(other.spans)}" if clash else ""
        case HeaderThere(), HeaderThere() if one.key == other.key and one.wanted != other.wanted:
            return f"header {one.name} cannot be both present and absent"
    return ""


def _common(ones: Sequence[Pattern], others: Sequence[Pattern]) -> bool:
    """Whether some value may match both; told only where one side is literal."""
    for one in ones:
        for other in others:
            if not one.is_literal and not other.is_literal:
                return True
            literal, wide = (one, other) if one.is_literal else (other, one)
            if wide.matches(literal.text):
                return True
    return False


def _meet(one: Span, other: Span) -> bool:
    least = max(one.least, other.least)
    return all(most is None or least <= most for most in (one.most, other.most))


def _words(choices: Sequence[object]) -> str:
    return " or ".join(str(choice) for choice in choices)
