"""Servers that are hostile, broken or merely unlucky, at the level of the protocol."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relay.core.envelope import Recipient
from relay.core.outcome import Trouble, Verdict
from relay.smtp.client import Closed, Conversation, Delivery, Result, StartTls
from tests.unit.smtp_dialogue import PLAIN_OPENING, Driver, Receiver, conversation, delivery, dialogue, opened


def greeting():
    return conversation(StartTls.NEVER)


def after_banner():
    talk = conversation(StartTls.NEVER)
    talk.receive(b"220 hi\r\n")
    return talk


def under_way():
    talk = opened()
    talk.begin(delivery("m1", "a@example.net", "b@example.net"))
    return talk


def one_by_one():
    talk = opened(PLAIN_OPENING)
    talk.begin(delivery("m1", "a@example.net", "b@example.net"))
    return talk


def behind_the_dot():
    talk = under_way()
    talk.receive(b"250 ok\r\n250 ok\r\n550 no\r\n354 go\r\n")
    talk.body_sent(delivery("m2"))
    return talk


def quitting():
    talk = opened()
    talk.quit()
    return talk


STAGES = [greeting, after_banner, opened, under_way, one_by_one, behind_the_dot, quitting]
REPLIES = st.lists(st.sampled_from([
    b"250 ok\r\n", b"354 go\r\n", b"550 5.1.1 no\r\n", b"450 later\r\n", b"452 enough\r\n", b"421 bye\r\n",
    b"220 x\r\n", b"250-PIPELINING\r\n",
    b"250 SIZE 10\r\n", b"250-STARTTLS\r\n", b"199 x\r\n", b"250\n", b"\r", b"\n",
]) | st.binary(max_size=4), max_size=12).map(b"".join)


@pytest.mark.parametrize("stage", STAGES)
@given(data=REPLIES)
@settings(max_examples=150, deadline=None)
def test_bytes_whole_and_one_by_one_give_the_same_and_never_an_exception(stage, data):
    # invariant: the same happenings and the same output however the bytes are cut; after Closed nothing;
    # when the connection then ends, each delivery has exactly one Result and the session one Closed
    whole, single = stage(), stage()
    happened = whole.receive(data)
    assert happened == [one for at in range(len(data)) for one in single.receive(data[at:at + 1])]
    assert whole.take_output() == single.take_output()
    assert (whole.phase, whole.steps) == (single.phase, single.steps)
    happened += whole.lost()
    assert [type(one) for one in happened].count(Closed) == 1
    assert isinstance(happened[-1], Closed)
    tokens = [one.token for one in happened if isinstance(one, Result)]
    begun = {under_way: ["m1"], one_by_one: ["m1"], behind_the_dot: ["m1", "m2"]}.get(stage, [])
    assert sorted(tokens) == begun
    assert whole.receive(data) == []


@given(plan=st.lists(st.sampled_from([200, 200, 200, 200, 450, 451, 452, 550, 554, 421, 0]), max_size=40),
       pipelining=st.booleans(), cut=st.sampled_from([1, 3, 10_000]))
@settings(max_examples=400, deadline=None)
def test_what_is_called_delivered_is_what_the_receiver_took(plan, pipelining, cut):
    # invariant: each delivery has one Result with one outcome per recipient; delivered are exactly those
    # whose message the receiver answered 250, and what it took without saying so is "lost after the dot"
    receiver = Receiver(plan, pipelining=pipelining)
    deliveries = [
        Delivery(f"m{n}", "ann@example.com", tuple(Recipient(f"m{n}-{i}@example.net") for i in range(3)), 99)
        for n in range(4)]
    driver = Driver(receiver, list(deliveries), cut=cut)
    driver.run()
    unbegun = {one.token for one in driver.waiting}
    assert set(driver.results) | unbegun == {"m0", "m1", "m2", "m3"}
    assert not set(driver.results) & unbegun
    assert all(len(result.outcomes) == 3 for result in driver.results.values())
    unsaid = {(token, f"{token}-{index}@example.net") for token, result in driver.results.items()
              for index, outcome in enumerate(result.outcomes) if outcome.trouble is Trouble.LOST_AFTER_DOT}
    assert driver.delivered() <= receiver.taken <= driver.delivered() | unsaid
    untouched = {(token, f"{token}-{index}@example.net") for token, result in driver.results.items()
                 for index, outcome in enumerate(result.outcomes) if outcome.untouched}
    assert not untouched & receiver.taken


def test_one_byte_a_second_does_not_restart_the_clock():
    talk = conversation()
    for _ in range(1000):
        assert talk.receive(b"2" if talk.steps else b"") == []
    assert talk.steps == 0
    assert isinstance(talk.timed_out()[0], Closed)


@pytest.mark.parametrize("endless", [b"220-hello\r\n", b"220 " + b"x" * 1000, b"x" * 1000])
def test_an_endless_banner_is_cut_off(endless):
    talk = conversation()
    for _ in range(200):
        if talk.receive(endless):
            break
    assert talk.closed


def test_an_endless_ehlo_is_cut_off():
    talk = conversation()
    dialogue(talk, "S: 220 hi\nC: EHLO relay.example.com")
    (closed,) = talk.receive(b"250-X\r\n" * 1000)
    assert closed.outcome.trouble is Trouble.PROTOCOL
    assert talk.take_output() == b"QUIT\r\n"


@pytest.mark.parametrize("code", ["199 ok", "600 ok", "ok"])
def test_codes_that_do_not_exist_defer(code):
    talk = opened()
    talk.begin(delivery())
    result, closed = talk.receive(code.encode() + b"\r\n")
    assert result.outcomes[0].trouble is Trouble.PROTOCOL
    assert result.outcomes[0].verdict is Verdict.DEFERRED
    assert isinstance(closed, Closed)


def test_a_wordy_server_does_not_fill_the_queue_file():
    talk = opened()
    talk.begin(delivery())
    result, _ = talk.receive(b"250 ok\r\n" + b"550-" + b"x" * 1900 + b"\r\n550 no\r\n" + b"554 no\r\n")
    assert len(result.outcomes[0].text) == 500


def test_nothing_is_written_that_ends_a_line_early():
    talk = Conversation(helo="relay.example.com", starttls=StartTls.NEVER)
    talk.receive(b"220 x\r\n250-x\r\n250-PIPELINING\r\n250 DSN\r\n")
    talk.take_output()
    for character in "\r\n\0\x0b\x7f":
        for bad in (delivery(sender=f"a{character}"), delivery(envid=f"a{character}"),
                    delivery(ret=f"F{character}"),
                    delivery(recipients=(Recipient(f"b{character}"),)),
                    delivery(recipients=(Recipient("b@example.net", orcpt=f"rfc822;{character}"),))):
            (result,) = talk.begin(bad)
            assert result.outcomes[0].trouble is Trouble.UNWRITABLE
            assert talk.take_output() == b""
