"""Invariant: whatever comes over the hand-over, in whatever pieces, is a frame that says what it says or a FrameError;
what can be read is written again as the same frame, and no body lies outside the spool."""

from __future__ import annotations

from relay.core.content import Content, MemoryBody
from relay.core.envelope import Client, Envelope, Recipient, Submission
from relay.core.events import Event
from relay.core.message import Once, Prepared
from relay.queue.frames import (
    Decoder,
    Frame,
    FrameError,
    Kind,
    encode,
    events_frame,
    events_of,
    put_frame,
    put_of,
    report_frame,
    report_of,
)

ENVELOPE = Envelope("a@example.com", (Recipient("b@example.net", frozenset({"NEVER"}), "rfc822;b"),))
CONTENT = Content(b"Subject: x\r\n", MemoryBody(b"hello\r\n"))
MESSAGE = Prepared(
    "01abc", 1.0, 2.0, ENVELOPE, "p@example.com", "news", "pool", "route", "shop", "192.0.2.1", "apps",
    tags={"campaign": "x"}, facts={"size": 3}, once=Once("shop", "key", "digest", 9.0), content=CONTENT,
)  # fmt: skip
REPORT = Submission("01abd", 3.0, Client("192.0.2.1", 0, "", "bounces"), ENVELOPE, CONTENT)
SEEDS = [
    put_frame(7, MESSAGE), put_frame(8, MESSAGE, "front-1/in-x"), report_frame(9, REPORT, 4),
    events_frame([Event("refused", 1.0, sender="a@example.com", detail={"reason": "policy"})]),
    put_frame(1, MESSAGE) + put_frame(2, MESSAGE), encode(Kind.PUT, [[[[]]]]), put_frame(1, MESSAGE)[:30],
]  # fmt: skip


def target(data: bytes) -> None:
    whole, pieces = _frames([data]), _frames([data[:3], data[3:10], data[10:]])
    assert whole == pieces
    for frame in whole:
        _read(frame)


def _frames(pieces: list[bytes]) -> list[Frame]:
    decoder, found = Decoder(), []
    try:
        for piece in pieces:
            found += decoder.feed(piece)
    except FrameError:
        return []
    return found


def _read(frame: Frame) -> None:
    spooled: list[str] = []

    def body(name: str, _size: int) -> MemoryBody:
        assert ".." not in name.split("/")
        assert not name.startswith("/")
        spooled.append(name)
        return MemoryBody(b"")

    for again in (
        lambda: None if spooled else put_frame(put_of(frame, body).number, put_of(frame, body).message),
        lambda: report_frame(report_of(frame)[0], report_of(frame)[1], 1 << 30),
        lambda: events_frame(events_of(frame)),
    ):
        spooled.clear()
        try:
            written = again()
        except FrameError:
            continue
        if written and not spooled:
            [same] = Decoder().feed(written)
            assert same.raw == frame.raw
