"""Slowing down whoever guesses passwords: by address and by account, growing, forgotten in time.

The clock is an argument. Attempts of one key are put in a queue of time slots, so that a hundred parallel
connections guess no faster than one.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

FREE_FAILURES = 2  # a person mistypes; nothing slows down before the third
FIRST_DELAY_S = 1.0
MAX_DELAY_S = 60.0
FORGET_S = 900.0  # a quarter of an hour without a failure
MAX_WAIT_S = 10.0  # longer waits are refused: a waiting connection costs memory
MAX_KEYS = 10_000


@dataclass(slots=True)
class _Record:
    failures: int = 0
    next_at: float = 0.0
    failed_at: float = 0.0


class Backoff:
    """Failures by key, in a bounded table: when it is full the oldest key is forgotten."""

    def __init__(self, max_keys: int = MAX_KEYS) -> None:
        self._records: OrderedDict[str, _Record] = OrderedDict()
        self._max_keys = max_keys

    def __len__(self) -> int:
        return len(self._records)

    def wait_s(self, keys: tuple[str, ...], now: float) -> float | None:
        """Seconds until an attempt under all these keys may be checked, taking the slot; None: refuse it,
        the queue is too long already."""
        records = [record for key in keys if (record := self._current(key, now)) is not None]
        slot = max([now, *(record.next_at for record in records)])
        if slot - now > MAX_WAIT_S:
            return None
        for record in records:
            record.next_at = slot + _delay_s(record.failures)
        return slot - now

    def failed(self, keys: tuple[str, ...], now: float) -> None:
        """Counts a wrong password under each key."""
        for key in keys:
            record = self._current(key, now) or _Record()
            record.failures += 1
            record.failed_at = now
            record.next_at = max(record.next_at, now + _delay_s(record.failures))
            self._records[key] = record
            self._records.move_to_end(key)
        while len(self._records) > self._max_keys:
            self._records.popitem(last=False)

    def succeeded(self, key: str) -> None:
        """Forgets the failures of a key that has proved itself. An address is never forgiven by one right
        password: a guesser with one account of his own would reset himself."""
        self._records.pop(key, None)

    def _current(self, key: str, now: float) -> _Record | None:
        record = self._records.get(key)
        if record is not None and now - record.failed_at > FORGET_S:
            del self._records[key]
            return None
        return record


def _delay_s(failures: int) -> float:
    """0 for the free ones, then 1, 2, 4 ... 60 seconds."""
    if failures <= FREE_FAILURES:
        return 0.0
    return float(min(FIRST_DELAY_S * 2 ** min(failures - FREE_FAILURES - 1, 10), MAX_DELAY_S))
