"""Who runs a mail system, told by its MX names: domains that share them share a site, and its limits."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha256

# A site is a label of limits, logs and commands; a longer one is cut and told apart by its hash.
MAX_CHARS = 250


def site_name(hosts: Iterable[str]) -> str:
    """One name for a set of MX names, without regard to order, case, repetition or a final dot:
    `(alt1.aspmx|aspmx).l.google.com`. Different sets never get the same name; "" for an empty set."""
    names = sorted({host.lower().rstrip(".") for host in hosts})
    if len(names) < 2:
        return names[0] if names else ""
    labels = [name.split(".") for name in names]
    shared = _shared_labels(labels)
    fronts = "|".join(".".join(parts[: len(parts) - shared]) for parts in labels)
    name = ".".join([f"({fronts})", *labels[0][len(labels[0]) - shared :]])
    if len(name) <= MAX_CHARS:
        return name
    return f"{names[0][:200]}+{len(names) - 1}~{sha256(name.encode()).hexdigest()[:16]}"


def _shared_labels(labels: list[list[str]]) -> int:
    """How many labels all names have in common at the end; at least one label of each name is left over."""
    most = min(len(parts) for parts in labels) - 1
    count = 0
    while count < most and len({parts[-1 - count] for parts in labels}) == 1:
        count += 1
    return count
