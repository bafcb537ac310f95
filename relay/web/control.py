"""The Unix socket on which operators reach a running relay. Who may open the file may do everything:
mode 0660, owner and group of the relay. Nothing of it is reachable over the network."""

from __future__ import annotations

import errno
import os
import socket
from pathlib import Path
from typing import Final

from aiohttp import web

from relay.web.api import ControlApi
from relay.web.operator import Operator

MODE: Final = 0o660
MAX_PATH_BYTES: Final = 107  # sun_path has 108 with its final NUL (unix(7))
SHUTDOWN_S: Final = 5.0  # an answer takes milliseconds; whoever is still reading after this is gone


class ControlServer:
    """A served socket; `close` stops it and takes its file away."""

    def __init__(self, runner: web.AppRunner, path: Path) -> None:
        self._runner = runner
        self._path = path
        self._inode = path.stat().st_ino

    async def close(self) -> None:
        """Stops serving. The file goes only if it is still ours: a successor may have bound already."""
        await self._runner.cleanup()
        if self._path.exists() and self._path.stat().st_ino == self._inode:
            self._path.unlink()


async def serve_control(operator: Operator, path: Path) -> ControlServer:
    """Serves the control API on a Unix socket. Raises OSError: EADDRINUSE when another relay answers
    there, ENAMETOOLONG with the remedy when the path is too long for a socket."""
    sock = bind_socket(path)
    runner = web.AppRunner(ControlApi(operator).application(), access_log=None, shutdown_timeout=SHUTDOWN_S)
    await runner.setup()
    await web.SockSite(runner, sock).start()
    return ControlServer(runner, path)


def bind_socket(path: Path, mode: int = MODE) -> socket.socket:
    """A bound Unix socket with its mode set before anyone can connect (it does not listen yet)."""
    length = len(os.fsencode(path))
    if length > MAX_PATH_BYTES:
        raise OSError(
            errno.ENAMETOOLONG,
            f"control socket {path}: {length} bytes, a Unix socket's path may"
            f" have {MAX_PATH_BYTES}; set control: {{socket: …}} to a shorter one",
        )
    _remove_stale(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.bind(str(path))
    path.chmod(mode)
    sock.setblocking(False)
    return sock


def _remove_stale(path: Path) -> None:
    """Takes away the socket of a relay that died; refuses when one is alive behind it."""
    if not path.is_socket():
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
            return
        except FileNotFoundError:
            return
    raise OSError(errno.EADDRINUSE, f"another relay is running: it answers on {path}")
