"""The relay with a library of ours under it, so that its disk and its clock can go wrong while it runs."""

from __future__ import annotations

import functools
import mmap
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.faults.load import numbers
from tests.faults.trace import Marker
from tests.peers.place import need
from tests.peers.receiver import Receiver
from tests.peers.relay import Relay

SOURCE = Path(__file__).parent / "preload.c"
CONTROL = struct.Struct("=iiqqiiq")  # struct control of preload.c


@functools.cache
def library() -> Path:
    """The library, compiled once a run."""
    need("gcc")
    made = Path(tempfile.mkdtemp(prefix="relay-faults-")) / "preload.so"
    flags = ["-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-pthread"]
    subprocess.run(["gcc", *flags, "-o", str(made), str(SOURCE), "-ldl"], check=True, timeout=60)
    return made


class Faults:
    """What goes wrong with a relay's files below `root` from now on; may be changed while it runs."""

    def __init__(self, root: Path, folder: Path) -> None:
        self.root, self.trace = root, folder / "trace"
        control = folder / "control"
        control.write_bytes(bytes(CONTROL.size))
        with control.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), CONTROL.size)
        self._control = control

    def environment(self, *, traced: bool = False) -> dict[str, str]:
        """For the process that is to suffer."""
        made = {"LD_PRELOAD": str(library()), "FAULTS_ROOT": str(self.root), "FAULTS_CONTROL": str(self._control)}
        return made | ({"FAULTS_TRACE": str(self.trace)} if traced else {})

    def fail_syncs(self, errno: int) -> None:
        """Every fsync fails; 0: none."""
        self._set(0, errno)

    def slow_syncs(self, seconds: float) -> None:
        """Every fsync takes that much longer."""
        self._set(1, round(seconds * 1e6))

    def shift_wall(self, seconds: float) -> None:
        """The wall clock goes wrong by so much; the monotonic one goes on."""
        self._set(2, round(seconds * 1e9))

    def fill_disk(self, *, full: bool) -> None:
        """Files grow only into room that others give back, or as they like again."""
        self._set(4, int(full))

    @property
    def syncs(self) -> int:
        """How many there were."""
        return int(CONTROL.unpack(self._map[:])[3])

    def _set(self, place: int, value: int) -> None:
        form = "=" + CONTROL.format[1:][place]
        struct.pack_into(form, self._map, struct.calcsize("=" + CONTROL.format[1 : 1 + place]), value)


def under_faults(relay: Relay, *, traced: bool = False) -> Faults:
    """Puts the library under a relay that has not started yet."""
    folder = relay.home / "faults"
    folder.mkdir()
    faults = Faults(relay.home, folder)
    if traced:
        shutil.rmtree(relay.home / "data")  # a record begins with nothing
    relay.surroundings |= faults.environment(traced=traced)
    return faults


def marking(server: Receiver, faults: Faults) -> None:
    """Has a receiver write into the record what it takes, before it says so."""
    marker = Marker(faults.trace)

    def answers() -> Iterator[bytes]:
        while True:
            marker.mark("delivered", numbers(server.seen.messages[-1:])[0])
            yield b"250 2.0.0 Ok\r\n"

    server.answers["dot"] = answers()
