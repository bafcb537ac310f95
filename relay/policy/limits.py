"""Named limits: what several providers or pools may use together, over all sources.

    limits:
      shared address: {connections: 10, messages: 5/s}
    providers:
      gmail: {mx: "*.google.com", limits: [shared address]}
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydantic import Field

from relay.policy.fields import Count
from relay.policy.quantities import Rate
from relay.policy.validate import Entry, nearest

if TYPE_CHECKING:
    from relay.policy.draft import Draft, Placed
    from relay.policy.entries import PoolEntry, ProviderEntry
    from relay.policy.strict import Problem


class NamedLimitEntry(Entry):
    """What all that name it may do together."""

    connections: Count | None = Field(default=None)
    new_connections: Rate | None = None
    messages: Rate | None = None


@dataclass(frozen=True, slots=True)
class NamedLimit:
    """`connections` at once, new connections a minute, messages a second; 0 is no limit."""

    name: str
    connections: int = 0
    connections_per_minute: int = 0
    messages_per_second: float = 0.0
    where: str = ""


def compile_limits(placed: list[Placed[NamedLimitEntry]]) -> Mapping[str, NamedLimit]:
    """The limits by name."""
    return {
        one.name: NamedLimit(
            one.name, one.entry.connections or 0,
            max(1, round(one.entry.new_connections * 60)) if one.entry.new_connections else 0,
            one.entry.messages or 0.0, one.origin.where,
        )
        for one in placed
    }  # fmt: skip


def check_limits(draft: Draft) -> Iterator[Problem]:
    """Limits that limit nothing, that nobody names or that do not exist, and figures that contradict them."""
    known = {one.name: one.entry for one in draft.limits}
    used: set[str] = set()
    users: list[Placed[ProviderEntry] | Placed[PoolEntry]] = [*draft.providers, *draft.pools]
    for user in users:
        used.update(user.entry.limits)
        yield from _names(draft, user)
    for provider in draft.providers:
        for name in provider.entry.limits:
            if name in known:
                yield from _contradictions(provider, name, known[name])
    for limit in draft.limits:
        if not limit.entry.model_fields_set:
            yield limit.origin.problem(
                f"limit `{limit.name}` limits nothing", "give it connections, new_connections or messages"
            )
        elif limit.name not in used:
            hint = f"name it: `limits: [{limit.name}]` in a provider or pool, or remove it"
            yield limit.origin.problem(f"no provider and no pool names the limit `{limit.name}`", hint)


def _names(draft: Draft, user: Placed[ProviderEntry] | Placed[PoolEntry]) -> Iterator[Problem]:
    names = user.entry.limits
    for number, name in enumerate(names):
        if name not in draft.named("limits"):
            hint = nearest(name, list(draft.named("limits")))
            yield user.origin.problem(f"there is no limit `{name}`", hint, "limits", number)
        elif name in names[:number]:
            yield user.origin.problem(f"the limit `{name}` is named twice", "name it once", "limits", number)


def _contradictions(provider: Placed[ProviderEntry], name: str, limit: NamedLimitEntry) -> Iterator[Problem]:
    """One source may never do more than what all may do together."""
    entry = provider.entry.per_source
    for key in ("connections", "new_connections", "messages"):
        mine, most = getattr(entry, key), getattr(limit, key)
        if key in entry.model_fields_set and mine is not None and most is not None and mine > most:
            message = f"`{key}` for each source is more than the limit `{name}` gives to all together"
            hint = f"lower it to at most that of `{name}`, or raise the limit"
            yield provider.origin.problem(message, hint, "per_source", key)
