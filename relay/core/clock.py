"""What a wall clock that was set means for mail that waits: nothing.

Waits and expiry are lengths of time. The queue therefore counts on a line of its own: the wall clock as it was when
the process began, and from there the time that has really passed. Between two processes only the wall clock is
left to say how long it was; what can be known of it is decided here.
"""

from __future__ import annotations

from typing import NamedTuple

STEP_S = 60.0  # less than this between line and wall clock is no matter for mail
GAP_S = 6 * 3600.0  # a pause so long may as well be a clock that was set


class Taken(NamedTuple):
    """What a start makes of the last reading: by how many seconds all times in the queue are moved, and whether
    so much time seems to have gone by that nothing should expire before it was tried once more."""

    shift_s: float = 0.0
    doubtful: bool = False


def taken_up(*, wall: float, line: float, now: float) -> Taken:
    """`wall` and `line` are the last reading of both before the start, `now` is the wall clock of today (Unix s).

    The times in the queue are on the old line; the new one begins at `now`. A wall clock that stands before its
    own last reading was set back, and it is as if no time had passed."""
    shift_s = wall - line + min(0.0, now - wall)
    return Taken(shift_s if abs(shift_s) >= STEP_S else 0.0, now - wall > GAP_S)
