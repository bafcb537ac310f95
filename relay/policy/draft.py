"""The entries of all policy files side by side, each with its place, before they are compiled.

Every entry is checked by itself, so that a mistake in one does not hide those in another.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from relay.policy.entries import (
    ExampleEntry,
    PolicyFile,
    PoolEntry,
    ProviderEntry,
    RouteEntry,
    StreamEntry,
)
from relay.policy.limits import NamedLimitEntry
from relay.policy.quantities import shown
from relay.policy.strict import Node, Problem
from relay.policy.validate import Entry, nearest, validate

AnyEntry = TypeVar("AnyEntry", bound=Entry)
Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Origin:
    """The place of an entry: the path to it in the tree of a file."""

    file: str
    root: Node
    path: Path

    @property
    def where(self) -> str:
        """ "file:line" of the entry's name."""
        return self.line_of()

    def line_of(self, *more: str | int) -> str:
        """ "file:line" of what lies at `more` inside it."""
        return f"{self.file}:{self.root.place(*self.path, *more)[0]}"

    def at(self, *more: str | int) -> str:
        """ "file:line" of what lies inside the entry."""
        return f"{self.file}:{self.root.place(*self.path, *more)[0]}"

    def problem(self, message: str, hint: str, *more: str | int) -> Problem:
        """A problem with the entry, or with what lies at `more` inside it."""
        return Problem(self.file, *self.root.place(*self.path, *more), message, hint)


@dataclass(frozen=True, slots=True)
class Placed(Generic[AnyEntry]):
    """An entry with its name and place."""

    name: str
    entry: AnyEntry
    origin: Origin


@dataclass(slots=True)
class Draft:
    """Everything written in all files. `names` also has those of entries that are wrong inside, so that
    what refers to them is not called wrong too."""

    streams: list[Placed[StreamEntry]] = field(default_factory=list)
    pools: list[Placed[PoolEntry]] = field(default_factory=list)
    routes: list[Placed[RouteEntry]] = field(default_factory=list)
    providers: list[Placed[ProviderEntry]] = field(default_factory=list)
    limits: list[Placed[NamedLimitEntry]] = field(default_factory=list)
    tests: list[Placed[ExampleEntry]] = field(default_factory=list)
    names: dict[str, dict[str, Origin]] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def named(self, section: str) -> dict[str, Origin]:
        """The names in a section, the first place of each."""
        return self.names.setdefault(section, {})


def draft(trees: Mapping[str, Node]) -> Draft:
    """The entries of the files (base name → tree), by file name and then as written."""
    result = Draft()
    for file in sorted(trees):
        root = trees[file]
        if not isinstance(root.value, dict):
            message = f"a policy file is a mapping of sections, not {shown(root.plain())}"
            result.problems.append(Problem(file, root.line, root.column, message, _sections()))
            continue
        for section in root.value:
            _section(result, section, Origin(file, root, (section,)))
    return result


def _section(result: Draft, section: str, origin: Origin) -> None:
    """Files one section of one file."""
    match section:
        case "streams":
            result.streams += _collect(result, section, origin, StreamEntry)
        case "pools":
            result.pools += _collect(result, section, origin, PoolEntry)
        case "routes":
            result.routes += _collect(result, section, origin, RouteEntry)
        case "providers":
            result.providers += _collect(result, section, origin, ProviderEntry)
        case "limits":
            result.limits += _collect(result, section, origin, NamedLimitEntry)
        case "tests":
            result.tests += _collect(result, section, origin, ExampleEntry)
        case _:
            hint = nearest(section, list(PolicyFile.model_fields))
            result.problems.append(origin.problem(f"unknown section `{section}`", hint))


def _collect(
    result: Draft, section: str, origin: Origin, model: type[AnyEntry]
) -> Iterator[Placed[AnyEntry]]:
    """The entries of a section that are right by themselves; problems of the others are noted."""
    for name, inner in _entries(result, section, origin):
        known = result.named(section)
        if name in known:
            first = known[name].where
            result.problems.append(
                inner.problem(f"`{name}` is there already, in {first}", "rename one of them")
            )
        known.setdefault(name, inner)
        entry, problems = validate(model, inner.root, inner.file, path=inner.path)
        result.problems += problems
        if entry:
            yield Placed(name, entry, inner)


def _entries(result: Draft, section: str, origin: Origin) -> Iterator[tuple[str, Origin]]:
    """Name and place of each entry: the keys of a mapping, or what `name:` says in a list."""
    is_list = section in ("routes", "tests")
    content = origin.root.at(section)
    if isinstance(content.value, dict) and not is_list:
        for name in content.value:
            yield name, Origin(origin.file, origin.root, (section, name))
    elif isinstance(content.value, list) and is_list:
        for number, node in enumerate(content.value):
            given = node.get("name")
            text = str(given.value) if given else f"({section} {number + 1})"
            yield text, Origin(origin.file, origin.root, (section, number))
    else:
        form = "a list; start each entry with `- name:`" if is_list else "a mapping of names to settings"
        result.problems.append(origin.problem(f"`{section}` must be {form}", "see docs/policies.md"))


def _sections() -> str:
    return "sections: " + ", ".join(PolicyFile.model_fields)
