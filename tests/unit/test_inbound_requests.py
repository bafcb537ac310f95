"""What a client asks for in X-Relay headers, and what it may not have."""

import pytest

from relay.core.headers import Headers
from relay.core.reply import Reply
from relay.inbound.requests import NOTHING, TAGS_MOST, read_requests


def asked(*lines: str, choices=("marketing", "alerts")):
    block = "".join(f"{line}\r\n" for line in lines).encode()
    return read_requests(Headers.parse(block), choices=choices, who="credential shop")


def test_a_message_that_asks_nothing_gets_nothing():
    assert asked("Subject: hi", "X-Relayed-By: someone") is NOTHING


def test_a_stream_and_tags_are_taken_whatever_the_case_of_their_names():
    found = asked("X-RELAY-Stream: marketing", "x-relay-tag: campaign=spring, batch = 7", "X-Relay-Tag: a.b-c=\u00fc x")
    assert found.stream == "marketing"
    assert found.tags == {"campaign": "spring", "batch": "7", "a.b-c": "\u00fc x"}


def test_an_idempotency_key_is_taken_as_it_is():
    assert asked("X-Relay-Idempotency-Key:  order-17/Receipt ").key == "order-17/Receipt"
    assert asked("Subject: hi").key == ""


def test_an_empty_wish_is_none():
    assert asked("X-Relay-Stream: ", "X-Relay-Tag: ").stream == ""


@pytest.mark.parametrize(
    ("lines", "code", "words"),
    [
        (["X-Relay-Send-At: tomorrow"], "5.6.0", "known are X-Relay-Stream, X-Relay-Tag, X-Relay-Idempotency-Key"),
        (["X-Relay-Stream: transactional"], "5.7.1", "allowed: alerts, marketing"),
        (["X-Relay-Stream: marketing, alerts"], "5.7.1", "may not choose"),
        (["X-Relay-Tag: spring"], "5.6.0", "name=value"),
        (["X-Relay-Tag: a b=c"], "5.6.0", "name=value"),
        ([f"X-Relay-Tag: {'n' * 65}=v"], "5.6.0", "name=value"),
        (["X-Relay-Idempotency-Key: "], "5.6.0", "one word"),
        (["X-Relay-Idempotency-Key: two words"], "5.6.0", "one word"),
        (["X-Relay-Idempotency-Key: " + "k" * 201], "5.6.0", "1 to 200"),
        (["X-Relay-Idempotency-Key: a", "X-Relay-Idempotency-Key: a"], "5.6.0", "one word"),
        (["X-Relay-Tag: " + ",".join(f"t{n}=v" for n in range(TAGS_MOST + 1))], "5.6.0", "at most"),
    ],
)
def test_what_cannot_be_had_is_refused_and_says_what_can(lines, code, words):
    refusal = asked(*lines)
    assert isinstance(refusal, Reply)
    assert (refusal.code, refusal.enhanced) == (550, code)
    assert words in refusal.text


def test_who_may_choose_nothing_is_told_where_that_is_set():
    refusal = asked("X-Relay-Stream: marketing", choices=())
    assert "set streams:" in refusal.text
    assert "credential shop" in refusal.text


def test_two_streams_are_no_choice():
    refusal = asked("X-Relay-Stream: marketing", "X-Relay-Stream: transactional")
    assert isinstance(refusal, Reply)
