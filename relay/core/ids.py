"""Message ids: made by the relay, sort by time, the same through all retries."""

from __future__ import annotations

ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford's base 32: no i, l, o, u to misread on a phone
PAIRS = [one + other for one in ALPHABET for other in ALPHABET]  # ten bits each


def message_id(now_s: float, entropy: bytes) -> str:
    """19 characters: 48 bits of milliseconds, then the first 45 bits of `entropy` (at least 6 bytes)."""
    number = (int(now_s * 1000) << 45) | (int.from_bytes(entropy[:6]) >> 3)
    pairs = [PAIRS[number >> shift & 1023] for shift in (80, 70, 60, 50, 40, 30, 20, 10, 0)]
    return ALPHABET[number >> 90 & 31] + "".join(pairs)


STRETCH_CHARS = 8
STRETCH_S = 1.024  # 40 bits of the 50 that hold milliseconds: all ids of these 1,024 ms begin alike


def stretch_of(id_: str) -> str:
    """The beginning of a message id that all messages of the same 1.024 seconds share; sorts by time."""
    return id_[:STRETCH_CHARS]


def stretch_at(now_s: float) -> str:
    """The stretch that a message made at `now_s` (Unix s) belongs to."""
    return message_id(max(0.0, now_s), bytes(6))[:STRETCH_CHARS]


def stretch_end(stretch: str) -> float:
    """When a stretch is over (Unix s). Raises ValueError for what is no beginning of an id."""
    number = 0
    for character in stretch:
        number = number * 32 + ALPHABET.index(character)
    return (number + 1) * STRETCH_S


def made_at(id_: str) -> float:
    """When a message was made (Unix s, to the millisecond). Raises ValueError for what is no id."""
    number = 0
    for character in id_[:10]:
        number = number * 32 + ALPHABET.index(character)
    return number / 1000
