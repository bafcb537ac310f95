"""Which of a pool's sources a site's mail leaves from."""

from __future__ import annotations

import hashlib
import math

from relay.deliver.resolve import Route
from relay.policy.model import Pool, Source


def in_turn(pool: Pool, site: str) -> list[Source]:
    """The pool's sources, the one this site is used to first: weighted rendezvous hashing, so a site keeps
    its source while the pool stays, and a source added or lost moves only its own share of sites."""
    if len(pool.sources) == 1:
        return list(pool.sources)
    return sorted(pool.sources, key=lambda source: _score(source, site))


def usable(pool: Pool, route: Route) -> list[Source]:
    """The pool's sources in turn that have an address of a family the site has; all, if none has."""
    sources = in_turn(pool, route.site)
    addresses = [address for host in route.hosts for address in host.addresses]
    return [one for one in sources if any(can_reach(one, address) for address in addresses)] or sources


def _score(source: Source, site: str) -> float:
    digest = hashlib.blake2b(f"{source.name}\0{site}".encode(), digest_size=8).digest()
    chance = (int.from_bytes(digest) + 1) / 2**64
    return -math.log(chance) / source.weight


def bind_address(source: Source, target: str) -> tuple[str, int] | None:
    """What to bind to for a target address, or None to leave it to the kernel."""
    address = source.address6 if ":" in target else source.address
    return (address, 0) if address else None


def can_reach(source: Source, target: str) -> bool:
    """Whether the source has an address of the target's family; one without addresses takes any."""
    if not source.address and not source.address6:
        return True
    return bool(source.address6 if ":" in target else source.address)
