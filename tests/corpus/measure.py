"""The guard's sign `same_content` measured on a corpus: `python tests/corpus/measure.py [longer] [--each]`.

Each flow goes through the detector alone, at the times it is sent, with the guard's defaults (more than 200 people in
10 minutes). Then all transactional flows go through one detector together, as in one stream. Printed are messages,
how many were taken for bulk, and which message was the first.
"""

import sys
from collections.abc import Iterable
from dataclasses import dataclass
from heapq import merge
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from relay.core.fingerprint import Likeness
from relay.core.prose import prose
from tests.corpus.heldout import Flow, Sent

MOST, WITHIN_S = 200, 600.0  # the guard's defaults


@dataclass(slots=True)
class Found:
    """`first` is the number of the first message taken for bulk, 0 for none."""

    messages: int = 0
    taken: int = 0
    first: int = 0

    @property
    def after_first(self) -> float:
        """Of the messages that could be found (those after the first 200), the share that was."""
        return self.taken / max(1, self.messages - MOST)

    def note(self, *, bulk: bool) -> None:
        """One message."""
        self.messages += 1
        if bulk:
            self.taken += 1
            self.first = self.first or self.messages


def measured(mails: Iterable[Sent], most: int = MOST, within_s: float = WITHIN_S) -> Found:
    """What the detector finds in one stream's mail."""
    likeness, found = Likeness(most, within_s), Found()
    for mail in mails:
        header, _, body = mail.raw.partition(b"\r\n\r\n")
        found.note(bulk=likeness.is_bulk(prose(header + b"\r\n", body), [mail.recipient], mail.at))
    return found


def together(flows: Iterable[Flow]) -> Found:
    """All flows in one stream."""
    return measured(merge(*(flow.mails() for flow in flows), key=lambda mail: mail.at))


def main() -> None:
    """Prints the table."""
    words = sys.argv[1:]
    if "longer" in words:
        from tests.corpus.longer import days
    else:
        from tests.corpus.heldout import days
    flows = days()
    rows: dict[tuple[str, str], list[Found]] = {}
    for flow in flows:
        name = f"{flow.sort}, {flow.sender}" if "--each" in words else flow.sort
        rows.setdefault((flow.kind, name), []).append(measured(flow.mails()))
    for (kind, name), found in rows.items():
        messages, taken = sum(one.messages for one in found), sum(one.taken for one in found)
        first = min((one.first for one in found if one.first), default=0)
        print(f"{kind:14} {name:44} {taken:6} of {messages:6}  {f'from message {first}' if first else ''}")
    mixed = together(flow for flow in flows if flow.kind == "transactional")
    print(f"all transactional mail in one stream: {mixed.taken} of {mixed.messages}")


if __name__ == "__main__":
    main()
