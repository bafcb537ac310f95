"""The fuzz targets: every module of tests/fuzz/targets with `target(data)` and `SEEDS` is one. Its first line says what
must hold. Inputs that once broke a target lie in tests/fuzz/found/NAME/."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

HERE = Path(__file__).parent
NAMES = sorted(path.stem for path in (HERE / "targets").glob("[a-z]*.py"))


def load(name: str) -> ModuleType:
    """The module of one target."""
    return importlib.import_module(f"tests.fuzz.targets.{name}")


def found(name: str) -> list[bytes]:
    """What once broke the target."""
    return [path.read_bytes() for path in sorted((HERE / "found" / name).glob("*"))]
