"""Frames between fronts and engine. Invariant: any bytes, cut anywhere, give well-formed frames or FrameError."""

import contextlib
import itertools
import string

import pytest
from hypothesis import given
from hypothesis import strategies as some

from relay.core.content import Content, MemoryBody
from relay.core.envelope import Client, Envelope, Recipient, Submission
from relay.core.events import NAMES, Event
from relay.core.message import Once, Prepared
from relay.queue.frames import (
    HEAD,
    MOST_BYTES,
    NOTIFY,
    Decoder,
    FrameError,
    Kind,
    Put,
    encode,
    events_frame,
    events_of,
    put_frame,
    put_of,
    report_frame,
    report_of,
    words_of,
)
from relay.queue.spool import FileBody

texts = some.text(max_size=30)
ids = some.text(string.ascii_letters + string.digits, min_size=1, max_size=40)
moments = some.floats(0, 4e9)
facts = some.none() | some.dictionaries(texts, texts | some.integers() | some.lists(texts), max_size=3)
recipients = some.builds(Recipient, texts, some.sampled_from(sorted(NOTIFY.values(), key=sorted)), texts)
envelopes = some.builds(
    Envelope, texts, some.lists(recipients, min_size=1, max_size=4).map(tuple), texts, some.booleans(), texts, texts
)
contents = some.builds(
    Content, some.binary(max_size=60), some.binary(max_size=60).map(MemoryBody), some.booleans(), some.booleans()
)
messages = some.builds(
    Prepared, id=ids, received_at=moments, due_at=moments, envelope=envelopes, return_path=texts, stream=texts,
    pool=texts, route=texts, credential=texts, client=texts, listener=texts, held=some.booleans(),
    priority=some.integers(-5, 500), held_by=texts, tags=some.dictionaries(texts, texts, max_size=3), facts=facts,
    came_bytes=some.integers(0, 10**9), once=some.none() | some.builds(Once, texts, texts, texts, moments),
    content=contents,
)  # fmt: skip
details = some.dictionaries(texts, texts | some.integers() | some.booleans() | some.lists(texts), max_size=3)
events = some.builds(
    Event, some.sampled_from(sorted(NAMES)), moments, texts, texts, texts, texts, texts,
    some.dictionaries(texts, texts, max_size=2), details,
)  # fmt: skip


def nowhere(name, size):
    raise AssertionError(f"{name} is not asked for")


def cut(data, places):
    """The same bytes in pieces."""
    marks = sorted({place % (len(data) + 1) for place in places} | {0, len(data)})
    return [data[begin:end] for begin, end in itertools.pairwise(marks)]


def fed(pieces):
    decoder = Decoder()
    return [frame for piece in pieces for frame in decoder.feed(piece)]


@given(some.lists(messages, min_size=1, max_size=3), some.lists(some.integers(0, 10**6), max_size=6))
def test_messages_come_out_as_they_went_in_however_they_are_cut(sent, places):
    data = b"".join(put_frame(number, message) for number, message in enumerate(sent))
    found = [put_of(frame, nowhere) for frame in fed(cut(data, places))]
    assert found == [Put(number, message) for number, message in enumerate(sent)]


@given(some.lists(events, max_size=3))
def test_events_too(sent):
    [frame] = fed([events_frame(sent)])
    assert events_of(frame) == sent


@given(some.binary(max_size=200), some.lists(some.integers(0, 200), max_size=4))
def test_any_bytes_are_frames_or_an_error(data, places):
    try:
        for frame in fed(cut(data, places)):
            assert isinstance(frame.kind, Kind)
    except FrameError:
        pass


json_values = some.recursive(
    some.none() | some.booleans() | some.integers() | some.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: some.lists(inner, max_size=4) | some.dictionaries(texts, inner, max_size=3), max_leaves=12,
)  # fmt: skip


@given(messages, some.integers(0, 40), json_values, some.binary(max_size=20))
def test_a_message_with_a_wrong_field_is_none(message, place, value, more):
    [frame] = fed([put_frame(1, message)])
    words = list(frame.words)
    if place < len(words):
        words[place] = value
    else:
        words.append(value)
    spoilt = frame._replace(words=words, raw=frame.raw + more if place % 2 else frame.raw)
    try:
        put = put_of(spoilt, lambda name, size: MemoryBody(b""))
    except FrameError:
        return
    assert put.message.id.isalnum()
    assert put.message.envelope.recipients


@given(json_values)
def test_events_and_words_of_any_form_are_right_or_an_error(value):
    [frame] = fed([encode(Kind.EVENTS, value)])
    for reader in (events_of, lambda one: words_of(one, int, str), lambda one: put_of(one, nowhere)):
        with contextlib.suppress(FrameError):
            reader(frame)


def message(**more):
    fields = {
        "id": "m1", "received_at": 1.0, "due_at": 1.0, "envelope": Envelope("a@b.example", (Recipient("c@d.example"),)),
        "return_path": "", "stream": "s", "pool": "p", "route": "r",
    }  # fmt: skip
    return Prepared(**fields | {"content": Content(b"A: b\r\n", MemoryBody(b"hello"))} | more)


def test_a_spooled_body_is_named_and_not_sent():
    asked = []

    def body(name, size):
        asked.append((name, size))
        return FileBody("/x", size)

    one = message(content=Content(b"A: b\r\n", FileBody("/spool/tmp/front-1/in-abc", 300_000)))
    [frame] = fed([put_frame(1, one, "front-1/in-abc")])
    assert len(frame.raw) == 6
    assert put_of(frame, body).message.content.size == one.content.size
    assert asked == [("front-1/in-abc", 300_000)]


clients = some.builds(Client, texts, some.just(0), some.just(""), texts)
reports = some.builds(Submission, ids, moments, clients, envelopes, contents)


@given(reports, some.integers(0, 80))
def test_a_report_keeps_the_beginning_of_its_body(report, most):
    [frame] = fed([report_frame(7, report, most)])
    number, found = report_of(frame)
    assert number == 7
    assert (found.id, found.received_at, found.client) == (report.id, report.received_at, report.client)
    assert (found.envelope.sender, found.envelope.recipients) == (report.envelope.sender, report.envelope.recipients)
    assert found.content.header == report.content.header
    assert found.content.body.data == report.content.body.data[:most]


@given(json_values, some.binary(max_size=10))
def test_a_report_of_any_form_is_one_or_an_error(value, raw):
    [frame] = fed([encode(Kind.REPORT, value, raw)])
    with contextlib.suppress(FrameError):
        report_of(frame)


@pytest.mark.parametrize("name", ["../queue.db", "front-1/../x", "/etc/passwd", "front-1/in-", "front-1", "a/in-x/y"])
def test_no_name_leads_out_of_the_spool(name):
    one = message(content=Content(b"A: b\r\n", FileBody("x", 3)))
    [frame] = fed([put_frame(1, one, name)])
    with pytest.raises(FrameError, match="outside the spool"):
        put_of(frame, nowhere)


@pytest.mark.parametrize("id_", ["", "../x", "a/b", "a.b", "é", "x" * 65])
def test_an_id_is_safe_as_a_file_name(id_):
    [frame] = fed([put_frame(1, message(id=id_))])
    with pytest.raises(FrameError, match="an id"):
        put_of(frame, nowhere)


@pytest.mark.parametrize("length", [0, 4, MOST_BYTES + 1, 2**32 - 1])
def test_a_length_that_cannot_be_is_noticed_at_once(length):
    with pytest.raises(FrameError, match="a frame of"):
        Decoder().feed(HEAD.pack(length, Kind.PUT, 0))


def test_what_is_too_large_is_not_sent():
    with pytest.raises(FrameError, match="at most"):
        encode(Kind.RULES, ["x"], b"x" * MOST_BYTES)


@pytest.mark.parametrize("text", [b"NaN", b"[1", b"\xff", b"[" * 100_000, b"", b"[] []"])
def test_words_that_are_no_json(text):
    with pytest.raises(FrameError):
        Decoder().feed(HEAD.pack(5 + len(text), Kind.ASK, len(text)) + text)


def test_a_kind_that_is_none():
    with pytest.raises(FrameError, match="kind 99"):
        Decoder().feed(HEAD.pack(7, 99, 2) + b"[]")
