"""Who took how much of a busy relay, counted over all fronts: what `core/shares.py` does for one process.

Each front adds to its own row of memory that all share, and reads the others'. What came in fades with time: instead of
making the old smaller, what comes weighs more from second to second (forward decay, Cormode and others, 2009), which
is the same for a share and leaves nothing to be done but adding. From time to time a row is scaled down again.

Streams are counted by place in two tables with a secret key, as clients are in relay/inbound/board.py: a reload may
bring streams that nobody knew when the memory was made.
"""

from __future__ import annotations

import hashlib
import mmap
import secrets
from functools import lru_cache
from math import exp

from relay.core.quota import Quota
from relay.core.shares import FADE_S
from relay.inbound.refusals import Refused

TABLES, PLACES = 2, 256
SCALE_S = 1000.0  # e^100 is far from the end of a double
SINCE, TOTAL, FIRST = range(3)  # of a row: since when it weighs (monotonic s), all streams, the tables
ROW = FIRST + TABLES * PLACES


class Crowd:
    """A row for each front, from number 1; `now` is one steady clock for all of them (time.monotonic())."""

    def __init__(self, fronts: int) -> None:
        self._rows = memoryview(mmap.mmap(-1, 8 * ROW * (fronts + 1))).cast("d")
        self._begins = [ROW * number for number in range(1, fronts + 1)]
        self._key = secrets.token_bytes(16)
        self._places = lru_cache(maxsize=1024)(self._hashed)

    def take(self, number: int, stream: str, now: float) -> None:
        """Counts a message of the stream that comes in at a front."""
        rows, begin = self._rows, ROW * number
        if not 0 <= now - rows[begin + SINCE] < SCALE_S:
            self._scale(begin, now)
        weight = exp((now - rows[begin + SINCE]) / FADE_S)
        for place in (TOTAL, *self._places(stream)):
            rows[begin + place] += weight

    def of(self, stream: str) -> float:
        """The stream's part of what came in lately at all fronts, 0 to 1; or a little more."""
        rows = self._rows
        newest = max(rows[begin + SINCE] for begin in self._begins)
        scales = [(begin, exp((rows[begin + SINCE] - newest) / FADE_S)) for begin in self._begins]
        total, *came = (
            sum(rows[begin + place] * scale for begin, scale in scales) for place in (TOTAL, *self._places(stream))
        )
        return min(came) / total if total else 0.0

    def ended(self, number: int) -> None:
        """Wipes what a front has left behind."""
        begin = ROW * number
        self._rows[begin : begin + ROW] = memoryview(bytes(8 * ROW)).cast("d")

    def _scale(self, begin: int, now: float) -> None:
        scale = exp(min(self._rows[begin + SINCE] - now, 0.0) / FADE_S)
        for at in range(begin + TOTAL, begin + ROW):
            self._rows[at] *= scale
        self._rows[begin + SINCE] = now

    def _hashed(self, stream: str) -> tuple[int, ...]:
        digest = hashlib.blake2b(stream.encode(), digest_size=TABLES, key=self._key).digest()
        return tuple(FIRST + table * PLACES + digest[table] for table in range(TABLES))


def past_share(stream: str, quota: Quota) -> Refused:
    """The refusal for a stream that has more than its share of a busy relay."""
    return Refused("quota-accepts", stream=stream, share=f"{quota.accepts:.0%}")
