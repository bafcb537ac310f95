"""Objectives of all streams, fed by events: counters, burn rates, and what a restart must not forget.

`core.objective` says what is counted and when. Counting costs a few additions for each recipient; the metrics are
brought up to date when they are read (`show`), and with them everything that has become late since.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from relay.core.events import Event
from relay.core.objective import EXCUSED, Tracker
from relay.observe.metrics import Metrics

WITHDRAWN = frozenset({"cancelled", "suppressed"})
ENDS = WITHDRAWN | {"delivered", "bounced", "expired"}
Promise = tuple[float, float]  # seconds within which, and what share


class Objectives:
    """One tracker for each stream that has an objective."""

    def __init__(self, promises: Mapping[str, Promise]) -> None:
        self.trackers: dict[str, Tracker] = {}
        self._shown: dict[str, tuple[int, int]] = {}
        self.take(promises)

    def take(self, promises: Mapping[str, Promise]) -> None:
        """Begins, changes and ends objectives as the policies say now."""
        for stream in self.trackers.keys() - promises.keys():
            del self.trackers[stream]
            self._shown.pop(stream, None)
        for stream, (within_s, target) in promises.items():
            if tracker := self.trackers.get(stream):
                tracker.promise(within_s, target)
            else:
                self.trackers[stream] = Tracker(within_s, target)

    def on_event(self, event: Event) -> None:
        """Counts one event."""
        tracker = self.trackers.get(event.stream)
        if tracker is None:
            return
        name = event.event
        if name == "accepted":
            recipients: Any = event.detail["recipients"]
            due_at: Any = event.detail.get("due_at", 0.0)
            tracker.accepted(event.message, len(recipients), event.time, held="held" in event.detail, due_at=due_at)
        elif name in ENDS and event.message:
            age_s: Any = event.detail.get("delay_s", 0.0)
            done = name == "delivered"
            tracker.ended(event.message, event.time, age_s, delivered=done, excused=not done and _excused(event))

    def show(self, metrics: Metrics, now: float) -> None:
        """Brings the metrics up to date; a stream is there with 0 from the beginning, or the first late mail
        could not be told from none (a counter that appears with 1 has not grown)."""
        metrics.burn.clear()
        metrics.target.clear()
        for stream, tracker in self.trackers.items():
            tracker.close(now)
            burn, (good, total) = tracker.burn, self._shown.get(stream, (0, 0))
            metrics.good.labels(stream).inc(burn.good - good)
            metrics.total.labels(stream).inc(burn.total - total)
            self._shown[stream] = (burn.good, burn.total)
            metrics.target.labels(stream).set(round(tracker.target, 9))
            for window, rate in burn.rates(now, tracker.target).items():
                metrics.burn.labels(stream, window).set(round(rate, 6))

    def met(self, stream: str) -> float | None:
        """The share of recipients that met the objective since the start; None before the first."""
        tracker = self.trackers.get(stream)
        return tracker.burn.good / tracker.burn.total if tracker and tracker.burn.total else None

    def rates(self, stream: str, now: float) -> dict[str, float]:
        """The burn rate by window; empty for a stream without an objective."""
        tracker = self.trackers.get(stream)
        if tracker is None:
            return {}
        tracker.close(now)
        return tracker.burn.rates(now, tracker.target)

    def keep(self, now: float) -> dict[str, object]:
        """What a restart must not forget: up to when all that became late has been counted, and the windows."""
        for tracker in self.trackers.values():
            tracker.close(now)
        return {
            stream: {"until": now, "windows": tracker.burn.keep(now)} for stream, tracker in self.trackers.items()
        }

    def restore(
        self, stream: str, kept: Mapping[str, Any], waiting: Mapping[str, int], held: Iterable[tuple[str, str]],
        later: Iterable[tuple[str, str]],
    ) -> None:  # fmt: skip
        """Goes on where an earlier life ended: its windows, and the recipients that wait by stretch; `held`
        are (stretch, message) of mail that is held, `later` those of recipients to be sent later."""
        tracker = self.trackers[stream]
        tracker.burn.restore(kept.get("windows", {}))
        tracker.resume(waiting, held, later)


def _excused(event: Event) -> bool:
    """Whether an end without delivery says nothing of us."""
    return event.event in WITHDRAWN or (event.event == "bounced" and event.detail.get("class") in EXCUSED)
