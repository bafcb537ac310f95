"""The sandbox: where mail goes with `delivery: {mode: sandbox}`, so that nothing leaves the machine.

It keeps the last messages on disk, each as KEY.eml (the bytes as delivered) and KEY.json (what is known of
it). The JSON file is renamed into place last: a message is kept with both or not at all, and survives a
restart. Nothing here is synced: it is a show-case, and the queue has kept its promise before.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from relay.core.headers import Headers, decode_words, split_message
from relay.core.ids import message_id
from relay.deliver.sink import Arrival, Sink
from relay.deliver.verdict import DnsTxt, Verdict, dkim_verdicts

MAX_MESSAGES = 200
MAX_BYTES = 512 * 1024 * 1024
MAX_NOTES = 10_000  # accepted, not yet arrived here
# Our Received ends "... id ID; date" or "... id ID for <x>; date" (RFC 5321 §4.4).
RECEIVED_ID = re.compile(r"\bid\s+([0-9a-hjkmnp-tv-z]{19})\b")


@dataclass(frozen=True, slots=True)
class SandboxMessage:
    """One message kept. `id` is the sandbox's own, `message` the relay's id from the top Received ("" when
    there is none). Times are Unix seconds (UTC); `accepted_at` is 0 while unknown. `size` is in bytes."""

    id: str
    message: str
    received_at: float
    sender: str
    recipients: tuple[str, ...]
    subject: str
    size: int
    stream: str = ""
    accepted_at: float = 0.0

    @property
    def delay_s(self) -> float:
        """Seconds from acceptance by the relay to arrival here; 0 while unknown."""
        return max(0.0, self.received_at - self.accepted_at) if self.accepted_at else 0.0


@dataclass(frozen=True, slots=True)
class Shown:
    """One message with its bytes and a verdict for each DKIM signature."""

    message: SandboxMessage
    source: bytes
    dkim: tuple[Verdict, ...]


class Sandbox:
    """Receives and keeps. `dns_txt` answers for the public keys of our own signers. Files that a crash left
    half written are removed at the start."""

    def __init__(
        self,
        directory: Path,
        limit: int = MAX_MESSAGES,
        *,
        dns_txt: DnsTxt = lambda name: None,
        max_bytes: int = MAX_BYTES,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._directory = directory
        self._limit, self._max_bytes = limit, max_bytes
        self._dns_txt = dns_txt
        self._clock = clock
        self._kept: OrderedDict[str, SandboxMessage] = OrderedDict()
        self._bytes = 0
        self._verdicts: dict[str, tuple[Verdict, ...]] = {}
        self._notes: OrderedDict[str, tuple[str, float]] = OrderedDict()
        self._sink = Sink(self._spool, self._keep)

    async def start(self) -> int:
        """Reads what is kept and listens; returns the port on 127.0.0.1. Raises OSError."""
        self._directory.mkdir(parents=True, exist_ok=True, mode=0o750)
        self._load()
        return await self._sink.start()

    async def close(self) -> None:
        """Stops receiving; what is kept stays."""
        await self._sink.close()

    def note(self, message: str, stream: str, received_at: float) -> None:
        """Tells which stream a message belongs to and when it was accepted, before or after it arrives."""
        self._notes[message] = (stream, received_at)
        if len(self._notes) > MAX_NOTES:
            self._notes.popitem(last=False)
        for kept in [one for one in self._kept.values() if one.message == message and not one.accepted_at]:
            self._kept[kept.id] = replace(kept, stream=stream, accepted_at=received_at)
            self._write(self._kept[kept.id])

    def list(self) -> list[SandboxMessage]:
        """What is kept, newest first."""
        return list(reversed(self._kept.values()))

    async def dkim(self, key: str) -> tuple[Verdict, ...]:
        """The verdicts on a kept message's signatures, worked out once in a thread; empty when it has none
        or is kept no more."""
        if key not in self._verdicts and key in self._kept:
            source = await asyncio.to_thread(self._read, key)
            verdicts = await asyncio.to_thread(dkim_verdicts, source, self._dns_txt)
            if key in self._kept:
                self._verdicts[key] = verdicts
        return self._verdicts.get(key, ())

    async def show(self, key: str) -> Shown | None:
        """A message by its sandbox id or the relay's message id (the last to arrive), or None."""
        message = self._kept.get(key) or next((one for one in self.list() if one.message == key), None)
        if message is None:
            return None
        source = await asyncio.to_thread(self._read, message.id)
        return Shown(message, source, await self.dkim(message.id))

    def _spool(self) -> Path:
        return self._directory / f"{message_id(self._clock(), os.urandom(6))}.tmp"

    def _keep(self, arrival: Arrival) -> None:
        """Makes a message that arrived one that is kept; raises OSError with nothing left behind."""
        key = arrival.file.stem
        message, subject = _identify(arrival.start)
        stream, accepted_at = self._notes.get(message, ("", 0.0))
        kept = SandboxMessage(
            key, message, self._clock(), arrival.sender, arrival.recipients, subject, arrival.size,
            stream, accepted_at,
        )  # fmt: skip
        arrival.file.replace(self._file(key, "eml"))
        try:
            self._write(kept)
        except OSError:
            self._file(key, "eml").unlink(missing_ok=True)
            raise
        self._add(kept)

    def _add(self, message: SandboxMessage) -> None:
        self._kept[message.id] = message
        self._bytes += message.size
        while len(self._kept) > self._limit or (self._bytes > self._max_bytes and len(self._kept) > 1):
            self._drop(next(iter(self._kept)))

    def _drop(self, key: str) -> None:
        self._bytes -= self._kept.pop(key).size
        self._verdicts.pop(key, None)
        for suffix in ("json", "eml"):
            self._file(key, suffix).unlink(missing_ok=True)

    def _load(self) -> None:
        self._kept.clear()
        self._bytes = 0
        for file in sorted(self._directory.glob("*.json")):
            try:
                row = json.loads(file.read_bytes())
                message = SandboxMessage(**{**row, "recipients": tuple(row["recipients"])})
            except (ValueError, TypeError, KeyError):
                continue  # not ours, or of another version: its .eml goes below
            if message.id == file.stem and self._file(message.id, "eml").exists():
                self._add(message)
        for file in [*self._directory.glob("*.tmp"), *self._directory.glob("*.eml")]:
            if file.suffix == ".tmp" or file.stem not in self._kept:
                file.unlink(missing_ok=True)

    def _write(self, message: SandboxMessage) -> None:
        whole = self._file(message.id, "json")
        part = whole.with_suffix(".json.tmp")
        try:
            part.write_text(json.dumps(asdict(message)))
            part.replace(whole)
        except OSError:
            part.unlink(missing_ok=True)
            raise

    def _read(self, key: str) -> bytes:
        try:
            return self._file(key, "eml").read_bytes()
        except FileNotFoundError:
            return b""  # crowded out while somebody looked

    def _file(self, key: str, suffix: str) -> Path:
        return self._directory / f"{key}.{suffix}"


def _identify(start: bytes) -> tuple[str, str]:
    """The relay's message id and the subject, from the first bytes of a message; "" for what is missing."""
    try:
        headers = Headers.parse(split_message(start)[0])
    except ValueError:
        return "", ""
    found = RECEIVED_ID.search(headers.first("Received") or "")
    subject = decode_words(headers.first("Subject") or "")
    return found[1] if found else "", subject.encode("utf-8", "replace").decode()
