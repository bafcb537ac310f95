"""What several fronts count together: connections and memory, in memory that they share.

A page of anonymous shared memory is made before the first front is started. Each front writes its own part and reads
the others'. Who wants a place writes first and looks then: when the sum is too large it takes its place back. So two
who come at once may both be refused the last place, but never both be given it. No lock, and none to be left behind by
a process that dies: its part is wiped before it is started again.

Connections of one client are counted by place in two tables of PLACES places each (a count-min sketch, after Cormode
and Muthukrishnan, 2005, with a secret key): clients that share a place in both count for one another, which makes a
limit reached early only when such neighbours hold many connections at once.
"""

from __future__ import annotations

import hashlib
import mmap
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from relay.inbound.crowd import Crowd

PLACES = 4096
TABLES = 2
MOST_FRONTS = 64


@dataclass(frozen=True, slots=True)
class Life:
    """One child process: its pid (0: none), how often it was started again, since when it lives (Unix s)."""

    pid: int
    restarts: int
    since: int


PID, RESTARTS, SINCE, MEMORY, UNDER_WAY, CHECKS, FIELDS = range(7)
LEFT_BEHIND = (PID, MEMORY, UNDER_WAY, CHECKS)  # by one that died


class Board:
    """Shared by the engine (number 0) and the fronts (from 1)."""

    def __init__(self, fronts: int, listeners: Sequence[str]) -> None:
        self.fronts = fronts
        self.listeners = {name: at for at, name in enumerate(listeners)}
        self.crowd = Crowd(fronts)
        self.numbers = range(1, fronts + 1)
        lives = 8 * FIELDS * (fronts + 1)
        each = 4 * len(listeners) * (1 + TABLES * PLACES)
        self._memory = mmap.mmap(-1, lives + each * (fronts + 1))
        view = memoryview(self._memory)
        self._lives = view[:lives].cast("q")
        self._counts = view[lives:].cast("I")
        self._each = each // 4
        self._key = secrets.token_bytes(16)
        self._places = lru_cache(maxsize=4096)(self._hashed)

    def life(self, number: int) -> Life:
        """How the process with that number fares."""
        at = FIELDS * number
        return Life(self._lives[at + PID], self._lives[at + RESTARTS], self._lives[at + SINCE])

    def started(self, number: int, pid: int, now: float, *, again: bool) -> None:
        """Notes that a process was started."""
        at = FIELDS * number
        self._lives[at + PID], self._lives[at + SINCE] = pid, int(now)
        self._lives[at + RESTARTS] += again

    def ended(self, number: int) -> None:
        """Wipes what a process has left behind."""
        for field in LEFT_BEHIND:
            self._lives[FIELDS * number + field] = 0
        self.crowd.ended(number)
        begin = self._each * number
        self._counts[begin : begin + self._each] = memoryview(bytes(4 * self._each)).cast("I")

    def connections(self, listener: str) -> int:
        """Open connections of a listener, at all fronts."""
        at = self._at(listener)
        return sum(self._counts[self._each * number + at] for number in self.numbers)

    def connections_at(self, number: int, listener: str) -> int:
        """Those at one front."""
        return self._counts[self._each * number + self._at(listener)]

    def is_ahead(self, number: int, listener: str) -> bool:
        """Whether a front has at least two connections more than another that lives."""
        at = self._at(listener)
        mine = self._counts[self._each * number + at]
        return any(
            self._counts[self._each * other + at] + 1 < mine and self._lives[FIELDS * other + PID]
            for other in self.numbers
        )

    def of_client(self, listener: str, client: str) -> int:
        """Open connections of a client there, or a few more."""
        places = [self._at(listener) + place for place in self._places(client)]
        return min(sum(self._counts[self._each * number + at] for number in self.numbers) for at in places)

    def memory(self) -> int:
        """Bytes of message that all fronts hold in memory."""
        return self._sum(MEMORY)

    def checks(self) -> int:
        """Password checks in progress at all fronts."""
        return self._sum(CHECKS)

    def under_way(self) -> int:
        """Messages that were let in at their final dot and have no reply yet, at all fronts."""
        return self._sum(UNDER_WAY)

    def go_on(self, number: int, delta: int) -> None:
        """Counts a message at a front that is under way (1), or is no more (-1)."""
        self._lives[FIELDS * number + UNDER_WAY] += delta

    def move(self, number: int, listener: str, client: str, delta: int) -> None:
        """Counts a connection that comes (1) or goes (-1) at a front."""
        at = self._each * number + self._at(listener)
        self._counts[at] += delta
        for place in self._places(client):
            self._counts[at + place] += delta

    def hold(self, number: int, amount: int) -> None:
        """Counts memory that a front takes, or below 0 gives back."""
        self._lives[FIELDS * number + MEMORY] += amount

    def check(self, number: int, delta: int) -> None:
        """Counts a password check at a front that begins (1) or ends (-1)."""
        self._lives[FIELDS * number + CHECKS] += delta

    def _sum(self, field: int) -> int:
        return sum(self._lives[FIELDS * number + field] for number in self.numbers)

    def _at(self, listener: str) -> int:
        return self.listeners[listener] * (1 + TABLES * PLACES)

    def _hashed(self, client: str) -> tuple[int, ...]:
        digest = hashlib.blake2b(client.encode(), digest_size=4 * TABLES, key=self._key).digest()
        return tuple(
            1 + table * PLACES + int.from_bytes(digest[4 * table : 4 * table + 4]) % PLACES for table in range(TABLES)
        )


class SharedSeats:
    """The connections of one listener as one front counts them: its own and those of the others."""

    def __init__(self, board: Board, number: int, listener: str) -> None:
        self._board, self._number, self._listener = board, number, listener

    def take(self, client: str) -> tuple[int, int]:
        """Counts a connection of a client; how many the listener and the client have now."""
        self._board.move(self._number, self._listener, client, 1)
        return self._board.connections(self._listener), self._board.of_client(self._listener, client)

    def give(self, client: str) -> None:
        """Counts it off."""
        self._board.move(self._number, self._listener, client, -1)


class SharedBudget:
    """Bytes of message that the sessions of all fronts together may hold in memory; see `MemoryBudget`."""

    __slots__ = ("_board", "_number", "limit", "used")

    def __init__(self, limit: int, board: Board, number: int) -> None:
        self.limit, self.used = limit, 0
        self._board, self._number = board, number

    def take(self, amount: int, kept: float = 0.0) -> bool:
        """Reserves `amount` bytes; False, and nothing reserved, when they are not there, but for the share `kept`."""
        self._board.hold(self._number, amount)
        if self._board.memory() > self.limit * (1 - kept):
            self._board.hold(self._number, -amount)
            return False
        self.used += amount
        return True

    @property
    def tight(self) -> bool:
        """Whether more than half of it is taken."""
        return self._board.memory() > self.limit // 2

    def give(self, amount: int) -> None:
        """Returns bytes taken before."""
        self.used -= amount
        self._board.hold(self._number, -amount)


class SharedChecks:
    """Password checks that all fronts together have in progress; see `Checks`."""

    def __init__(self, board: Board, number: int) -> None:
        self._board, self._number = board, number

    def take(self, most: int) -> bool:
        """Counts one more; False, and nothing counted, when there are `most` already."""
        self._board.check(self._number, 1)
        if self._board.checks() > most:
            self._board.check(self._number, -1)
            return False
        return True

    def give(self) -> None:
        """Counts it off."""
        self._board.check(self._number, -1)
