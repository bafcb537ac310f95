"""File descriptors: clients must not use up those that deliveries need."""

from __future__ import annotations

import resource

OURS = 48  # queue, event log, control and health sockets, name servers, spool
A_DELIVERY = 2  # a socket, and the file of a large body


def descriptors_for_clients(deliveries: int) -> tuple[int, int]:
    """(connections, files): which descriptor numbers connections in may have, and files of bodies that come
    in: below these. The kernel gives the lowest that is free (POSIX open), so whoever gets a higher number
    would eat into the share of `deliveries`. That share is at most half, and of the rest a quarter is for
    the files. Raises the process's limit as far as it may be raised without rights."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    files = max(hard - OURS - A_DELIVERY * deliveries, hard // 2)
    return files - files // 4, files
