"""Mail that a pause holds back: left to the store until the pause ends, so that a paused provider neither fills
memory nor keeps the rest of its stream waiting. Nothing is written for it, and no attempt is counted."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from relay.core.lanes import Lanes
from relay.core.outcome import Outcome, Phase, Trouble, judge
from relay.core.waiting import Waiting
from relay.deliver.actions import Actions
from relay.deliver.connector import Connector
from relay.deliver.resolve import Route
from relay.deliver.routing import Routing
from relay.deliver.settle import LAST_RESORT, Settler
from relay.policy.model import Policy

LOOK_AGAIN_S = 600.0  # how often parked mail is read again because some of it has expired
GRACE_S = 60.0


class Delivering(Protocol):
    """What is needed of the dispatcher."""

    lanes: Lanes
    connector: Connector
    routing: Routing
    settler: Settler
    policy: Callable[[], Policy]
    clock: Callable[[], float]
    left: Callable[[str, int], None]

    def unroutable(self, places: Sequence[Waiting], outcome: Outcome) -> None: ...


class Parking:
    """Beside the dispatcher it serves. `again` has a stream's queue read anew."""

    def __init__(self, delivering: Delivering, actions: Actions, again: Callable[[str], None]) -> None:
        self.delivering, self.actions, self.again = delivering, actions, again
        self.counts: Counter[str] = Counter()  # by stream, for metrics
        self._first_expiry = float("inf")
        self._looked_at = float("-inf")
        actions.begun, actions.ended = self._limits_begun, self._limits_ended

    def takes(self, waiting: Waiting, route: Route) -> bool:
        """Parks one whose stream is paused towards where it goes."""
        if not self.actions.ledger.limits:
            return False
        if self.actions.stream_pause(waiting.stream, self.delivering.routing.terms(route).counted) is None:
            return False
        self.park([waiting])
        return True

    def park(self, places: Sequence[Waiting]) -> None:
        """Forgets places until `release`; those that have expired come to their end."""
        delivering, now = self.delivering, self.delivering.clock()
        streams: Mapping[str, float] = {
            name: stream.retry.expire_s for name, stream in delivering.policy().streams.items()
        }
        for waiting in places:
            expires = waiting.received_at + streams.get(waiting.stream, LAST_RESORT.expire_s)
            if expires <= now:
                delivering.unroutable([waiting], judge(Trouble.EXPIRED, Phase.CONNECT))
                continue
            self._first_expiry = min(self._first_expiry, expires)
            self.counts[waiting.stream] += 1
            delivering.left(waiting.stream, 1)
            delivering.settler.done([waiting], [])

    def release(self) -> None:
        """Has everything read again that was parked; what is still paused comes back here."""
        streams = list(self.counts)
        self.counts.clear()
        self._first_expiry, self._looked_at = float("inf"), self.delivering.clock()
        for stream in streams:
            self.again(stream)

    def sweep(self) -> None:
        """Expiry holds in every state: reads parked mail again when some of it has had its time."""
        now = self.delivering.clock()
        since_s = now - self._looked_at
        if self._first_expiry + GRACE_S <= now and not 0 <= since_s < LOOK_AGAIN_S:
            self.release()

    def _limits_begun(self) -> None:
        """A reply led to a limit: gates take it before the connection that heard it asks for more; the rest may
        follow when that is over."""
        self.delivering.connector.renew()
        asyncio.get_running_loop().call_soon(self._clear_lanes)

    def _clear_lanes(self) -> None:
        """Parks what paused streams have in the lanes; what only a source may not take finds another one."""
        delivering, connector = self.delivering, self.delivering.connector
        for key, outlet in list(delivering.lanes.outlets.items()):
            counted = delivering.routing.terms(connector.links[key].route).counted
            for stream in list(outlet.lanes):
                if self.actions.stream_pause(stream, counted) is not None:
                    self.park(delivering.lanes.take_lane(outlet, stream))
            connector.serve_again(key)

    def _limits_ended(self) -> None:
        """A limit is no more: gates take what the policy says, and what was parked is read again."""
        self.delivering.connector.renew()
        self.release()
        for key in list(self.delivering.lanes.outlets):
            self.delivering.connector.serve_again(key)
