"""One message, one decision: the first route whose condition holds decides.

1. Routes are asked in order; the last one takes everything.
2. A refusal ends it.
3. The stream is the one forced by credential or listener, else the one the client chose (and may choose),
   else the route's; the route's tags, header edits and `hold` count in every case.

The trail costs several times the decision and is made only when asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from relay.core.reply import Reply
from relay.policy.facts import NO_TAGS, Facts
from relay.policy.model import Policy, Route, Stream
from relay.policy.rules import View

__all__ = ["Decision", "Facts", "Step", "decide"]


@dataclass(frozen=True, slots=True)
class Step:
    """One line of a trail: the rule's name and "file:line", whether it matched, and why or why not."""

    rule: str
    where: str
    matched: bool
    reason: str


@dataclass(frozen=True, slots=True)
class Decision:
    """What is to become of a message. `stream` is None exactly when `refusal` is set; `where` is the
    "file:line" of the route. `headers_add` are names and values to be folded and put in by preparation."""

    stream: Stream | None
    route: str
    tags: Mapping[str, str] = field(default_factory=lambda: NO_TAGS)
    refusal: Reply | None = None
    hold: bool = False
    headers_remove: tuple[str, ...] = ()
    headers_add: tuple[tuple[str, str], ...] = ()
    where: str = ""
    trail: tuple[Step, ...] = ()


def decide(policy: Policy, facts: Facts, *, explain: bool = False) -> Decision:
    """The decision for a message; with `explain`, the trail of rules that led there."""
    view = View(facts)
    position = _position(policy, view)
    route = policy.routes[position]
    trail = _trail(policy, view, position) if explain else ()
    if route.refusal:
        return Decision(None, route.name, refusal=route.refusal, where=route.where, trail=trail)
    stream, step = _stream(policy, facts, route)
    return Decision(
        stream,
        route.name,
        tags=_tags(route, facts),
        hold=route.hold,
        headers_remove=route.headers_remove,
        headers_add=tuple([(name, value.render(facts)) for name, value in route.headers_add]),
        where=route.where,
        trail=(*trail, step) if explain and step else trail,
    )


def _position(policy: Policy, view: View) -> int:
    """The index of the first route that matches."""
    for position, route in enumerate(policy.routes):
        if route.condition is None or route.condition.holds(view):
            return position
    raise ValueError("the policy's last route does not take everything")  # checked when it was compiled


def _stream(policy: Policy, facts: Facts, route: Route) -> tuple[Stream | None, Step | None]:
    """The stream and, where it is not the route's, the step that says so."""
    if not (facts.forced_stream or facts.chosen_stream):
        return route.stream, None
    forced = (facts.forced_stream, "set by the credential or listener")
    for name, why in (forced, (facts.chosen_stream, "chosen by X-Relay-Stream")):
        if stream := policy.streams.get(name):
            return stream, Step(f"stream {name}", stream.where, True, why)
    return route.stream, None


def _tags(route: Route, facts: Facts) -> Mapping[str, str]:
    """The client's tags and the route's, which win; a template that comes out empty sets no tag."""
    if not route.tags:
        return facts.chosen_tags
    tags = dict(facts.chosen_tags)
    for name, template in route.tags:
        if value := template.render(facts):
            tags[name] = value
    return tags


def _trail(policy: Policy, view: View, position: int) -> tuple[Step, ...]:
    """A step for every rule up to the one at `position`, which matched."""
    return tuple(
        Step(
            route.name,
            route.where,
            number == position,
            route.condition.reason(view) if route.condition else "takes everything",
        )
        for number, route in enumerate(policy.routes[: position + 1])
    )
