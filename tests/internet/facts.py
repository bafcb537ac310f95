"""What happened, as the receivers saw it: who was connected when, what was taken, what was refused."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

SessionId = tuple[str, int]  # (process, number)


@dataclass(slots=True)
class Visit:
    """One connection; times are time.monotonic(), `closed` infinite while it is open."""

    host: str
    client: str
    opened: float
    closed: float = float("inf")


@dataclass(frozen=True, slots=True)
class Receipt:
    """One message that was taken: its last byte came at `at`, the answer went out at `answered`."""

    host: str
    client: str
    session: SessionId
    sender: str
    recipients: tuple[str, ...]
    at: float
    answered: float
    size: int


@dataclass(frozen=True, slots=True)
class Refused:
    """One refusal: `phase` is banner, mail or rcpt."""

    host: str
    client: str
    session: SessionId
    at: float
    phase: str
    reply: str


@dataclass(slots=True)
class Facts:
    """Everything so far; `read` adds what files have beyond what was read."""

    visits: dict[SessionId, Visit] = field(default_factory=dict)
    receipts: list[Receipt] = field(default_factory=list)
    refusals: list[Refused] = field(default_factory=list)
    _read: dict[Path, int] = field(default_factory=dict)

    def read(self, file: Path) -> None:
        """Takes the complete lines that were added to a file since last time."""
        with file.open("rb") as lines:
            lines.seek(self._read.get(file, 0))
            data = lines.read()
        complete = data[: data.rfind(b"\n") + 1]
        self._read[file] = self._read.get(file, 0) + len(complete)
        for line in complete.splitlines():
            self._add(file.stem, json.loads(line))

    def _add(self, process: str, line: list) -> None:
        kind, at, number, *rest = line
        session = (process, number)
        if kind == "opened":
            self.visits[session] = Visit(*rest, opened=at)
            return
        visit = self.visits[session]
        if kind == "closed":
            visit.closed = at
        elif kind == "refused":
            self.refusals.append(Refused(visit.host, visit.client, session, at, *rest))
        else:
            sender, recipients, answered, size = rest
            self.receipts.append(
                Receipt(visit.host, visit.client, session, sender, tuple(recipients), at, answered, size)
            )

    def open_most(self, hosts: Iterable[str] | None = None, client: str | None = None) -> int:
        """The most connections there were at any instant, to these hosts and from that client."""
        wanted = None if hosts is None else set(hosts)
        seen = [visit for visit in self.visits.values()
                if (wanted is None or visit.host in wanted) and client in {None, visit.client}]  # fmt: skip
        # who goes in the same instant goes first: the other could only come because he went
        steps = sorted([(visit.opened, 1) for visit in seen] + [(visit.closed, -1) for visit in seen])
        most = now = 0
        for _, step in steps:
            now += step
            most = max(most, now)
        return most

    def to(self, word: str) -> list[Receipt]:
        """What was taken for recipients that begin with the word, in order of arrival."""
        found = [one for one in self.receipts if any(name.startswith(word) for name in one.recipients)]
        return sorted(found, key=lambda one: one.at)
