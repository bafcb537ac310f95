"""Receiving servers that mean ill or are broken, at every stage of the protocol: the right verdict, never a hang.

No sockets: the conversation is fed byte strings (relay/smtp). With sockets: tests/peers/test_e2e_receivers.py.
"""

from __future__ import annotations

import pytest

from relay.core.outcome import Trouble, Verdict
from relay.smtp.client import Closed, Result
from tests.unit.smtp_dialogue import conversation, delivery, opened
from tests.unit.test_smtp_hostile import STAGES, behind_the_dot, one_by_one, under_way

BEGUN = {under_way: 1, one_by_one: 1, behind_the_dot: 2}
# what a server may send, and what it is: None for a reply that is odd but to be taken
MISCHIEF = {
    "code 199": b"199 ok\r\n",
    "code 600": b"600 ok\r\n",
    "code 99": b"99 ok\r\n",
    "code 2500": b"2500 ok\r\n",
    "no code": b"ok\r\n",
    "an empty line": b"\r\n",
    "NUL": b"25\0 ok\r\n",
    "minus": b"-50 ok\r\n",
    "digits of another script": "２５０ ok\r\n".encode(),
    "two codes in one reply": b"250-ok\r\n550 no\r\n",
    "an endless 250-": b"250-x\r\n" * 5000,
    "an endless line": b"250 " + b"x" * 100_000,
    "a huge line": b"250 " + b"x" * 100_000 + b"\r\n",
    "HTTP": b"HTTP/1.1 400 Bad Request\r\n\r\n",
    "SSH": b"SSH-2.0-OpenSSH_9.2\r\n",
    "TLS alert": b"\x15\x03\x03\x00\x02\x02\x28",
}


def bounced(results: list[Result], stage) -> list[object]:
    """The recipients that failed, but the one that was refused before the dot in `behind_the_dot`."""
    failed = [one for result in results for one in result.outcomes if one.verdict is Verdict.FAILED]
    return failed[1:] if stage is behind_the_dot else failed


@pytest.mark.parametrize("what", list(MISCHIEF))
@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("size", [1, 7, 10**9])
def test_mischief_at_every_stage_defers_and_ends_the_session(what: str, stage, size: int) -> None:
    talk, data = stage(), MISCHIEF[what]
    happened = []
    for at in range(0, len(data), size):
        happened += talk.receive(data[at : at + size])
        if talk.closed:
            break
    happened += [] if talk.closed else talk.lost()
    results = [one for one in happened if isinstance(one, Result)]
    assert len(results) == BEGUN.get(stage, 0)
    assert [type(one) for one in happened].count(Closed) == 1
    assert not bounced(results, stage)


@pytest.mark.parametrize("stage", STAGES)
def test_421_at_every_stage_defers_and_ends_the_session(stage) -> None:
    talk = stage()
    happened = talk.receive(b"421 4.3.2 shutting down\r\n")
    happened += [] if talk.closed else talk.lost()
    assert [type(one) for one in happened].count(Closed) == 1
    assert not bounced([one for one in happened if isinstance(one, Result)], stage)


@pytest.mark.parametrize("stage", STAGES)
def test_an_unsolicited_line_is_for_nobody(stage) -> None:
    """A reply too many must not count for the next message: it is not ours to guess which it belongs to."""
    talk = stage()
    happened = talk.receive(b"250 ok\r\n" * 50)
    happened += [] if talk.closed else talk.lost()
    results = [one for one in happened if isinstance(one, Result)]
    assert len(results) == BEGUN.get(stage, 0)


def test_a_250_before_the_dot_delivers_nothing() -> None:
    talk = under_way()
    happened = talk.receive(b"250 ok\r\n250 ok\r\n250 ok\r\n250 go\r\n250 queued\r\n")
    happened += [] if talk.closed else talk.lost()
    (result,) = [one for one in happened if isinstance(one, Result)]
    assert all(outcome.verdict is Verdict.DEFERRED for outcome in result.outcomes)


def test_a_drop_after_the_dot_is_a_state_of_its_own() -> None:
    talk = behind_the_dot()
    results = [one for one in talk.lost() if isinstance(one, Result)]
    assert Trouble.LOST_AFTER_DOT in {outcome.trouble for one in results for outcome in one.outcomes}


@pytest.mark.parametrize("code", ["250", "550", "450", "252"])
@pytest.mark.parametrize("end", ["\r\n", "\n", " \r\n"])
def test_a_code_without_text_is_a_reply(code: str, end: str) -> None:
    """RFC 5321 §4.2: the text is optional; old servers send the code alone."""
    talk = opened()
    talk.begin(delivery("m1"))
    talk.receive(f"{code}{end}".encode())
    assert not talk.closed


def test_one_byte_a_second_gains_a_server_no_time() -> None:
    talk = conversation()
    for _ in range(300):
        assert talk.receive(b"2" if not talk.steps else b"") == []
        assert talk.steps == 0, "a byte must not restart the clock"
        break
    (closed,) = talk.timed_out()
    assert isinstance(closed, Closed)
