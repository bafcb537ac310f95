"""Events go out here: each published once, told to every listener in order, synchronously."""

from __future__ import annotations

from collections.abc import Callable

from relay.core.events import Event

Listener = Callable[[Event], None]


class Bus:
    """Metrics, the event log and whoever else wants to know. A listener must be quick and must not raise;
    one that has to wait keeps its own queue."""

    def __init__(self) -> None:
        self._listeners: list[Listener] = []

    def subscribe(self, listener: Listener) -> None:
        """Every later event is told to `listener`."""
        self._listeners.append(listener)

    def publish(self, event: Event) -> None:
        """Tells all listeners, in the order in which they subscribed."""
        for listener in self._listeners:
            listener(event)
