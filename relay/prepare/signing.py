"""Where signing happens: on the event loop for ordinary messages, in one thread for large ones.

Measured before choosing (docs/dkim.md): an RSA-2048 signature of a 4 KiB message takes 0.3 ms on the loop.
Handing messages to a thread in groups, one hop for all that wait, gave no more messages a second and 3 to
8 ms instead of 0.3 for each, as the thread must win the interpreter lock back from a busy loop after every
signature. A body of a megabyte would hold the loop for 2 to 8 ms, a spooled one for disk reads besides: those
go to the thread, where hashing and RSA release the lock.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

from relay.core.content import Content
from relay.core.headers import Headers
from relay.prepare.dkim import Signer, sign

LOOP_BYTES = 131_072  # half a millisecond of hashing; spooled bodies are larger

T = TypeVar("T")


class SigningDesk:
    """Signs messages for one event loop. `clock` gives Unix seconds for t=."""

    def __init__(self, *, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="signing")

    async def sign(self, content: Content, headers: Headers, signers: Sequence[Signer]) -> Content:
        """The content with one DKIM-Signature for each signer on top; the same object when there is none.
        `headers` are the fields of `content.header`; the caller does not change them meanwhile. Raises
        OSError when a spooled body cannot be read."""
        if not signers:
            return content
        work = partial(sign, content, headers, signers, self._clock())
        fields = work() if content.body.size <= LOOP_BYTES else await self.apart(work)
        return Content(fields + content.header, content.body, content.eight_bit, content.long_lines)

    async def apart(self, work: Callable[[], T]) -> T:
        """What `work` returns, done in the thread: for large messages that must be re-encoded, too."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    def close(self) -> None:
        """Waits for the message in hand and ends the thread."""
        self._thread.shutdown()
