"""Small words of mail: ids, replies, events, contents."""

from hypothesis import given
from hypothesis import strategies as st

from relay.core.content import Content, MemoryBody
from relay.core.events import Event
from relay.core.ids import ALPHABET, message_id
from relay.core.reply import Reply, reply


@given(st.floats(0, 2**37), st.floats(0, 2**37), st.binary(min_size=6, max_size=6))
def test_ids_sort_by_time_and_can_be_read_aloud(one: float, other: float, entropy: bytes):
    first, second = message_id(one, entropy), message_id(other, entropy)
    assert len(first) == len(second) == 19
    assert set(first) <= set(ALPHABET)
    if int(one * 1000) < int(other * 1000):
        assert first < second


def test_a_reply_is_read_by_its_first_digit_and_its_words():
    answer = Reply(451, "4.3.0", ("try again", "later"))
    assert (answer.severity, answer.text, str(answer)) == (4, "try again later", "451 4.3.0 try again later")
    assert str(reply(250, "")) == "250 "


def test_an_event_is_one_flat_object_without_empty_fields():
    event = Event("deferred", 1.5, message="m", stream="s", tags={"campaign": "x"}, detail={"code": 451})
    assert event.as_dict("node") == {
        "time": 1.5, "event": "deferred", "message": "m", "stream": "s", "tags": {"campaign": "x"},
        "node": "node", "code": 451,
    }  # fmt: skip
    assert Event("reloaded", 2).as_dict("n") == {"time": 2, "event": "reloaded", "node": "n"}


def test_a_content_is_its_header_an_empty_line_and_its_body():
    content = Content(b"Subject: x\r\n", MemoryBody(b"hello\r\n"))
    assert b"".join(content.chunks()) == b"Subject: x\r\n\r\nhello\r\n"
    assert content.size == len(b"Subject: x\r\n\r\nhello\r\n")
