"""Whether a stream carries the same prose to many people: a campaign, whatever its headers say.

Receipts and one-time codes are alike too, thousands of them from one template. What tells a campaign from them
is how much of the text is the recipient's own:

1. The lines of each message's text are counted over a window, by stream, each at its place: the disclaimer
   under many different mails stands at many different places and is nobody's campaign. A line that many
   messages have is *common*, any other is the recipient's *own*. A recipient counts once in a window, so that
   an alert that goes to the same three people all night is never many.
2. A message with an own line that holds figures (a code, an order's number, an amount, a time) is written for
   its recipient, and no campaign.
3. Otherwise it is bulk when it has much common prose (PROSE_BYTES; resets and confirmations have less), and
   hardly anything else (COMMON_SHARE): a greeting by name, perhaps an own paragraph.

Lines are cheap: no words are split, and a name changes one line only. Links are left out before (core/prose.py),
as every campaign counts clicks. Memory is bounded; what the window cannot hold is forgotten early, which can
only mean that less is found.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

PROSE_BYTES = 900  # about 140 words: more than resets and confirmations say, less than newsletters
COMMON_SHARE = 0.8  # of the text; names in paragraphs that are wrapped anew take some
PARTLY = 4  # a line that a quarter of the messages asked for have is common: wrapping depends on a name's length
LINES_MOST = 40_000  # lines remembered in half a window: 4 MB
PEOPLE_MOST = 50_000  # recipients remembered in half a window: 5 MB

FIGURE = re.compile(rb"\d")


@dataclass(slots=True)
class _Half:
    """What came in one half of the window."""

    began_at: float = float("-inf")
    lines: Counter[int] = field(default_factory=Counter)
    people: set[int] = field(default_factory=set)


class Likeness:
    """The lines of one stream over a window of `within_s` seconds, counted in two halves of it: what is
    younger than half a window counts for certain, what is older than a whole one never."""

    __slots__ = ("_now", "_past", "half_s", "most")

    def __init__(self, most: int, within_s: float) -> None:
        self.most, self.half_s = most, within_s / 2
        self._now, self._past = _Half(), _Half()

    def is_bulk(self, text: bytes, recipients: Iterable[str], now: float) -> bool:
        """Counts one message; whether it is one of more than `most` alike."""
        self._turn(now)
        # a code often stands alone on its line: one word counts where it has figures
        lines = [line for line in text.split(b"\n") if b" " in line or FIGURE.search(line)]
        marks = list(map(hash, enumerate(lines)))
        current, past = self._now, self._past
        people = {hash(one) for one in recipients}
        new = people - current.people - past.people
        current.people |= people
        if new:
            current.lines.update(marks)
            if len(new) > 1:
                for mark in marks:
                    current.lines[mark] += len(new) - 1
        if len(current.people) + len(past.people) <= self.most:
            return False
        return self._is_campaign(lines, marks)

    def _is_campaign(self, lines: Sequence[bytes], marks: Sequence[int]) -> bool:
        """Judges a text by how many messages have each of its lines."""
        few, most = self.most // PARTLY, self.most
        now_of, past_of = self._now.lines.get, self._past.lines.get
        total = common = frequent = 0
        for line, mark in zip(lines, marks, strict=True):
            count = now_of(mark, 0) + past_of(mark, 0)
            size = len(line)
            total += size
            if count > few:
                common += size
                if count > most:
                    frequent += size
            elif FIGURE.search(line) and has_figures(line):
                return False
        return frequent * 2 >= PROSE_BYTES <= common >= COMMON_SHARE * total

    def _turn(self, now: float) -> None:
        """Begins a new half when the present one is over or too large. A clock that went back ends it too."""
        half = self._now
        age_s = now - half.began_at
        if 0 <= age_s < self.half_s and len(half.lines) <= LINES_MOST and len(half.people) <= PEOPLE_MOST:
            return
        if 0 <= age_s < self.half_s and len(half.lines) > LINES_MOST:
            # most lines are somebody's own and were seen once: without them the half can go on
            half.lines = Counter({mark: count for mark, count in half.lines.items() if count > 1})
            if len(half.lines) <= LINES_MOST // 2 and len(half.people) <= PEOPLE_MOST:
                return
        self._past = half if 0 <= age_s < 2 * self.half_s else _Half()
        self._now = _Half(now)


def has_figures(line: bytes) -> bool:
    """Whether a line has digits elsewhere than in mail addresses: "sent to anna91@example.com" has none."""
    if b"@" not in line:
        return FIGURE.search(line) is not None
    return any(FIGURE.search(word) for word in line.split() if b"@" not in word)
