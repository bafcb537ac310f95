"""Accepting connections from a socket that other fronts accept from, too, so that all have their share.

The event loop's own server accepts whatever there is: the front that wakes first would take all of ten connections
that come at once, and keep them, while the others have nothing to do. Here one connection is accepted in a turn of
the loop, and a front that has more than another leaves it to that one for YIELD_S; if nobody takes it, it does.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable

log = logging.getLogger(__name__)

YIELD_S = 0.001
AGAIN_S = 1.0  # after the kernel refused to accept: out of descriptors, most often


class Accepting:
    """Accepts from one socket until `close`. `ahead` says whether this front has more clients than another."""

    def __init__(
        self, listening: socket.socket, factory: Callable[[], asyncio.Protocol], ahead: Callable[[], bool]
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._listening, self._factory, self._ahead = listening, factory, ahead
        self._yielded = False
        self._later: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[object]] = set()
        self._watch()

    def _watch(self) -> None:
        self._later = None
        self._loop.add_reader(self._listening.fileno(), self._readable)

    def _pause(self, for_s: float) -> None:
        self._loop.remove_reader(self._listening.fileno())
        self._later = self._loop.call_later(for_s, self._watch)

    def _readable(self) -> None:
        if not self._yielded and self._ahead():
            self._yielded = True
            self._pause(YIELD_S)
            return
        self._yielded = False
        try:
            plug, _ = self._listening.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return  # another front was quicker, or the client is gone
        except OSError as error:
            log.error("cannot accept: %s", error)
            self._pause(AGAIN_S)
            return
        plug.setblocking(False)
        task = self._loop.create_task(self._begin(plug), name="accepted")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _begin(self, plug: socket.socket) -> None:
        try:
            await self._loop.connect_accepted_socket(self._factory, plug)
        except OSError as error:
            log.debug("a client was gone at once: %s", error)
            plug.close()

    def close(self) -> None:
        """Accepts no more; the kernel keeps new connections for the others."""
        if self._later is not None:
            self._later.cancel()
        else:
            self._loop.remove_reader(self._listening.fileno())
        self._listening.close()
