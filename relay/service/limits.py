"""The ledger of reply rules, as operators see it."""

from __future__ import annotations

from collections.abc import Sequence

from relay.core.ledger import PAUSES, Action
from relay.deliver.actions import describe, what
from relay.deliver.resolve import Route
from relay.policy.model import Pool
from relay.service.relay import Relay
from relay.web.operator import Explanation, LimitState


def limits(relay: Relay) -> list[LimitState]:
    """Every action in force, the one that ends first first."""
    relay.actions.expire()
    found = sorted(relay.actions.ledger.actions.values(), key=_end)
    return [_state(action) for action in found]


def cancel_limit(relay: Relay, name: str) -> str:
    """Ends one; what it was, or "" when there is none with that id."""
    found = relay.actions.cancel(name)
    return describe(found) if found else ""


def why_paused(relay: Relay, pool: Pool, route: Route, stream: str) -> Action | None:
    """The pause that keeps a stream's mail from a site, or None: its own, or one of each source of its pool."""
    counted = relay.routing.terms(route).counted
    if (own := relay.actions.stream_pause(stream, counted)) is not None:
        return own
    pauses = [relay.actions.source_pause(source.name, counted) for source in pool.sources]
    held = [one for one in pauses if one is not None]
    return min(held, key=_end) if len(held) == len(pauses) else None


def first_limit(relay: Relay, pools: Sequence[Pool], counted: str, stream: str) -> Action | None:
    """The most telling action in force towards a destination, for one stream or any: a pause before a rate, the
    longest first."""
    found = [one for one in _bearing(relay, pools, counted, stream) if not one.observed]
    return max(found, key=lambda one: (one.act in PAUSES, one.until), default=None)


def limit_lines(relay: Relay, pools: Sequence[Pool], counted: str, stream: str) -> list[str]:
    """One line for each action in force towards a destination, for one stream or any."""
    return [f"limit {one.id}: {describe(one)}" for one in _bearing(relay, pools, counted, stream)]


def limit_explained(action: Action, subject: str, detail: tuple[str, ...]) -> Explanation:
    """What an action means for a recipient or a destination."""
    more = (f"the reply was: {action.reply}", f"to end it now: relay limits cancel {action.id}")
    return Explanation(subject, describe(action), action.where, action.until, more + detail)


def _bearing(relay: Relay, pools: Sequence[Pool], counted: str, stream: str) -> list[Action]:
    sources = {source.name for pool in pools for source in pool.sources}
    found = [one for one in relay.actions.ledger.actions.values() if one.counted == counted]
    return [one for one in found if (stream in ("", one.stream) if one.stream else one.source in sources)]


def _end(action: Action) -> tuple[float, str]:
    return (action.until, action.id)


def _state(action: Action) -> LimitState:
    return LimitState(
        id=action.id, what=what(action), act=action.act.value, source=action.source, stream=action.stream,
        towards=action.counted, provider=action.provider, value=action.value, since=action.since,
        until=action.until, replies=action.times, rule=action.rule, where=action.where, reply=action.reply,
        observed=action.observed,
    )  # fmt: skip
