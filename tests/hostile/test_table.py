"""Every line of the threat table names its tests, and every test that is named exists."""

from __future__ import annotations

import re
from pathlib import Path

HERE = Path(__file__).parent
TEXT = (HERE.parents[1] / "docs" / "security.md").read_text()
THREATS, HOLES = TEXT.split("## Known holes of others")
ROWS = [line for line in (THREATS + HOLES.split("## Fuzzing")[0]).splitlines() if line.startswith("| ")]
ROWS = [line for line in ROWS if not line.startswith(("| threat |", "| CVE |"))]
KNOWN = [
    "2023-51764", "51765", "51766", "2024-27305", "2024-34083", "2024-27938", "2025-26794", "2026-43964", "2026-45185",
    "2024-6923", "2026-1299", "2023-29483",
]  # fmt: skip


def test_every_row_names_a_test_that_exists() -> None:
    assert len(ROWS) > 40
    for row in ROWS:
        cited = re.findall(r"`([./a-z_]+\.py)::(test_[a-z0-9_]+)`", row)
        assert cited, f"no test is named: {row}"
        for file, name in cited:
            source = (HERE / file).read_text()
            assert re.search(rf"^def {name}\(", source, re.MULTILINE), f"{file} has no {name}"


def test_every_test_of_the_folder_is_named() -> None:
    """Else the table would hide what is covered, or a test would speak for no threat."""
    others = {"test_table.py", "test_model.py"}
    for path in HERE.glob("test_*.py"):
        if path.name not in others:
            assert path.name in THREATS + HOLES, f"docs/security.md does not name {path.name}"


def test_every_known_hole_is_listed() -> None:
    assert [one for one in KNOWN if one not in HOLES] == []


def test_every_fuzz_target_has_its_figures() -> None:
    figures = TEXT.split("## Fuzzing")[1]
    targets = sorted(path.stem for path in (HERE.parent / "fuzz" / "targets").glob("[a-z]*.py"))
    assert re.findall(r"^\| ([a-z]+) \| [0-9,]+ \|", figures, re.MULTILINE) == targets
