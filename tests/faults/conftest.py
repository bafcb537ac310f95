"""The peers' fixtures, and a table of all faults at the end."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.peers.conftest import internet, keys, names, place, receive, relay

__all__ = ["internet", "keys", "names", "place", "receive", "relay"]
COLUMNS = ("workers", "rounds", "accepted", "lost", "twice", "again_s")
Note = Callable[..., None]


@pytest.fixture
def note(record_property: Callable[[str, object], None]) -> Note:
    """Notes the figures of a fault: `note("1 SIGKILL", workers=…, rounds=…, accepted=…, lost=…, twice=…, again_s=…,
    more=…)`."""

    def write(fault: str, **figures: object) -> None:
        print(fault, figures)
        record_property("fault", (fault, figures))

    return write


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """The table."""
    rows = [value for report in terminalreporter.getreports("passed") + terminalreporter.getreports("failed")
            if report.when == "call" for name, value in report.user_properties if name == "fault"]  # fmt: skip
    if not rows:
        return
    terminalreporter.section("faults")
    head = ("fault", *COLUMNS, "")
    cells = [head] + [
        (fault, *(str(figures.get(column, "")) for column in COLUMNS), str(figures.get("more", "")))
        for fault, figures in sorted(rows, key=lambda row: float(row[0].split(" ")[0]))
    ]
    wide = [max(len(row[at]) for row in cells) for at in range(len(head))]
    for row in cells:
        line = "  ".join(f"{cell:>{size}}" if 0 < at <= len(COLUMNS) else f"{cell:<{size}}"
                         for at, (cell, size) in enumerate(zip(row, wide, strict=True)))  # fmt: skip
        terminalreporter.write_line(line.rstrip())
