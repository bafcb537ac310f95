"""Patterns people write in policies: a glob, or a regular expression after `~`; case is ignored.

Values come from strangers, so no pattern may be made to run for long: a glob is matched in one pass, and a
regular expression is refused when its repeats nest (exponential time) or when there are too many of them,
and reads only as much of a value as its form can search in a few milliseconds.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from re import _constants as codes  # type: ignore[attr-defined]
from re import _parser as parser  # type: ignore[attr-defined]
from typing import Any

OPEN_REPEAT = 16  # a repeat that may run longer than this can be made slow by the value
MAX_CHOICES = 16  # bits: 65,536 ways to match at one place
# Characters looked at, by how the time grows with their number: linear, square, cube. Worst case about
# 5 million steps of the regex engine (under 0.1 s).
READ_CHARACTERS = (4000, 4000, 2000, 300)
ANY_RUN, ANY_ONE = "\ue000", "\ue001"  # stand for the `*` and `?` of a glob that is read as a value
REPEATS = frozenset({codes.MAX_REPEAT, codes.MIN_REPEAT, codes.POSSESSIVE_REPEAT})

# What Python 3.11 before .5, as in Debian 12, repeats possessively without a fault (python/cpython#106052); a policy
# must mean the same on every machine.
ONE_CHARACTER = frozenset({codes.LITERAL, codes.NOT_LITERAL, codes.ANY, codes.IN})


@dataclass(frozen=True, slots=True)
class Pattern:
    """A compiled pattern; `text` is what was written and what two patterns are compared by."""

    text: str
    matches: Callable[[str], bool] = field(compare=False, repr=False)

    @property
    def is_regex(self) -> bool:
        """Whether it was written after `~`."""
        return self.text.startswith("~")

    @property
    def is_literal(self) -> bool:
        """Whether exactly one value (but for case) matches."""
        return not self.is_regex and "*" not in self.text and "?" not in self.text

    def __str__(self) -> str:
        return self.text


def compile_pattern(text: str) -> Pattern:
    """The pattern for `text`; raises ValueError with a reason a person can act on."""
    if text.startswith("~"):
        return Pattern(text, _regex(text[1:]))
    return Pattern(text, _glob(text.lower()))


def covers(wide: Pattern, narrow: Pattern) -> bool:
    """Whether everything that `narrow` matches is matched by `wide` too; False where that is undecided.
    A glob is wider when it matches the other read as a value whose `*` and `?` are characters of their own,
    which only a `*` (for `?`, a `?` too) may take."""
    if wide.text.lower() == narrow.text.lower():
        return True
    if wide.is_regex or narrow.is_regex:
        return wide.text == "*"
    probe = narrow.text.lower().replace("*", ANY_RUN).replace("?", ANY_ONE)
    pieces = {"*": ".*", "?": f"[^{ANY_RUN}]"}
    source = "".join(pieces.get(character, re.escape(character)) for character in wide.text.lower())
    return re.fullmatch(source, probe, re.DOTALL) is not None


def _glob(text: str) -> Callable[[str], bool]:
    """The test for a lower-case glob; the common forms need no regular expression."""
    inner = text.strip("*")
    if "*" not in inner and "?" not in text:
        if text == inner:
            return lambda value: value.lower() == text
        if not inner:
            return lambda value: True
        if text.lstrip("*") == text:
            return lambda value: value.lower().startswith(inner)
        if text.rstrip("*") == text:
            return lambda value: value.lower().endswith(inner)
        return lambda value: inner in value.lower()
    first, *rest = (_one_piece(piece) for piece in re.split(r"\*+", text))
    if rest:
        # An atomic group never gives back: the leftmost place of each inner piece is as good as any.
        middle = "".join(f"(?>.*?{piece})" for piece in rest[:-1])
        source = f"{first}{middle}.*{rest[-1]}"
    else:
        source = first
    found = re.compile(source, re.DOTALL).fullmatch
    return lambda value: found(value.lower()) is not None


def _one_piece(piece: str) -> str:
    return "".join("." if character == "?" else re.escape(character) for character in piece)


def _regex(source: str) -> Callable[[str], bool]:
    """The test for a regular expression, searched for anywhere in the value."""
    if not source:
        raise ValueError("there is no regular expression after `~`")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # what will mean something else in a later Python
            tree = parser.parse(source, re.IGNORECASE)
            search = re.compile(source, re.IGNORECASE).search
    except (re.error, OverflowError, RecursionError, Warning) as error:
        raise ValueError(f"the regular expression does not compile: {error}") from None
    read = READ_CHARACTERS[_growth(tree)]
    return lambda value: search(value[:read]) is not None


def _growth(tree: Any) -> int:
    """How the time to search grows: 1 linear, 2 square, 3 cube; raises ValueError beyond that."""
    starts = ((codes.AT, codes.AT_BEGINNING), (codes.AT, codes.AT_BEGINNING_STRING))
    anchored = len(tree) > 0 and tree[0] in starts
    opens, choices = _freedom(tree, times=1)
    growth = opens + (0 if anchored else 1)
    if growth >= len(READ_CHARACTERS) or choices > MAX_CHOICES:
        raise ValueError(
            "the regular expression has too many repeats and choices and could be made to run for seconds;"
            " anchor it with `^`, use fewer, or write it as a glob"
        )
    return growth


def _freedom(tree: Iterable[tuple[Any, Any]], *, times: int) -> tuple[int, int]:
    """How many repeats have no small bound, and how many choices (bits) small ones and alternatives leave, in
    what is repeated up to `times`; raises ValueError for freedom inside a long repeat."""
    opens = choices = 0
    for operation, argument in tree:
        if operation in REPEATS:
            least, most, body = argument
            if operation is codes.POSSESSIVE_REPEAT:
                _only_one_character(body)
            _only_outside(times, varies=most > least)
            is_open = most > OPEN_REPEAT and most > least
            opens += is_open
            choices += 0 if is_open else times * int(most - least).bit_length()
            found = [_freedom(body, times=times * int(most))]
        elif operation is codes.BRANCH:
            _only_outside(times, varies=True)
            choices += times * (len(argument[1]) - 1).bit_length()
            inner = [_freedom(branch, times=times) for branch in argument[1]]
            found = [(max(one[0] for one in inner), max(one[1] for one in inner))]
        else:
            found = [_freedom(part, times=times) for part in _parts(argument)]
        opens += sum(one[0] for one in found)
        choices += sum(one[1] for one in found)
    return opens, choices


def _only_one_character(body: Any) -> None:
    if len(body) != 1 or body[0][0] not in ONE_CHARACTER:
        raise ValueError(
            "the regular expression has a `*+`, `++`, `?+` or `{}+` behind a group, which Python before 3.11.5 matches"
            " wrongly; write it as `(?>(...)*)`"
        )


def _only_outside(times: int, *, varies: bool) -> None:
    if varies and times > OPEN_REPEAT:
        raise ValueError(
            "the regular expression repeats what can itself be matched in several ways, as in `(a+)*` or"
            " `(a|b)*`, and could be made to run for ever; write the inner part without `*`, `+`, `?` or `|`"
        )


def _parts(argument: Any) -> list[Any]:
    """The sub-patterns among an operation's arguments (groups, look-arounds, conditionals)."""
    found = argument if isinstance(argument, tuple) else (argument,)
    return [part for part in found if isinstance(part, parser.SubPattern)]
