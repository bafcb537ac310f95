"""A tree of nodes against a pydantic model: a value, or problems at the line and column of each mistake."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from types import UnionType
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails

from relay.policy.quantities import shown
from relay.policy.strict import Node, Problem

KINDS = {
    "dict_type": "a mapping of names to settings",
    "list_type": "a list",
    "model_type": "a mapping of settings",
}


class Entry(BaseModel):
    """A mapping in a file: unknown keys are mistakes, values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)


Model = TypeVar("Model", bound=BaseModel)
Path = tuple[str | int, ...]


def validate(
    model: type[Model],
    node: Node,
    file: str,
    *,
    path: Path = (),
    context: dict[str, Any] | None = None,
) -> tuple[Model | None, list[Problem]]:
    """The model filled from what lies at `path` in the tree, or None and a problem for every mistake.
    `context` reaches the model's own validators."""
    try:
        return model.model_validate(node.at(*path).plain(), context=context), []
    except ValidationError as error:
        problems = [_problem(model, node, file, path, one) for one in error.errors(include_url=False)]
        return None, sorted(set(problems))


def nearest(word: str, allowed: Sequence[str]) -> str:
    """A hint for a wrong word: the nearest right one where there is one, and all that are allowed."""
    close = get_close_matches(word.lower(), allowed, n=1, cutoff=0.6)
    start = f"did you mean `{close[0]}`? " if close else ""
    return f"{start}allowed: {', '.join(allowed)}" if allowed else "there are none"


def _problem(model: type[BaseModel], node: Node, file: str, start: Path, error: ErrorDetails) -> Problem:
    """The place and the words for one of pydantic's errors."""
    inner = _real_path(node.at(*start), error["loc"])
    path = [*start, *inner]
    kind, value = error["type"], error["input"]
    if kind == "extra_forbidden":
        name = str(path[-1])
        hint = nearest(name, _allowed(model, inner[:-1]))
        return Problem(file, *node.place(*path), f"unknown key `{name}`", hint)
    if kind == "missing":
        missing = str(error["loc"][-1])
        return Problem(file, *node.place(*path), f"`{missing}` is missing{_in(path)}", "add it")
    spot = node.at(*path)
    message, hint = _words(error, kind, value)
    return Problem(file, spot.line, spot.column, f"{_dotted(path)}{message}", hint)


def _words(error: ErrorDetails, kind: str, value: Any) -> tuple[str, str]:
    """Message and hint for a value that is wrong."""
    context = error.get("ctx", {})
    if kind == "literal_error":
        allowed = [word.strip(" '") for word in str(context["expected"]).replace(" or ", ", ").split(",")]
        return f"{shown(value)} is not allowed", nearest(str(value), allowed)
    if kind == "too_short":
        return "must not be empty", ""
    if kind in KINDS:
        return f"must be {KINDS[kind]}, not {shown(value)}", ""
    if kind == "value_error":
        message, _, hint = str(context["error"]).partition("; ")
        return message, hint
    bounds = {
        "greater_than": "more than",
        "greater_than_equal": "at least",
        "less_than": "less than",
        "less_than_equal": "at most",
    }
    if kind in bounds:
        return f"must be {bounds[kind]} {next(iter(context.values()))}, not {shown(value)}", ""
    return error["msg"][0].lower() + error["msg"][1:], ""


def _real_path(node: Node, location: tuple[int | str, ...]) -> list[str | int]:
    """The part of pydantic's location that exists in the file: one value may stand for a list of it."""
    path: list[str | int] = []
    for step in location:
        inner = node.get(step)
        if inner is None:
            break
        path.append(step)
        node = inner
    return path


def _dotted(path: list[str | int]) -> str:
    words = "".join(f"[{step + 1}]" if isinstance(step, int) else f".{step}" for step in path[-2:])
    return f"{words.lstrip('.')}: " if words else ""


def _in(path: list[str | int]) -> str:
    return f" in `{_dotted(path)[:-2]}`" if path else ""


def _allowed(model: type[BaseModel], path: list[str | int]) -> list[str]:
    """The keys that the mapping at `path` may have."""
    kind: Any = model
    for step in path:
        kind = _inner(kind, step)
    chosen = _model_of(kind)
    return [field.alias or name for name, field in chosen.model_fields.items()] if chosen else []


def _inner(kind: Any, step: str | int) -> Any:
    """The type of what lies under a key or index of a type."""
    if model := _model_of(kind):
        fields = {field.alias or name: field.annotation for name, field in model.model_fields.items()}
        return fields.get(str(step))
    return _parts(kind)[-1] if _parts(kind) else None


def _model_of(kind: Any) -> type[BaseModel] | None:
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return kind
    if get_origin(kind) in (Union, UnionType, Annotated):
        return next((model for part in get_args(kind) if (model := _model_of(part))), None)
    return None


def _parts(kind: Any) -> tuple[Any, ...]:
    """The arguments of a list or mapping type, through unions and annotations."""
    if get_origin(kind) in (list, dict):
        return get_args(kind)
    return next((found for part in get_args(kind) if (found := _parts(part))), ())
