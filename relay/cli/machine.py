"""Processes of a measurement: started, watched in /proc, ended by their own pids."""

from __future__ import annotations

import os
import random
import re
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

TICKS = os.sysconf("SC_CLK_TCK")
PATIENCE_S = 30.0


class Trouble(Exception):
    """The measurement cannot go on; the text says why and what to do."""


class Program:
    """A process in a session of its own, so that Ctrl-C at the terminal reaches only who measures."""

    def __init__(self, command: Sequence[str], log: Path, **options: Any) -> None:
        self.log = log
        with log.open("ab") as output:
            settings: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": output, "stderr": output, **options}
            self.process = subprocess.Popen(list(command), start_new_session=True, **settings)  # noqa: S603 (a command of ours)
        self.pid = self.process.pid

    def wait_until(self, question: Callable[[], bool], what: str, patience_s: float = PATIENCE_S) -> None:
        """Returns once the answer is yes. Raises Trouble, with what the program said, when it ends or is late."""
        end = time.monotonic() + patience_s
        while not question():
            if self.process.poll() is not None or time.monotonic() > end:
                said = self.log.read_text(errors="replace")[-2000:]
                raise Trouble(f"waited in vain until {what}; it said:\n{said}")
            time.sleep(0.05)

    def stop(self) -> None:
        """SIGTERM, and SIGKILL to those who do not listen."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(PATIENCE_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
        self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()


def tree(root: int) -> Iterator[tuple[int, float]]:
    """(pid, CPU seconds) of a process and of each below it; the CPU of children that have ended and were waited
    for is their parent's."""
    found: dict[int, tuple[int, float]] = {}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it has ended meanwhile
        # proc(5): the third field, the state, is fields[0] here
        found[int(pid)] = int(fields[1]), sum(map(int, fields[11:15])) / TICKS
    todo = [root]
    while todo:
        parent = todo.pop()
        if parent in found:
            yield parent, found[parent][1]
        todo += [pid for pid, one in found.items() if one[0] == parent]


def resident_mb(pids: Iterable[int]) -> float:
    """Memory of processes together: what is each one's own, and of the files they map, which they share, the
    largest. Of a single process that is its resident size."""
    own, files = 0, 0
    for pid in pids:
        try:
            fields = dict(re.findall(r"^(Rss\w+):\s+(\d+) kB$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE))
        except OSError:
            continue
        own += int(fields.get("RssAnon", 0)) + int(fields.get("RssShmem", 0))
        files = max(files, int(fields.get("RssFile", 0)))
    return (own + files) * 1024 / 1e6


def free_port() -> int:
    """A port of 127.0.0.1 that is free now, below those the kernel hands out to outgoing connections."""
    for port in random.sample(range(10_000, 30_000), 100):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise Trouble("no free port on 127.0.0.1")


def listens(port: int) -> bool:
    """Whether a connection to 127.0.0.1 is accepted."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def fsync_ms(folder: Path, times: int = 50) -> float:
    """The median time to write and sync 4 KiB there: what bounds everybody who syncs before 250."""
    took = []
    with tempfile.TemporaryFile(dir=folder, buffering=0) as file:
        for _ in range(times):
            file.write(b"x" * 4096)
            begun = time.perf_counter()
            os.fsync(file.fileno())
            took.append(time.perf_counter() - begun)
    return sorted(took)[times // 2] * 1000


def describe(folder: Path) -> dict[str, object]:
    """What the figures depend on."""
    kernel = os.uname()
    models = [line.partition(":")[2].strip() for line in Path("/proc/cpuinfo").read_text().splitlines()
              if line.startswith("model name")]
    return {
        "cpus": len(os.sched_getaffinity(0)),
        "cpu": models[0] if models else kernel.machine,
        "kernel": kernel.release,
        "python": ".".join(map(str, sys.version_info[:3])),
        "load_before": round(os.getloadavg()[0], 2),
        "fsync_ms": round(fsync_ms(folder), 3),
    }
