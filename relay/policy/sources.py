"""Which of a pool's sources a site's mail leaves from, and what a receiver sees of a source."""

from __future__ import annotations

import hashlib
import math

from relay.policy.model import Pool, Source

ANY_ADDRESS = "any"  # what sources without an address leave from: the kernel's choice, the same for all


def in_turn(pool: Pool, site: str) -> list[Source]:
    """The pool's sources, the one this site is used to first: weighted rendezvous hashing, so a site keeps
    its source while the pool stays, and a source added or lost moves only its own share of sites."""
    if len(pool.sources) == 1:
        return list(pool.sources)
    return sorted(pool.sources, key=lambda source: _score(source, site))


def leaves_from(source: Source) -> str:
    """The address its connections are counted for: a receiver sees addresses, not the names of sources."""
    return source.address or source.address6 or ANY_ADDRESS


def _score(source: Source, site: str) -> float:
    digest = hashlib.blake2b(f"{source.name}\0{site}".encode(), digest_size=8).digest()
    chance = (int.from_bytes(digest) + 1) / 2**64
    return -math.log(chance) / source.weight
