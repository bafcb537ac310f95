"""Whether the sources of the policies can be used: addresses this machine has, warm-ups that have begun."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator
from datetime import datetime

from relay.policy.model import Policy, Pool, Source
from relay.policy.strict import Problem
from relay.policy.warmup import starts_late


def check_sources(policy: Policy, now: datetime, problems: list[Problem], notes: list[Problem]) -> None:
    """Notes what is wrong with each source, and pools that hold mail back until they are warm."""
    for pool in policy.pools.values():
        for source in pool.sources:
            problems += _source(source, now)
        if all(source.warmup and source.warmup.allowance(now.timestamp()) is not None for source in pool.sources):
            notes.append(_cold(pool, now))


def _source(source: Source, now: datetime) -> Iterator[Problem]:
    for address in (source.address, source.address6):
        if address and (reason := why_not_bound(address)):
            hint = "add it to an interface (`ip address add`), or correct the source"
            yield _at(source.where, f"source `{source.name}`: {address} {reason}", hint)
    if source.warmup and (reason := starts_late(source.warmup, now.timestamp())):
        yield _at(source.where, f"source `{source.name}`: {reason}", "correct `started:`, or wait until that day")


def _cold(pool: Pool, now: datetime) -> Problem:
    most = sum(one.warmup.allowance(now.timestamp()) or 0 for one in pool.sources if one.warmup)
    message = f"pool `{pool.name}` has no warm source: what is above {most} messages an hour waits"
    return _at(pool.where, message, "add a warm source for the overflow, if there is one")


def why_not_bound(address: str) -> str:
    """Why no connection can leave from the address; "" when one can."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.bind((address, 0))
    except OSError as error:
        if error.errno == errno.EADDRNOTAVAIL:
            return "is no address of this machine"
        if error.errno == errno.EAFNOSUPPORT:
            return "cannot be used: this machine has no IPv6" if ":" in address else "cannot be used: no IPv4"
        return f"cannot be used: {error.strerror}"
    return ""


def _at(where: str, message: str, hint: str) -> Problem:
    file, _, line = where.rpartition(":")
    return Problem(file, int(line), 1, message, hint)
