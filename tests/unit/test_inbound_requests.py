"""What a client asks for in X-Relay headers, and what it may not have."""

import pytest

from relay.core.headers import Headers
from relay.core.reply import Reply
from relay.inbound.requests import NOTHING, TAGS_MOST, read_requests
from relay.inbound.sendat import too_far

NOW = 1_798_000_000.0


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
    assert asked("X-Relay-Stream: ", "X-Relay-Tag: ", "X-Relay-Send-At: ") == NOTHING


@pytest.mark.parametrize(
    "text",
    ["2026-12-24T08:00:00+01:00", "2026-12-24T07:00:00Z", "2026-12-24T07:00:00.000Z", "1798095600", "1798095600.0"],
)
def test_a_time_to_be_sent_at(text):
    assert asked(f"X-Relay-Send-At: {text}").send_at == 1_798_095_600.0


@pytest.mark.parametrize(
    ("at", "ahead_s", "words"),
    [
        (NOW - 9, 0.0, None), (NOW + 3600, 7200.0, None), (NOW + 7200, 7200.0, None),
        (NOW + 1, 0.0, "credential shop may not use X-Relay-Send-At; set send_ahead: in the relay's configuration"),
        (NOW + 7201, 7200.0, "X-Relay-Send-At is 2.0 h ahead; credential shop may ask for 2.0 h"),
        (NOW + 90_000, 1e6, "X-Relay-Send-At is 25.0 h ahead; stream codes keeps mail 24.0 h"),
    ],
)  # fmt: skip
def test_how_far_ahead(at, ahead_s, words):
    refusal = too_far(at, NOW, ahead_s=ahead_s, who="credential shop", stream="codes", expire_s=86_400.0)
    assert (refusal and refusal.text) == words
    assert refusal is None or (refusal.code, refusal.enhanced) == (550, "5.7.1")


@pytest.mark.parametrize(
    ("lines", "code", "words"),
    [
        (["X-Relay-Sent-At: tomorrow"], "5.6.0", "X-Relay-Tag, X-Relay-Send-At, X-Relay-Idempotency-Key"),
        (["X-Relay-Send-At: tomorrow"], "5.6.0", "'tomorrow' is no time; write it like 2026-12-24T08:00:00+01:00"),
        (["X-Relay-Send-At: 2026-12-24T08:00:00"], "5.6.0", "is no time"),  # whose eight o'clock?
        (["X-Relay-Send-At: -5"], "5.6.0", "is no time"),
        (["X-Relay-Send-At: 1", "X-Relay-Send-At: 2"], "5.6.0", "given twice"),
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
