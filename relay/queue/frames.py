"""What fronts and engine say to each other, as bytes: frames. No I/O here.

    frame = length of all that follows (4 bytes) · kind (1) · length of the words (4) · words (JSON) · raw bytes

Invariant: whatever bytes come, in whatever pieces, `Decoder.feed` gives frames that are well formed or raises
FrameError, and keeps no more than MOST_BYTES; a message that `message_of` returns has every field of the right
kind, an id that is safe as a file name, and a body that lies in the frame or is named inside the spool.
"""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, NamedTuple, NoReturn

from relay.core.content import Body, Content, MemoryBody
from relay.core.envelope import Client, Envelope, Recipient, Submission
from relay.core.events import NAMES, Event
from relay.core.jsontext import json_encoder
from relay.core.message import Once, Prepared

VERSION = 1
MOST_BYTES = 16 << 20  # of a frame: ten times the largest message that is not spooled
HEAD = struct.Struct("!IBI")
SAFE_ID = re.compile(r"[0-9A-Za-z]{1,64}")
SPOOLED = re.compile(r"[0-9a-z-]{1,32}/in-[0-9A-Za-z_]{1,32}")
NOTIFY = {
    ",".join(names): frozenset(names)
    for names in [(), ("NEVER",), ("DELAY",), ("FAILURE",), ("SUCCESS",), ("DELAY", "FAILURE"),
                  ("DELAY", "SUCCESS"), ("FAILURE", "SUCCESS"), ("DELAY", "FAILURE", "SUCCESS")]
}  # fmt: skip
NOTIFY_WORDS = {names: text for text, names in NOTIFY.items()}


class FrameError(ValueError):
    """The other side does not speak as agreed: the connection ends."""


class Kind(IntEnum):
    """What a frame is for; F: from a front, E: from the engine."""

    HELLO = 1  # F: [version, number of the front, its pid, its rules]
    WELCOME = 2  # E: [version, the rules in force]
    PUT = 3  # F: one message
    ANSWERS = 4  # E: [numbers of messages now durable, [[number, what else ...] ...]]
    EVENTS = 5  # F: rows of events
    ASK = 6  # F: [number, question, arguments]
    REPLY = 7  # E: [number, answer]
    TELL = 8  # F: [what, arguments], without an answer
    RULES = 9  # E: [the rules' mark]; raw: the files
    TAKEN = 10  # F: [the rules' mark, problem or ""]
    OPEN = 11  # F: it accepts clients
    REPORT = 12  # F: mail about our mail


class Frame(NamedTuple):
    """One frame as it came; `words` are JSON values, of what form is for the reader of that kind to see."""

    kind: Kind
    words: Any
    raw: bytes


@dataclass(frozen=True, slots=True)
class Put:
    """A message handed over under the front's `number`."""

    number: int
    message: Prepared


def _nothing_else(text: str) -> NoReturn:
    raise ValueError(f"{text} is no JSON")


_encode = json_encoder(nan=False)
_decode = json.JSONDecoder(parse_constant=_nothing_else).raw_decode
_KINDS = {kind.value: kind for kind in Kind}


def encode(kind: Kind, words: object, *raw: bytes) -> bytes:
    """A frame's bytes; raises FrameError for what is larger than a frame may be."""
    text = _encode(words).encode("ascii")
    length = 5 + len(text) + sum(map(len, raw))
    if length > MOST_BYTES:
        raise FrameError(f"a frame of {length} bytes; at most {MOST_BYTES} are taken")
    return b"".join((HEAD.pack(length, kind, len(text)), text, *raw))


class Decoder:
    """Bytes in, frames out."""

    __slots__ = ("_kept",)

    def __init__(self) -> None:
        self._kept = b""

    def feed(self, data: bytes) -> list[Frame]:
        """The frames that are complete now. Raises FrameError; then nothing more may be fed."""
        if self._kept:
            data = self._kept + data
        found, at, size = [], 0, len(data)
        while size - at >= HEAD.size:
            length, kind, words = HEAD.unpack_from(data, at)
            if not words + 5 <= length <= MOST_BYTES:
                raise FrameError(f"a frame of {length} bytes with {words} of words")
            end = at + 4 + length
            if end > size:
                break
            middle = at + HEAD.size + words
            found.append(_frame(kind, data[at + HEAD.size : middle], data[middle:end]))
            at = end
        self._kept = data[at:]
        return found


def _frame(kind: int, text: bytes, raw: bytes) -> Frame:
    try:
        words, end = _decode(text.decode("ascii"))
        if end == len(text):
            return Frame(_KINDS[kind], words, raw)
    except (ValueError, RecursionError, KeyError) as error:
        raise FrameError(f"kind {kind}: {error}") from None
    raise FrameError(f"kind {kind}: more than one value")


def put_frame(number: int, message: Prepared, spooled: str = "") -> bytes:
    """A message as a frame; with `spooled` its body is that file of the spool. Raises FrameError."""
    envelope, content = message.envelope, message.content
    words = (
        number, message.id, message.received_at, message.due_at, message.return_path, message.stream, message.pool,
        message.route, message.credential, message.client, message.listener, message.held_by, message.held,
        message.priority, dict(message.tags), message.facts,
        envelope.sender, envelope.body, envelope.utf8, envelope.ret, envelope.envid,
        [(one.address, NOTIFY_WORDS[one.notify], one.orcpt) for one in envelope.recipients],
        content.eight_bit, content.long_lines, len(content.header), content.body.size, spooled,
        message.came_bytes, message.once,
    )  # fmt: skip
    body = () if spooled else content.body.chunks()
    return encode(Kind.PUT, words, content.header, *body)


TYPES = (
    int, str, float, float, str, str, str,
    str, str, str, str, str, bool,
    int, dict, dict,
    str, str, bool, str, str,
    list,
    bool, bool, int, int, str,
    int, list,
)  # fmt: skip
OPTIONAL = (15, 28)  # facts and idempotency key may be None
FORMS = {
    tuple(type(None) if place in absent else wanted for place, wanted in enumerate(TYPES))
    for absent in [(), OPTIONAL[:1], OPTIONAL[1:], OPTIONAL]
}
ONCE = [str, str, str, float]
RECIPIENT = [str, str, str]


def put_of(frame: Frame, spool_body: Callable[[str, int], Body]) -> Put:
    """The message in a PUT frame; `spool_body` finds a body by its name in the spool and its size. Raises
    FrameError."""
    words = frame.words
    if type(words) is not list or len(words) != len(TYPES):
        raise FrameError("a message without its fields")
    if tuple(map(type, words)) not in FORMS:
        raise FrameError(_wrong_field(words))
    (number, id_, received_at, due_at, return_path, stream, pool, route, credential, client, listener, held_by, held,
     priority, tags, facts, sender, body_type, utf8, ret, envid, rows, eight_bit, long_lines, header_size, body_size,
     spooled, came_bytes, once) = words  # fmt: skip
    if not SAFE_ID.fullmatch(id_):
        raise FrameError("a message with an id that is none")
    if not _texts(tags):
        raise FrameError("tags that are no texts")
    envelope = Envelope(sender, _recipients(rows), body_type, utf8, ret, envid)
    content = Content(*_parts(frame.raw, header_size, body_size, spooled, spool_body), eight_bit, long_lines)
    return Put(number, Prepared(
        id_, received_at, due_at, envelope, return_path, stream, pool, route, credential, client, listener,
        held, priority, held_by, tags=tags, facts=facts, came_bytes=came_bytes, once=_once(once), content=content,
    ))  # fmt: skip


def _wrong_field(words: list[Any]) -> str:
    """Which field of a message is of another type than it has in every form."""
    rows = enumerate(zip(words, TYPES, strict=True))
    place, (word, wanted) = next(
        row for row in rows if type(row[1][0]) is not row[1][1] and not (row[0] in OPTIONAL and row[1][0] is None)
    )
    return f"field {place} of a message is {type(word).__name__}, not {wanted.__name__}"


def _once(words: list[Any] | None) -> Once | None:
    if words is not None and list(map(type, words)) != ONCE:
        raise FrameError("an idempotency key that is none")
    return None if words is None else Once(*words)


def _recipients(rows: list[Any]) -> tuple[Recipient, ...]:
    if not rows:
        raise FrameError("a message without recipients")
    found = []
    for row in rows:
        if type(row) is not list or list(map(type, row)) != RECIPIENT or row[1] not in NOTIFY:
            raise FrameError("a recipient that is none")
        found.append(Recipient(row[0], NOTIFY[row[1]], row[2]))
    return tuple(found)


def _parts(
    raw: bytes, header_size: int, body_size: int, spooled: str, spool_body: Callable[[str, int], Body]
) -> tuple[bytes, Body]:
    """Header and body."""
    inside = 0 if spooled else body_size
    if header_size < 0 or body_size < 0 or header_size + inside != len(raw):
        raise FrameError("a message of another size than it says")
    if not spooled:
        return raw[:header_size], MemoryBody(raw[header_size:])
    if not SPOOLED.fullmatch(spooled):
        raise FrameError("a body outside the spool")
    return raw, spool_body(spooled, body_size)


def _texts(tags: Mapping[Any, Any]) -> bool:
    return not tags or set(map(type, tags.values())) == {str}


def report_frame(number: int, submission: Submission, most: int) -> bytes:
    """A report on our mail as a frame, with at most so many bytes of its body. Raises FrameError."""
    client, envelope, header = submission.client, submission.envelope, submission.content.header
    body = b"".join(_first(submission.content.body, most))
    words = (
        number, submission.id, submission.received_at, client.address, client.listener, envelope.sender,
        [(one.address, NOTIFY_WORDS[one.notify], one.orcpt) for one in envelope.recipients], len(header),
    )  # fmt: skip
    return encode(Kind.REPORT, words, header, body)


def _first(body: Body, most: int) -> Iterator[bytes]:
    for chunk in body.chunks():
        yield chunk[:most]
        most -= len(chunk[:most])
        if not most:
            return


def report_of(frame: Frame) -> tuple[int, Submission]:
    """The number and the report in a REPORT frame. Raises FrameError."""
    number, id_, received_at, address, listener, sender, rows, size = words_of(
        frame, int, str, float, str, str, str, list, int
    )
    if not 0 <= size <= len(frame.raw):
        raise FrameError("a report of another size than it says")
    content = Content(frame.raw[:size], MemoryBody(frame.raw[size:]))
    client = Client(address, 0, "", listener)
    return number, Submission(id_, received_at, client, Envelope(sender, _recipients(rows)), content)


def events_frame(events: Sequence[Event]) -> bytes:
    """Events as a frame, in order. Raises FrameError."""
    return encode(Kind.EVENTS, [
        (one.event, one.time, one.message, one.recipient, one.stream, one.route, one.sender, dict(one.tags),
         dict(one.detail))
        for one in events
    ])  # fmt: skip


EVENT_TYPES = [str, float, str, str, str, str, str, dict, dict]


def events_of(frame: Frame) -> list[Event]:
    """The events in an EVENTS frame. Raises FrameError."""
    if type(frame.words) is not list or frame.raw:
        raise FrameError("events that are no list, or more than that")
    found = []
    for row in frame.words:
        if type(row) is not list or list(map(type, row)) != EVENT_TYPES or row[0] not in NAMES or not _texts(row[7]):
            raise FrameError("an event that is none")
        found.append(Event(*row))
    return found


def words_of(frame: Frame, *types: type) -> list[Any]:
    """The words of a frame when they are a list of these types, `object` standing for any. Raises FrameError."""
    words = frame.words
    if type(words) is not list or len(words) != len(types):
        raise FrameError(f"{frame.kind.name} with other words than it has")
    for word, wanted in zip(words, types, strict=True):
        if wanted is not object and type(word) is not wanted:
            raise FrameError(f"{frame.kind.name} with a {type(word).__name__} for a {wanted.__name__}")
    return words
