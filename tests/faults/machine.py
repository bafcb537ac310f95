"""What a process uses."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from tests.peers.relay import Relay

TICKS = os.sysconf("SC_CLK_TCK")


def cpu_s(pid: int) -> float:
    """User and system time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def resident_mb(pid: int, *, peak: bool = False) -> float:
    """Memory that is resident now, or was at most."""
    name = "VmHWM:" if peak else "VmRSS:"
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(name)).split()[1]) / 1024


def shared_mb(pids: Iterable[int]) -> float:
    """Resident memory of processes together, what they share counted once (PSS in proc(5))."""
    texts = [Path(f"/proc/{pid}/smaps_rollup").read_text() for pid in set(pids)]
    return sum(int(text.partition("\nPss:")[2].split()[0]) for text in texts) / 1024


def processes(one: Relay) -> dict[str, int]:
    """Name to process id of all that the relay is: the one that was started, the engine, the fronts."""
    now = one.status()
    assert one.program is not None
    found = {"all": one.program.process.pid, "engine": now["pid"]}
    return found | {f"front-{row['number']}": row["pid"] for row in now["fronts"]}
