"""Which of a pool's sources can reach a site, and what they bind to."""

from __future__ import annotations

from relay.deliver.resolve import Route
from relay.policy.model import Pool, Source
from relay.policy.sources import in_turn


def usable(pool: Pool, route: Route) -> list[Source]:
    """The pool's sources in turn that have an address of a family the site has; all, if none has."""
    sources = in_turn(pool, route.site)
    addresses = [address for host in route.hosts for address in host.addresses]
    return [one for one in sources if any(can_reach(one, address) for address in addresses)] or sources


def bind_address(source: Source, target: str) -> tuple[str, int] | None:
    """What to bind to for a target address, or None to leave it to the kernel."""
    address = source.address6 if ":" in target else source.address
    return (address, 0) if address else None


def can_reach(source: Source, target: str) -> bool:
    """Whether the source has an address of the target's family; one without addresses takes any."""
    if not source.address and not source.address6:
        return True
    return bool(source.address6 if ":" in target else source.address)
