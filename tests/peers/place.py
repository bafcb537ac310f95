"""Room on this machine for one run of the peers: loopback addresses, a port, a folder, processes that end."""

from __future__ import annotations

import itertools
import os
import random
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")
PATIENCE_S = 30.0


def need(*programs: str) -> None:
    """Skips when a program is not installed; with RELAY_REQUIRE_PEERS=1 that is an error."""
    path = f"{os.environ['PATH']}:/usr/sbin:/sbin"
    if missing := [program for program in programs if shutil.which(program, path=path) is None]:
        give_up(f"not installed: {', '.join(missing)}")


def give_up(reason: str) -> None:
    """A skip, or with RELAY_REQUIRE_PEERS=1 a failure."""
    import pytest  # the benchmark uses this file without it

    (pytest.fail if os.environ.get("RELAY_REQUIRE_PEERS") == "1" else pytest.skip)(reason)


def wait_for(question: Callable[[], T], what: str, timeout_s: float = PATIENCE_S) -> T:
    """The first true answer; fails with `what` and the last answer when none comes in time."""
    end = time.monotonic() + timeout_s
    while not (answer := question()):
        if time.monotonic() > end:
            raise AssertionError(f"waited {timeout_s} s in vain for {what}; last: {answer!r}")
        time.sleep(0.02)
    return answer


def listens(address: str, port: int) -> bool:
    """Whether a connection is accepted there."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((address, port)) == 0


class Place:
    """A /24 of the loopback network that is this process's own, so that runs side by side do not meet, one port
    free on all of it, and a folder other users can enter (Postfix and OpenDKIM drop their rights)."""

    def __init__(self) -> None:
        self.net = f"127.{100 + _claim.block}.{random.randint(1, 250)}"
        self.port = free_port("0.0.0.0")
        self.folder = Path(tempfile.mkdtemp(prefix="relay-peers-"))
        self.folder.chmod(0o755)
        self._addresses: Iterator[int] = iter(range(10, 250))

    def address(self, number: int | None = None) -> str:
        """The address of that number, or one not used yet."""
        return f"{self.net}.{number if number is not None else next(self._addresses)}"

    def room(self, name: str) -> Path:
        """A new folder."""
        folder = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=self.folder))
        folder.chmod(0o755)
        return folder

    def close(self) -> None:
        """Removes the folder."""
        shutil.rmtree(self.folder, ignore_errors=True)


class _Claim:
    """A block of ports that no other process takes from: workers of one run, and runs side by side, each have
    their own. All are below the range of ports for outgoing connections: nobody takes one by chance.

    The claim is a UDP socket on the block's first port of an address that nothing else uses: the kernel gives
    it back when the process ends, however it ends.
    """

    SIZE, FIRST, BLOCKS, KEEPER = 200, 10_000, 100, "127.255.255.254"

    def __init__(self) -> None:
        self._keeper = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        for block in random.sample(range(self.BLOCKS), self.BLOCKS):
            try:
                self._keeper.bind((self.KEEPER, self.FIRST + block * self.SIZE))
            except OSError:
                continue
            self.block = block
            begin = self.FIRST + block * self.SIZE
            self._ports = itertools.cycle(range(begin, begin + self.SIZE))
            return
        raise AssertionError(f"{self.BLOCKS} runs on this machine already")

    def port(self, address: str) -> int:
        """The next port of the block that is free on the address; one comes again only after all the others."""
        for port in itertools.islice(self._ports, self.SIZE):
            with socket.socket() as probe:
                try:
                    probe.bind((address, port))
                except OSError:
                    continue
                return port
        raise AssertionError("no free port")


_claim = _Claim()


def free_port(address: str = "127.0.0.1") -> int:
    """A port free on that address that no other worker or run is given."""
    return _claim.port(address)


class Program:
    """A process of ours, its output in a file, ended by its own pid."""

    def __init__(self, command: Sequence[str], log: Path, **options: object) -> None:
        self.log = log
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                list(command), stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, **options
            )

    def wait_until(self, question: Callable[[], T], what: str, timeout_s: float = PATIENCE_S) -> T:
        """As `wait_for`, and fails at once with the log when the program has ended."""

        def ask() -> T:
            if self.process.poll() is not None:
                raise AssertionError(f"{what}: it ended with {self.process.returncode}:\n{self.tail()}")
            return question()

        try:
            return wait_for(ask, what, timeout_s)
        except AssertionError as trouble:
            self.stop()
            raise AssertionError(f"{trouble}\n{self.tail()}") from None

    def tail(self, characters: int = 4000) -> str:
        """The end of what it said."""
        return self.log.read_text(errors="replace")[-characters:]

    def stop(self, timeout_s: float = PATIENCE_S) -> int:
        """SIGTERM, and SIGKILL when that is not enough; returns the exit status."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(timeout_s)
            except subprocess.TimeoutExpired:
                self.process.kill()
        return self.process.wait()
