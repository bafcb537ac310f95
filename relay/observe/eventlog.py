"""The event log: one JSON object a line, a file a day (UTC), written behind the mail by at most 50 ms.

Losing the last lines in a power cut loses history, never mail: the queue knows nothing of this file.
"""

from __future__ import annotations

import asyncio
import datetime
import logging
import os
from pathlib import Path

from relay.core.events import Event
from relay.core.jsontext import json_encoder

log = logging.getLogger("relay.events")

FLUSH_S = 0.05
AGAIN_S = 1.0  # after a write that failed
BUFFER_MOST = 100_000  # lines kept while the disk is full; beyond it the oldest go, counted
PREFIX, SUFFIX = "events-", ".jsonl"
encode = json_encoder(ascii_only=False)


class EventLog:
    """Writes what the bus tells. `keep_days` files stay; `dropped` counts lines that found no room."""

    def __init__(self, folder: Path, *, node: str, keep_days: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.node, self.keep_days = folder, node, keep_days
        self.dropped = 0
        self._lines: list[str] = []
        self._timer: asyncio.TimerHandle | None = None
        self._day = ""
        self._file = -1

    def on_event(self, event: Event) -> None:
        """Takes one event; it is in the file within FLUSH_S."""
        self._lines.append(encode(event.as_dict(self.node)))
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(FLUSH_S, self.flush)

    def flush(self) -> None:
        """Writes what waits. A full disk keeps the lines for the next time."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        lines, self._lines = self._lines, []
        if not lines:
            return
        data = ("\n".join(lines) + "\n").encode("utf-8", "backslashreplace")
        try:
            self._open_today()
            written = os.write(self._file, data)
            if written < len(data):  # half a line would spoil the file: take it back
                os.ftruncate(self._file, os.fstat(self._file).st_size - written)
                raise OSError("the disk is full")
        except OSError as error:
            self._keep(lines, error)

    def _keep(self, lines: list[str], error: OSError) -> None:
        log.warning("cannot write the event log in %s: %s", self.folder, error)
        self._lines[:0] = lines
        overflow = max(0, len(self._lines) - BUFFER_MOST)
        self.dropped += overflow
        del self._lines[:overflow]
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(AGAIN_S, self.flush)

    def _open_today(self) -> None:
        day = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d")
        if day == self._day:
            return
        self.close_file()
        path = self.folder / f"{PREFIX}{day}{SUFFIX}"
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o640)
        self._day = day
        for old in sorted(self.folder.glob(f"{PREFIX}*{SUFFIX}"))[: -self.keep_days]:
            old.unlink(missing_ok=True)

    def close_file(self) -> None:
        """Ends the day's file."""
        if self._file >= 0:
            os.close(self._file)
            self._file, self._day = -1, ""

    def close(self) -> None:
        """Writes what waits and closes the file."""
        self.flush()
        if self._timer is not None:
            self._timer.cancel()
        self.close_file()
