"""Who waits for a place that others hold: outlets without room at a gate, or in the relay as a whole."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice

from relay.deliver.outlets import GateKey, OutletKey

EVERYWHERE: GateKey = ("", "")  # stands for the relay's own limit of connections
LOOK_AT = 50  # of those that wait longest: a place must not cost time for each of a thousand sites

Standing = tuple[int, bool]
"""(highest priority that is due, whether the outlet has no connection at all): the greater goes first."""


class Room:
    """`standing` says how urgent an outlet's want is now, None when it wants nothing any more."""

    def __init__(self, standing: Callable[[OutletKey], Standing | None]) -> None:
        self._standing = standing
        self._wanting: dict[GateKey, dict[OutletKey, None]] = {}

    def __bool__(self) -> bool:
        return bool(self._wanting)

    def want(self, gate: GateKey, key: OutletKey) -> bool:
        """Notes that an outlet found no place there; whether that is news."""
        here = self._wanting.setdefault(gate, {})
        news = key not in here
        here[key] = None
        return news

    def first(self, gate: GateKey, but: OutletKey | None = None) -> tuple[OutletKey, Standing] | None:
        """Who is to have the next place there, of equals who waits longest; not `but`."""
        here = self._wanting.get(gate)
        if here is None:
            return None
        standings = {key: self._standing(key) for key in list(islice(here, LOOK_AT))}
        for key, standing in standings.items():
            if standing is None:
                self.served(gate, key)
        able = [(key, standing) for key, standing in standings.items() if standing is not None and key != but]
        return max(able, key=lambda one: one[1], default=None)

    def served(self, gate: GateKey, key: OutletKey) -> None:
        """The outlet waits no more, or asks anew."""
        here = self._wanting.get(gate, {})
        here.pop(key, None)
        if not here:
            self._wanting.pop(gate, None)
