"""What a stream's guard makes of a decision: the mail goes elsewhere, waits, carries a tag, or is refused."""

from __future__ import annotations

from dataclasses import replace

from relay.core.headers import Headers
from relay.core.reply import Reply, reply
from relay.policy.decide import Decision, Step
from relay.policy.guard import Finding, Guard, plain_sign
from relay.policy.model import Policy, Stream


def applied(policy: Policy, decision: Decision, stream: Stream, finding: Finding, way: str = "") -> Decision:
    """The decision after the guard of `stream` found bulk mail. Only one guard is asked: mail that was
    rerouted is bulk mail where it belongs. `way` is how to reach the right stream: a listener's port."""
    guard = stream.guard
    assert guard is not None, "only asked where there is a guard"
    if guard.action == "refuse":
        return replace(decision, stream=None, refusal=refusal(stream.name, guard, finding, way))
    tags = {**decision.tags, "guard": finding.sign}
    if guard.action == "reroute":
        return replace(decision, stream=policy.streams[guard.to], tags=tags)
    return replace(decision, tags=tags, hold=decision.hold or guard.action == "hold")


def refusal(stream: str, guard: Guard, finding: Finding, way: str = "") -> Reply:
    """The reply, with the remedy. `way` is how to reach the right stream: a listener's port."""
    there = f"through stream {guard.to}" if guard.to else "through a stream for bulk mail"
    header = f"the header X-Relay-Stream: {guard.to or 'NAME'} where it is allowed"
    ways = f"{way}, or {header}" if way else f"its listener, its credential, or {header}"
    text = f"looks like bulk mail ({finding.words}) in stream {stream}: send it {there} ({ways})"
    return reply(550, "5.7.1", text)


def checked(policy: Policy, decision: Decision, headers: Headers, recipients: int) -> Decision:
    """The decision as the guard leaves it, as far as one message alone can tell: for the policy's own tests
    and for `explain`, which have no memory of other messages."""
    stream = decision.stream
    if stream is None or stream.guard is None:
        return decision
    finding = plain_sign(stream.guard, headers, recipients)
    if finding is None:
        return decision
    step = Step(f"guard of {stream.name}", stream.where, True, f"{finding.words}: {stream.guard.action}")
    decision = replace(decision, trail=(*decision.trail, step))
    return applied(policy, decision, stream, finding)
