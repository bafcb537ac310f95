"""Signed return paths (VERP): a bounce's address says which recipient it is about, and cannot be forged.

`b-ID-INDEX-MAC`: the message id, the recipient's place in the envelope, and 80 bits of HMAC-SHA256 over
both. Lower case, digits and hyphens only, as hosts on the way may fold the case of a local part, and at
most 64 octets (RFC 5321 §4.5.3.1.1). 80 bits: guessing needs a reply per try, so 2^79 messages on average.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Sequence
from dataclasses import dataclass

from relay.core.ids import ALPHABET

PURPOSE = b"relay return path 1\0"  # one key may sign other things too; none of them is a return path
MAC_CHARS = 16  # of 5 bits each
TOKEN = re.compile(rf"b-([{ALPHABET}]{{19}})-(0|[1-9][0-9]{{0,7}})-([{ALPHABET}]{{{MAC_CHARS}}})")


@dataclass(frozen=True, slots=True)
class ReturnPath:
    """Whom a return path was made for: the message id, and the recipient's index from 0."""

    message: str
    index: int


def encode(message: str, index: int, key: bytes) -> str:
    """The local part of the return path for one recipient. Raises ValueError for an id that is not ours
    or an index that does not fit; `key` is secret, 16 bytes or more."""
    token = f"b-{message}-{index}-{_mac(message, index, key)}"
    if not TOKEN.fullmatch(token):
        raise ValueError(f"no return path can be made for message {message!r}, recipient {index}")
    return token


def decode(local_part: str, keys: Sequence[bytes]) -> ReturnPath | None:
    """What a local part of ours says; None for any other and for a forged one. `keys`: the current key
    and those before it, as bounces take days to come in."""
    match = TOKEN.fullmatch(local_part.lower())
    if match is None:
        return None
    message, index = match[1], int(match[2])
    good = [hmac.compare_digest(match[3], _mac(message, index, key)) for key in keys]
    return ReturnPath(message, index) if any(good) else None


def _mac(message: str, index: int, key: bytes) -> str:
    """The first 80 bits of the HMAC in base 32."""
    digest = hmac.digest(key, PURPOSE + f"{message}-{index}".encode(), "sha256")
    number = int.from_bytes(digest[: MAC_CHARS * 5 // 8])
    return "".join([ALPHABET[number >> shift & 31] for shift in range(MAC_CHARS * 5 - 5, -1, -5)])
