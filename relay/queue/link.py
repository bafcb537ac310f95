"""One connection between a front and the engine, seen from either end: frames in and out.

What is sent in one turn of the event loop leaves in one write. A frame that is none, or that nobody expects, ends
the connection and nothing else.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import cast

from relay.queue.frames import Decoder, Frame, FrameError

log = logging.getLogger("relay.queue")

UNSENT_BYTES = 1 << 20  # beyond it what can wait does: events, not mail


class Link(asyncio.Protocol):
    """`hear` takes each frame and may raise FrameError; `lost` is called once, when the connection has ended."""

    def __init__(self, hear: Callable[[Link, Frame], None], lost: Callable[[Link], None]) -> None:
        self._hear, self._lost = hear, lost
        self._decoder = Decoder()
        self._out: list[bytes] = []
        self._transport: asyncio.Transport | None = None
        self.full = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection stands."""
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(UNSENT_BYTES)

    def send(self, frame: bytes) -> None:
        """Sends a frame with all others of this turn."""
        if not self._out:
            asyncio.get_running_loop().call_soon(self._flush)
        self._out.append(frame)

    def _flush(self) -> None:
        frames, self._out = self._out, []
        if frames and self._transport is not None:
            self._transport.write(frames[0] if len(frames) == 1 else b"".join(frames))

    def data_received(self, data: bytes) -> None:
        """Takes what came."""
        try:
            for frame in self._decoder.feed(data):
                if self._transport is None:
                    return
                self._hear(self, frame)
        except FrameError as error:
            log.error("a hand-over connection is closed: %s", error)
            self.end()

    def end(self) -> None:
        """Closes; what has not left is lost."""
        if self._transport is not None:
            self._transport.abort()

    def finish(self) -> None:
        """Closes once all is written."""
        if self._out:
            self._flush()
        if self._transport is not None:
            self._transport.close()

    def pause_writing(self) -> None:
        """The other side does not read."""
        self.full = True

    def resume_writing(self) -> None:
        """It reads again."""
        self.full = False

    def connection_lost(self, error: Exception | None) -> None:
        """The connection is gone."""
        self._transport = None
        self._lost(self)
