"""Every .smtp file beside this one is a client, or a mistake a client makes. Their language: script.py."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path

import pytest
import uvloop

from tests.dialogues.script import play

FILES = sorted(Path(__file__).parent.rglob("*.smtp"))


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_dialogue(path: Path, run: Callable[[Coroutine[None, None, None]], None]) -> None:
    run(play(path))


def test_there_are_dialogues() -> None:
    assert len(FILES) > 30
