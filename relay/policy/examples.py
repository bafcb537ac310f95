"""The policy's own tests: messages it describes, decided as real ones are, compared with what it expects."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from relay.policy.decide import Decision, decide
from relay.policy.guarding import checked
from relay.policy.model import Example, Policy


@dataclass(frozen=True, slots=True)
class ExampleResult:
    """How one example went; `differences` are lines of what was expected and what came, empty when passed.
    `trail` says how the decision came about, for those that failed."""

    name: str
    where: str
    passed: bool
    differences: tuple[str, ...]
    trail: tuple[str, ...] = ()


def run_examples(policy: Policy) -> list[ExampleResult]:
    """The result of every example in the order of files and lines."""
    return [_run(policy, example) for example in policy.examples]


def _run(policy: Policy, example: Example) -> ExampleResult:
    given = example.given
    decision = checked(policy, decide(policy, given, explain=True), given.headers, len(given.recipients))
    seen = _seen(decision)
    differences = tuple(_differences(example, seen))
    trail = (
        tuple(f"{step.where} {step.rule}: {step.reason}" for step in decision.trail) if differences else ()
    )
    return ExampleResult(example.name, example.where, not differences, differences, trail)


def _seen(decision: Decision) -> dict[str, object]:
    """The decision in the words of `expect:`."""
    return {
        "route": decision.route,
        "stream": decision.stream.name if decision.stream else None,
        "tags": dict(decision.tags),
        "refused": decision.refusal is not None,
        "held": decision.hold,
    }


def _differences(example: Example, seen: dict[str, object]) -> Iterator[str]:
    for key, wanted in example.expect.items():
        if seen[key] != wanted:
            yield f"{key}: expected {_words(wanted)}, got {_words(seen[key])}"


def _words(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name}={text}" for name, text in value.items()) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"`{value}`" if value is not None else "none"
