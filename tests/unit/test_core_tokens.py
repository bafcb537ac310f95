"""Signed return paths: read back as made, and nothing else is believed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.core.ids import ALPHABET, message_id
from relay.core.tokens import ReturnPath, decode, encode

KEY, OLD = b"k" * 32, b"o" * 32
ID = message_id(1_793_611_800.0, b"entropy")


def test_says_which_recipient_a_bounce_is_about():
    local = encode(ID, 3, KEY)
    assert local.startswith(f"b-{ID}-3-")
    assert decode(local, [KEY]) == ReturnPath(ID, 3)


def test_fits_a_local_part():
    assert len(encode(ID, 99_999_999, KEY)) <= 64  # RFC 5321 §4.5.3.1.1


def test_a_host_may_change_the_case():
    assert decode(encode(ID, 0, KEY).upper(), [KEY]) == ReturnPath(ID, 0)


def test_a_key_may_be_replaced():
    local = encode(ID, 1, OLD)
    assert decode(local, [KEY, OLD]) == ReturnPath(ID, 1)
    assert decode(local, [KEY]) is None
    assert decode(local, []) is None


@pytest.mark.parametrize("position", range(40))
def test_a_forged_one_is_nobodys(position):
    local = encode(ID, 12, KEY)
    for digit in ALPHABET[:8] + "-":
        forged = local[:position] + digit + local[position + 1 :]
        assert forged == local or decode(forged, [KEY]) is None


@pytest.mark.parametrize(
    "local", ["", "b-", "anna", f"b-{ID}-0", f"b-{ID}-00-{'0' * 16}", f"b-{ID}-0-{'0' * 16}\n"]
)
def test_other_mail_is_not_a_bounce(local):
    assert decode(local, [KEY]) is None


@pytest.mark.parametrize(("message", "index"), [("short", 0), (ID.upper(), 0), (ID, -1), (ID, 100_000_000)])
def test_only_our_ids_are_signed(message, index):
    with pytest.raises(ValueError, match="no return path"):
        encode(message, index, KEY)


@given(st.integers(0, 99_999_999), st.binary(min_size=16, max_size=40), st.binary(min_size=6, max_size=6))
def test_reads_what_it_wrote(index, key, entropy):
    message = message_id(1_793_611_800.0, entropy)
    assert decode(encode(message, index, key), [b"x" * 16, key]) == ReturnPath(message, index)


@given(st.text(max_size=70))
def test_never_raises_on_reading(text):
    assert decode(text, [KEY]) is None
