"""Every .smtp file beside this one is a client, or a mistake a client makes. Their language: script.py."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.dialogues.script import play

FILES = sorted(Path(__file__).parent.rglob("*.smtp"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_dialogue(path: Path) -> None:
    asyncio.run(play(path))


def test_there_are_dialogues() -> None:
    assert len(FILES) > 30
