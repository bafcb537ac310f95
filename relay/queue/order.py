"""Which of the messages that wait are committed next: higher streams first when not all fit in one group."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

One = TypeVar("One")
OLDEST_SHARE = 10  # one in ten places is for who has waited longest, whatever the stream


def next_group(waiting: list[One], most: int, priority: Callable[[One], int]) -> tuple[list[One], list[One]]:
    """(the next group, who waits on), both in order of arrival. Costs nothing while all fit."""
    if len(waiting) <= most:
        return waiting, []
    oldest = most // OLDEST_SHARE
    ranked = sorted(range(oldest, len(waiting)), key=lambda number: -priority(waiting[number]))
    chosen = {*range(oldest), *ranked[: most - oldest]}
    taken = [one for number, one in enumerate(waiting) if number in chosen]
    return taken, [one for number, one in enumerate(waiting) if number not in chosen]
