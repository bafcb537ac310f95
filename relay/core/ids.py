"""Message ids: made by the relay, sort by time, the same through all retries."""

from __future__ import annotations

ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford's base 32: no i, l, o, u to misread on a phone


def message_id(now_s: float, entropy: bytes) -> str:
    """19 characters: 48 bits of milliseconds, then the first 45 bits of `entropy` (at least 6 bytes)."""
    number = (int(now_s * 1000) << 45) | (int.from_bytes(entropy[:6]) >> 3)
    digits = []
    for _ in range(19):
        number, digit = divmod(number, 32)
        digits.append(ALPHABET[digit])
    return "".join(reversed(digits))
