"""A decision and its trail as lines for people."""

from __future__ import annotations

from collections.abc import Iterator

from relay.policy.decide import Decision, Step


def explain_lines(decision: Decision) -> list[str]:
    """One line for each rule asked, in order, and what came of it; `decision` made with `explain=True`."""
    width = max((len(step.where) for step in decision.trail), default=0)
    return [*(_step(step, width) for step in decision.trail), *_result(decision)]


def _step(step: Step, width: int) -> str:
    mark = "✓" if step.matched else "·"
    return f"{mark} {step.where:<{width}}  {step.rule}: {step.reason}"


def _result(decision: Decision) -> Iterator[str]:
    if decision.refusal:
        yield f"refused by `{decision.route}`: {decision.refusal}"
        return
    stream = decision.stream
    assert stream is not None, "a decision has a stream or a refusal"
    yield f"stream {stream.name} ({stream.where}), pool {stream.pool}"
    yield f"route {decision.route} ({decision.where})"
    if decision.hold:
        yield "held until an operator releases it"
    if decision.tags:
        yield "tags " + ", ".join(f"{name}={value}" for name, value in decision.tags.items())
    if decision.headers_remove:
        yield "takes out " + ", ".join(decision.headers_remove)
    for name, value in decision.headers_add:
        yield f"puts in {name}: {value}"
    for signing in stream.signings:
        domain = "the From domain" if signing.domain == "from" else signing.domain
        must = "" if signing.required else ", where there is a key"
        yield f"signed for {domain}, selector {signing.selector}, {signing.algorithm}{must}"
    yield f"return path {_return_path(stream.return_path)}"


def _return_path(value: str) -> str:
    if not value:
        return "as the client said"
    return value if "@" in value else f"one of its own for each recipient (VERP) at {value}"
