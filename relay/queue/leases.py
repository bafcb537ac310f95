"""Copies of the queue under way: while one lasts, bodies whose messages have ended stay where they are.

Whoever copies asks for a lease first and renews it; a lease nobody renews ends by itself, so that a copy that
died costs disk space for a minute and nothing else. What was kept goes with the first removal after it, or at
the next start.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Iterable

LEASE_S = 60.0


class Leases:
    """Asked from the event loop and from the database's thread. `clock` gives seconds that never go back."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._until: dict[str, float] = {}
        self._later: set[str] = set()
        self._lock = threading.Lock()

    @property
    def any(self) -> bool:
        """Whether a copy is under way."""
        now = self._clock()
        return any(until > now for until in self._until.values())

    def begin(self) -> str:
        """A new lease for LEASE_S seconds; returns its name."""
        name = secrets.token_hex(8)
        with self._lock:
            now = self._clock()
            self._until = {one: until for one, until in self._until.items() if until > now}
            self._until[name] = now + LEASE_S
        return name

    def renew(self, name: str) -> bool:
        """LEASE_S more from now; False for a lease that has ended: what it kept may be gone."""
        with self._lock:
            if self._until.get(name, 0.0) <= self._clock():
                return False
            self._until[name] = self._clock() + LEASE_S
            return True

    def end(self, name: str) -> bool:
        """Gives a lease back; False for one that had ended."""
        with self._lock:
            return self._until.pop(name, 0.0) > self._clock()

    def removable(self, messages: Iterable[str]) -> set[str]:
        """Which bodies may be deleted now, of these and those kept before; none while a copy is under way."""
        with self._lock:
            self._later.update(messages)
            if not self._later or self.any:
                return set()
            gone, self._later = self._later, set()
            return gone
