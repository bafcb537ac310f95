"""What systemd hands in and wants to hear: sockets (sd_listen_fds(3)) and state (sd_notify(3))."""

from __future__ import annotations

import contextlib
import os
import socket

FIRST_DESCRIPTOR = 3
RELOADED = "X_RELOADED="  # the engine tells its supervisor which rules are in force; systemd passes over X_ (sd_notify)


def listen_descriptors() -> dict[str, list[int]]:
    """Inherited sockets by FileDescriptorName, which is the listener's name; {} when none are for us.
    Variables are taken away, so that no child believes they are its own."""
    pid, count = os.environ.pop("LISTEN_PID", ""), os.environ.pop("LISTEN_FDS", "0")
    names = os.environ.pop("LISTEN_FDNAMES", "").split(":")
    found: dict[str, list[int]] = {}
    if pid == str(os.getpid()) and count.isdigit():
        for offset in range(int(count)):
            name = names[offset] if offset < len(names) else ""
            os.set_inheritable(FIRST_DESCRIPTOR + offset, False)
            found.setdefault(name, []).append(FIRST_DESCRIPTOR + offset)
    return found


class Notifier:
    """Tells systemd READY=1, STOPPING=1, WATCHDOG=1 ...; does nothing where nobody listens."""

    def __init__(self, address: str | None = None) -> None:
        self._address = os.environ.get("NOTIFY_SOCKET", "") if address is None else address

    def tell(self, *lines: str) -> None:
        """Sends state lines; a supervisor that has gone away is no reason to stop."""
        if not self._address:
            return
        target = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as out:
            try:
                out.sendto("\n".join(lines).encode(), target)
            except OSError:
                return

    def watchdog_s(self) -> float:
        """Half the time within which systemd wants a sign of life; 0: it wants none."""
        for_us = os.environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        microseconds = os.environ.get("WATCHDOG_USEC", "0")
        return int(microseconds) / 2e6 if for_us and microseconds.isdigit() else 0.0


class Channel:
    """A Notifier that speaks through the process that systemd knows."""

    def __init__(self, out: socket.socket, watchdog_s: float) -> None:
        self._out, self._watchdog_s = out, watchdog_s

    def tell(self, *lines: str) -> None:
        """Sends state lines to the supervisor, who sends them on."""
        with contextlib.suppress(OSError):
            self._out.send("\n".join(lines).encode())

    def watchdog_s(self) -> float:
        """What the supervisor found."""
        return self._watchdog_s
