"""What is wrong between a stream's `guard:`, `require:` and `quota:` and the rest of the policy."""

from __future__ import annotations

from collections.abc import Iterator

from relay.policy.draft import Draft, Placed
from relay.policy.entries import StreamEntry
from relay.policy.strict import Problem
from relay.policy.validate import nearest


def check_doors(draft: Draft) -> Iterator[Problem]:
    """Every contradiction."""
    for stream in draft.streams:
        yield from _guard(stream, sorted(draft.named("streams")))
        yield from _require(stream)
        if stream.entry.quota is not None and not stream.entry.quota.model_fields_set:
            hint = "give messages, bytes, share_of_disk, share_of_accepts or rate, or remove it"
            yield stream.origin.problem("an empty quota limits nothing", hint, "quota")


def _guard(stream: Placed[StreamEntry], streams: list[str]) -> Iterator[Problem]:
    guard, origin = stream.entry.guard, stream.origin
    if guard is None:
        return
    if guard.bulk == "reroute" and guard.to is None:
        yield origin.problem("`bulk: reroute` does not say where to", "add `to: STREAM`", "guard", "bulk")
    if guard.to is not None and guard.bulk in ("hold", "tag"):
        message = f"`to` has no effect with `bulk: {guard.bulk}`"
        yield origin.problem(message, "remove it, or write `bulk: reroute`", "guard", "to")
    elif guard.to == stream.name:
        yield origin.problem("bulk mail would go where it is", "name another stream", "guard", "to")
    elif guard.to is not None and guard.to not in streams:
        yield origin.problem(f"there is no stream `{guard.to}`", nearest(guard.to, streams), "guard", "to")
    for key in ("recipients", "same_content"):
        if key in guard.model_fields_set and key not in guard.signs:
            yield origin.problem(f"`{key}` is not among the `signs`", "list it there, or remove it", "guard", key)


def _require(stream: Placed[StreamEntry]) -> Iterator[Problem]:
    entry, origin = stream.entry, stream.origin
    for number, name in enumerate(entry.require):
        if name in entry.require[:number]:
            yield origin.problem(f"`{name}` is required twice", "remove one", "require", number)
    if "aligned_dkim" in entry.require and not entry.dkim:
        hint = "add `dkim: [{domain: from, selector: NAME}]`"
        yield origin.problem("`aligned_dkim` is required, and nothing is signed", hint, "require")
    guard = entry.guard
    if "list_unsubscribe" in entry.require and guard is not None and "headers" in guard.signs and guard.bulk != "tag":
        message = "`require` asks for List-Unsubscribe, and `guard` takes what has it for bulk mail"
        yield origin.problem(message, "remove one of them, or leave `headers` out of the guard's `signs`", "guard")
