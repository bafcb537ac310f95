"""Everything that keeps mail back for a while, in the one form in which it is told: who put it there, whom it keeps
back, how, by which rule, until when, and why it ended. Brakes, reply rules, operators and the health of sources all
end here, so that a reader of events need not know which of them it was.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from relay.core.brakes import CREDENTIAL, OPERATOR, PROVIDER, STREAM, Trip
from relay.core.events import Event
from relay.core.health import SourcePause
from relay.core.ledger import Act, Action

LIMITED = ("slow", "connections")  # a source that still sends, at less than it might


class By(StrEnum):
    """Who keeps mail back."""

    BRAKE = "brake"
    REPLY_RULE = "reply rule"
    OPERATOR = "operator"
    HEALTH = "health"


class End(StrEnum):
    """Why it ended."""

    TIME = "time"
    OPERATOR = "operator"


@dataclass(frozen=True, slots=True)
class Pause:
    """`what`: pause, hold, slow, connections or alert. `stream`, `source`, `provider`, `destination` (the name limits
    are counted under), `credential` and `tags` say whom, all of them together. `value` is messages a second or
    connections; `until` Unix s, None until somebody ends it; `seen` what led to it; `id` what commands take."""

    by: By
    what: str
    seen: str
    until: float | None
    id: str = ""
    rule: str = ""
    where: str = ""
    stream: str = ""
    source: str = ""
    provider: str = ""
    destination: str = ""
    credential: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    value: float = 0.0
    observed: bool = False

    def begun(self, now: float) -> Event:
        """The event of its beginning."""
        name = "stream_paused" if not self.source else "source_limited" if self.what in LIMITED else "source_paused"
        return self._event(name, now)

    def ended(self, now: float, why: End) -> Event:
        """The event of its end."""
        return self._event("source_resumed" if self.source else "stream_resumed", now, ended=why.value)

    def _event(self, name: str, now: float, **more: object) -> Event:
        until = None if self.until is None else round(self.until, 3)
        row: dict[str, object] = {
            "id": self.id, "by": self.by.value, "what": self.what, "value": self.value, "source": self.source,
            "provider": self.provider, "destination": self.destination, "credential": self.credential,
            "rule": self.rule, "where": self.where, "until": until, "seen": self.seen, "observed": self.observed,
            **more,
        }  # fmt: skip
        detail = {key: value for key, value in row.items() if value not in ("", None, 0.0)}
        return Event(name, now, stream=self.stream, tags=self.tags, detail=detail)


def of_brake(trip: Trip) -> Pause:
    """A brake, or an operator's pause, which is kept with them."""
    by_hand = trip.rule == OPERATOR
    known = {PROVIDER: "", CREDENTIAL: "", STREAM: ""} | {trip.by: trip.key}
    return Pause(
        By.OPERATOR if by_hand else By.BRAKE, trip.do, trip.seen, trip.until, trip.id,
        "" if by_hand else trip.rule, trip.where, trip.stream, provider=known[PROVIDER], credential=known[CREDENTIAL],
        tags={} if trip.by in (STREAM, PROVIDER, CREDENTIAL) else {trip.by: trip.key}, value=trip.rate_slow,
    )  # fmt: skip


def of_reply(action: Action) -> Pause:
    """What a reply rule does."""
    what = {Act.SLOW: "slow", Act.CONNECTIONS: "connections"}.get(action.act, "pause")
    return Pause(
        By.REPLY_RULE, what, action.reply, action.until, action.id, action.rule, action.where, action.stream,
        action.source, action.provider, action.counted, value=action.value, observed=action.observed,
    )  # fmt: skip


def of_source(pause: SourcePause) -> Pause:
    """A source that cannot be used, or that receivers turn away."""
    return Pause(By.HEALTH, "pause", pause.reason, pause.until, source=pause.source)
