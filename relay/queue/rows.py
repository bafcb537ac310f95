"""Messages and recipients as rows and back: the one place that knows the columns' order."""

from __future__ import annotations

import json
import time
from binascii import crc32
from collections.abc import Callable, Iterable
from sys import intern
from typing import Any

from relay.core.address import domain_of
from relay.core.content import Body, Content, MemoryBody
from relay.core.envelope import Envelope, Recipient
from relay.core.message import Prepared
from relay.core.waiting import Waiting
from relay.queue.store import SEND_NOTE, Row, Stored

Values = tuple[Any, ...]
SIZE = 15  # the place of a message's size in its columns


def checksum(chunks: Iterable[bytes]) -> int:
    """CRC-32 of a body: finds what a disk or a hand changed, not what an enemy did."""
    found = 0
    for chunk in chunks:
        found = crc32(chunk, found)
    return found


def message_values(message: Prepared, body: bytes | None) -> Values:
    """The columns of `put_message`; `body` None when it lies in a spool file."""
    envelope, content = message.envelope, message.content
    return (
        message.id, message.received_at, message.stream, message.pool, message.route, envelope.sender,
        message.return_path, envelope.envid, envelope.ret, envelope.body, envelope.utf8,
        message.credential, message.client, json.dumps(dict(message.tags)) if message.tags else "{}",
        content.eight_bit, content.size, content.header, body, content.body.size,
        body is None, len(envelope.recipients),
        checksum(content.body.chunks()) if body is None else crc32(body),
    )  # fmt: skip


def recipient_values(message: Prepared, waiting: Iterable[Waiting]) -> list[Values]:
    """The columns of `put_recipient`, a row for each recipient."""
    state = "held" if message.held else "queued"
    note = message.held_by
    if not note and message.due_at > message.received_at:
        note = f"{SEND_NOTE}{time.strftime('%Y-%m-%d %H:%M:%S UTC', time.gmtime(message.due_at))}"
    return [
        (
            message.id, place.nth, recipient.address, place.domain,
            ",".join(sorted(recipient.notify)) if recipient.notify else "",
            recipient.orcpt, message.stream, state, place.received_at, message.due_at, note, place.flow,
        )
        for place, recipient in zip(waiting, message.envelope.recipients, strict=True)
    ]  # fmt: skip


def places(message: Prepared) -> list[Waiting]:
    """What waits once the message is stored, one for each recipient."""
    flow, starts_at = intern(message.flow), message.starts_at
    return [
        Waiting(message.due_at, message.id, index, recipient.address, intern(domain_of(recipient.address)),
                message.stream, starts_at, 0, flow=flow)
        for index, recipient in enumerate(message.envelope.recipients)
    ]  # fmt: skip


def waiting_of(row: Values) -> Waiting:
    """What waits, from the columns of `due`; texts that many share are kept once."""
    due_at, message, nth, address, domain, stream, received_at, attempts, notified, flow, lost = row
    return Waiting(due_at, message, nth, address, intern(domain), intern(stream), received_at, attempts,
                   bool(notified), intern(flow), lost)  # fmt: skip


def stored(row: Values, recipients: Iterable[Values], spool_body: Callable[[str, int], Body]) -> Stored:
    """A message from the columns of `load_message` and the rows of `load_recipients`."""
    waiting = {
        idx: Recipient(address, frozenset(notify.split(",")) - {""}, orcpt)
        for idx, address, notify, orcpt in recipients
    }
    (id_, received_at, stream, pool, route, sender, return_path, envid, ret, body_type, utf8, credential,
     client, tags, eight_bit, _size, header, data, body_size) = row  # fmt: skip
    body = MemoryBody(data) if data is not None else spool_body(id_, body_size)
    message = Prepared(
        id=id_, received_at=received_at, due_at=received_at, return_path=return_path,
        envelope=Envelope(sender, tuple(waiting.values()), body_type, bool(utf8), ret, envid),
        stream=stream, pool=pool, route=route, credential=credential, client=client, tags=json.loads(tags),
        content=Content(header, body, eight_bit=bool(eight_bit)),
    )  # fmt: skip
    return Stored(message, waiting)


def operator_row(row: Values) -> Row:
    """A Row from the columns of `queue.filters.FIND`."""
    columns, tags, lost = row[:12], json.loads(row[12]), row[13]
    return Row(*columns, tags=tags, lost=lost)  # type: ignore[misc]  # mypy does not see how many columns there are
