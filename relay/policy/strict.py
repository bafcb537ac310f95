"""Strict YAML: text to a tree of nodes with marks, every mistake a value.

libyaml scans; what it lets pass and people regret is refused here: duplicate keys, merge keys, aliases, tags,
several documents, depth. Scalars follow the YAML 1.2 core schema (YAML 1.2.2 §10.3), so `no` is a word and
`12:30` is not a number; `012` stays text, for half its readers take it for ten.

`load` never raises for any text: it returns what could be read, and every problem found.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml

MAX_CHARACTERS = 1 << 20  # a policy is written by people; a megabyte is no longer one
MAX_DEPTH = 32
MAX_PROBLEMS = 100  # nobody corrects more in one go
MAX_NUMBER = 18  # digits: no reader of these files needs more than 64 bits

INTEGER = re.compile(r"[-+]?(?:0|[1-9][0-9]*)|0o[0-7]+|0x[0-9a-fA-F]+")
FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
# YAML 1.2.2 §5.1, without the byte order mark inside
ALLOWED = "\\t\\n\\r -~\\x85\\xa0-\\ud7ff\\ue000-\\ufefe\\uff00-\\ufffd\\U00010000-\\U0010ffff"
FORBIDDEN = re.compile(f"[^{ALLOWED}]")
LEADING_ZERO = re.compile(r"[-+]?0[0-9]")
WORDS: dict[str, bool | None] = {
    "": None,
    "~": None,
    "null": None,
    "Null": None,
    "NULL": None,
    "true": True,
    "True": True,
    "TRUE": True,
    "false": False,
    "False": False,
    "FALSE": False,
}

Scalar = str | int | float | bool | None
Keys = dict[str, tuple[int, int]]  # where each key is written: line and column
Plain = Scalar | list["Plain"] | dict[str, "Plain"]


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """Something wrong in a file: where (line and column count from 1; 0 where there is no line), what, and
    what to do about it."""

    file: str
    line: int
    column: int
    message: str
    hint: str = ""

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}:{self.column}" if self.line else self.file
        return f"{place}: {self.message}" + (f" ({self.hint})" if self.hint else "")


@dataclass(frozen=True, slots=True)
class Node:
    """A value with its place; a mapping's keys have their own in `keys`."""

    value: Scalar | list[Node] | dict[str, Node]
    line: int
    column: int
    keys: Keys | None = None

    def plain(self) -> Plain:
        """The value without marks."""
        if isinstance(self.value, dict):
            return {key: node.plain() for key, node in self.value.items()}
        if isinstance(self.value, list):
            return [node.plain() for node in self.value]
        return self.value

    def get(self, step: str | int) -> Node | None:
        """The node under a key or index, or None."""
        if isinstance(self.value, dict) and isinstance(step, str):
            return self.value.get(step)
        if isinstance(self.value, list) and isinstance(step, int) and step < len(self.value):
            return self.value[step]
        return None

    def at(self, *path: str | int) -> Node:
        """The deepest node on the path that exists."""
        node = self
        for step in path:
            node = node.get(step) or node
        return node

    def place(self, *path: str | int) -> tuple[int, int]:
        """Line and column of the last key of the path where there is one, else of the value."""
        *parents, last = path or ("",)
        holder = self.at(*parents)
        value = self.at(*path)
        keys = holder.keys or {}
        return keys.get(str(last), (value.line, value.column))


def load(text: str, file: str) -> tuple[Node | None, list[Problem]]:
    """The tree of the one document in `text` (None when it is empty or cannot be read) and all problems."""
    if len(text) > MAX_CHARACTERS:
        hint = f"at most {MAX_CHARACTERS} characters are read; split the file"
        return None, [Problem(file, 1, 1, f"the file is too large ({len(text)} characters)", hint)]
    composer = _Composer(text.removeprefix("\ufeff"), file)
    try:
        return composer.read()
    except yaml.reader.ReaderError as error:
        return None, [_unreadable(text, file, error.position)]
    except UnicodeEncodeError as error:
        return None, [_unreadable(text, file, error.start)]
    except yaml.MarkedYAMLError as error:
        return None, [*composer.problems, _syntax(file, error)]


def _unreadable(text: str, file: str, position: int) -> Problem:
    """A character that may not stand in YAML at all (YAML 1.2.2 §5.1). libyaml counts bytes, so that the
    character is looked for from the start; it is always the first of its kind."""
    bad = FORBIDDEN.search(text)
    at = bad.start() if bad else min(position, len(text))
    line, column = text.count("\n", 0, at) + 1, at - text.rfind("\n", 0, at)
    shown = f"U+{ord(text[at]):04X}" if at < len(text) else "(unknown)"
    hint = "save the file as UTF-8 text"
    return Problem(file, line, column, f"the character {shown} may not stand in YAML", hint)


def _syntax(file: str, error: yaml.MarkedYAMLError) -> Problem:
    mark = error.problem_mark or error.context_mark
    line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
    words = ", ".join(part for part in (error.context, error.problem) if part)
    hint = "check indentation, and quote values that contain `: `, `#`, `*`, `&`, `{`, `[` or `%`"
    if "cannot start any token" in words:
        hint = "indent with spaces, not tabs; quote values that start with `@`, `%` or a backquote"
    elif "alias" in words:
        hint = 'a value that starts with `*` needs quotes: "*@example.com"'
    return Problem(file, line, column, f"not YAML: {words or 'unreadable'}", hint)


class _Enough(Exception):
    """Nothing more is worth reading. libyaml's time grows with the square of the depth: half a megabyte of
    opening brackets took it nine minutes (measured with 0.2.5), so that deep nesting must end the walk."""


class _Composer:
    """Events to nodes, in one walk that no other problem ends."""

    def __init__(self, text: str, file: str) -> None:
        self.file = file
        self.problems: list[Problem] = []
        self.events: Iterator[Any] = yaml.parse(text, Loader=yaml.CSafeLoader)

    def read(self) -> tuple[Node | None, list[Problem]]:
        """The tree, and all problems; no tree where the walk was given up."""
        try:
            return self.document(), self.problems
        except _Enough:
            return None, self.problems

    def document(self) -> Node | None:
        root: Node | None = None
        for event in self.events:
            if isinstance(event, yaml.DocumentStartEvent):
                if root:
                    hint = "keep one document in a file; remove `---`"
                    self.problem(event, "a second document begins here", hint)
                root = self.node(next(self.events), 1)
        return None if root is None or root.value is None else root

    def problem(self, event: Any, message: str, hint: str) -> None:
        self.problems.append(Problem(self.file, *_place(event), message, hint))
        if len(self.problems) >= MAX_PROBLEMS:
            raise _Enough

    def node(self, event: Any, depth: int) -> Node:
        line, column = _place(event)
        if isinstance(event, yaml.AliasEvent):
            hint = f'aliases are not supported; quote what is text: "*{event.anchor}"'
            self.problem(event, f"`*{event.anchor}` is an alias", hint)
            return Node(None, line, column)
        if getattr(event, "tag", None) is not None:
            hint = "remove it; quote text that starts with `!`"
            self.problem(event, f"the tag `{event.tag}` is not supported", hint)
        if isinstance(event, yaml.ScalarEvent):
            # implicit[0]: written plain and untagged, so that the schema decides what it is
            return Node(scalar(event.value) if event.implicit[0] else event.value, line, column)
        if depth > MAX_DEPTH:
            self.problem(event, f"nested more than {MAX_DEPTH} levels deep", "no setting lies that deep")
            raise _Enough
        if isinstance(event, yaml.SequenceStartEvent):
            return Node(list(self.items(depth)), line, column)
        return self.mapping(line, column, depth)

    def items(self, depth: int) -> Iterator[Node]:
        while not isinstance(event := next(self.events), yaml.SequenceEndEvent):
            yield self.node(event, depth + 1)

    def mapping(self, line: int, column: int, depth: int) -> Node:
        entries: dict[str, Node] = {}
        keys: Keys = {}
        while not isinstance(event := next(self.events), yaml.MappingEndEvent):
            key = self.key(event, keys, depth)
            value = self.node(next(self.events), depth + 1)
            if key is not None:
                entries[key] = value
        return Node(entries, line, column, keys)

    def key(self, event: Any, keys: Keys, depth: int) -> str | None:
        """The key's text, or None where there is a problem with it."""
        if not isinstance(event, yaml.ScalarEvent):
            self.node(event, depth + 1)
            hint = "braces and brackets need quotes here"
            self.problem(event, "a key must be one word or quoted text", hint)
            return None
        text = str(event.value)
        if text == "<<" and event.implicit[0]:
            self.problem(event, "merge keys (`<<`) are not supported", "write the settings out")
        elif text in keys:
            first = keys[text][0]
            self.problem(event, f"`{text}` is set twice, first on line {first}", "keep one of them")
        elif not text:
            self.problem(event, "a key is missing before `:`", "name the setting")
        else:
            keys[text] = _place(event)
            return text
        return None


def _place(event: Any) -> tuple[int, int]:
    """Line and column of an event, counted from 1."""
    return event.start_mark.line + 1, event.start_mark.column + 1


def scalar(text: str) -> Scalar:
    """What a plain scalar means in the core schema of YAML 1.2, but that numbers which are no finite 64-bit
    ones, or have a leading zero, stay text."""
    if text in WORDS:
        return WORDS[text]
    if len(text) <= MAX_NUMBER and not LEADING_ZERO.match(text):
        if INTEGER.fullmatch(text):
            return int(text, 0)
        if FLOAT.fullmatch(text) and math.isfinite(number := float(text)):
            return number
    return text
