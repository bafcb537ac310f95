"""Every fuzz target in short, without atheris: its seeds, what once broke it, and some hundred mutations of both."""

from __future__ import annotations

import ast
import random

import pytest

from tests.conftest import LONGER
from tests.fuzz.registry import HERE, NAMES, found, load

MUTATIONS = 300
TOKENS = [b"\r\n", b"\r\n.\r\n", b"=?", b"?=", b"; ", b"250 ", *(bytes([one]) for one in b'\n.\0\xff<>"\\:@{[*')]


def mutated(dice: random.Random, seeds: list[bytes]) -> bytes:
    """A seed with some bytes changed, cut, doubled or taken from another seed."""
    data = bytearray(dice.choice(seeds))
    for _ in range(dice.randint(1, 6)):
        at = dice.randint(0, len(data))
        match dice.randint(0, 4):
            case 0:
                data[at:at] = dice.choice(TOKENS)
            case 1:
                del data[at : at + dice.randint(1, 20)]
            case 2:
                data[at : at + 1] = dice.randbytes(dice.randint(1, 3))
            case 3:
                other = dice.choice(seeds)
                start = dice.randint(0, len(other))
                data[at:at] = other[start : start + dice.randint(1, 60)]
            case 4:
                data[at:at] = data[at : at + dice.randint(1, 30)] * dice.randint(1, 4)
    return bytes(data[:20_000])


@pytest.mark.parametrize("name", NAMES)
def test_seeds_and_what_once_broke_it(name: str) -> None:
    module = load(name)
    for data in [*module.SEEDS, *found(name), b""]:
        module.target(data)


@pytest.mark.parametrize("name", NAMES)
def test_mutations(name: str) -> None:
    module, dice = load(name), random.Random(f"{name} {LONGER}")
    seeds = [*module.SEEDS, *found(name)]
    for _ in range(MUTATIONS * max(LONGER, 1)):
        data = mutated(dice, seeds)
        try:
            module.target(data)
        except Exception as error:
            error.add_note(f"input: {data!r}")
            raise


@pytest.mark.parametrize("name", NAMES)
def test_the_first_line_says_what_must_hold(name: str) -> None:
    text = ast.get_docstring(ast.parse((HERE / "targets" / f"{name}.py").read_text())) or ""
    assert text.startswith("Invariant: ")
