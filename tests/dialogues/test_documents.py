"""The documents about clients and refusals say what the code does."""

from __future__ import annotations

from pathlib import Path

from relay.inbound.refusals import REFUSALS, Counts

ROOT = Path(__file__).parents[2]
HEAD = """# Refusals

Every way to say no to a client. `reason` is what the event `refused` and the metric
`relay_refused_messages_total` carry. "Counts" says whether it counts towards `max_errors`, after which a
session ends with 421. Written by `tests/dialogues/test_documents.py` from `relay/inbound/refusals.py`.

| reason | reply | counts | what it means |
|---|---|---|---|
"""
COUNTS = {Counts.NEVER: "no", Counts.STRANGERS: "of clients that may not send", Counts.ALWAYS: "yes"}


def refusals() -> str:
    """docs/refusals.md as it must be."""
    rows = [
        f"| `{reason}` | {one.code} {one.enhanced} {one.text} | {COUNTS[one.counts]} | {one.means} |"
        for reason, one in REFUSALS.items()
    ]
    return HEAD + "\n".join(rows) + "\n"


def test_the_table_of_refusals_is_the_documented_one() -> None:
    path = ROOT / "docs/refusals.md"
    assert path.read_text() == refusals(), (
        'write it: python -c "from tests.dialogues.test_documents import write; write()"'
    )


def write() -> None:
    (ROOT / "docs/refusals.md").write_text(refusals())


def test_every_client_is_documented() -> None:
    text = (ROOT / "docs/clients.md").read_text()
    for path in (ROOT / "tests/dialogues/clients").glob("*.smtp"):
        assert f"| {path.stem} |" in text, path.stem
