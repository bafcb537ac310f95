"""Forged bounces: a return path counts when it is signed by us, and for nobody but the recipient it names.

What the listener for bounces and complaints makes of them is in tests/unit/test_inbound_feedback.py.
"""

from __future__ import annotations

import random

import pytest

from relay.core.ids import ALPHABET, message_id
from relay.core.tokens import ReturnPath, decode, encode

KEY, OTHER = b"k" * 32, b"o" * 32
ID, NEXT = message_id(1_793_611_800.0, b"123456"), message_id(1_793_611_800.0, b"654321")


def test_only_our_key_signs() -> None:
    assert decode(encode(ID, 3, KEY), [KEY]) == ReturnPath(ID, 3)
    assert decode(encode(ID, 3, OTHER), [KEY]) is None


def test_a_signature_holds_for_one_message_and_one_recipient() -> None:
    """A stranger who got one mail has one valid return path; it must not suppress somebody else."""
    token = encode(ID, 3, KEY)
    _, _, index, mac = token.split("-")
    for forged in (f"b-{NEXT}-{index}-{mac}", f"b-{ID}-4-{mac}", f"b-{ID}-03-{mac}", f"b-{ID}-{index}-{mac[:-1]}"):
        assert decode(forged, [KEY]) is None


def test_guesses_never_hit() -> None:
    dice = random.Random(4)
    for _ in range(5000):
        mac = "".join(dice.choices(ALPHABET, k=16))
        assert decode(f"b-{ID}-0-{mac}", [KEY, OTHER]) is None


@pytest.mark.parametrize("local", [
    "", "b-", f"b-{ID}-0", f"b-{ID}-0-", "postmaster", f"b-{ID}-99999999999-{'0' * 16}", f" {encode(ID, 0, KEY)}",
    f"{encode(ID, 0, KEY)}\n", f"{encode(ID, 0, KEY)}x", encode(ID, 0, KEY).replace("b-", "c-"),
    encode(ID, 0, KEY).replace("0", "\u0660"),
])  # fmt: skip
def test_nothing_else_is_a_return_path(local: str) -> None:
    assert decode(local, [KEY]) is None
