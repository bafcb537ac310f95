"""What a model provider answers follows from what it remembers: no sockets, no clock."""

from tests.internet.behaviour import (
    BLOCKED,
    BUSY,
    CLOSING,
    GREY,
    SLOWER,
    Block,
    Cap,
    Greylist,
    Pace,
    Provider,
    as_json,
    crowd,
    domains_of,
    from_json,
)
from tests.internet.memory import Memory
from tests.internet.words import on_the_wire, said, shipped

US, THEM = "192.0.2.1", "192.0.2.2"


def memory(**behaviour):
    return Memory(Provider("p", ("p.test",), **behaviour))


def test_who_bears_everything_refuses_nothing():
    one = memory()
    assert [one.connect(US, 0), one.mail(US, 0), one.recipient(US, "a@b", "c@d", 0)] == ["", "", ""]


def test_a_cap_counts_each_address_for_itself_and_connections_that_end():
    one = memory(cap=Cap(2))
    assert [one.connect(US, 0) for _ in range(3)] == ["", "", BUSY]
    assert one.connect(THEM, 0) == ""
    one.leave(US)
    one.leave(US)
    assert one.connect(US, 1) == ""


def test_a_pace_bears_a_burst_and_then_its_rate():
    one = memory(pace=Pace(2.0, burst=2))
    assert [one.mail(US, 0), one.mail(US, 0), one.mail(US, 0.4), one.mail(US, 0.6)] == ["", "", SLOWER, ""]
    assert one.mail(THEM, 0.6) == ""


def test_greylisting_asks_each_triplet_to_come_again_later():
    one = memory(greylist=Greylist(5))
    assert one.recipient(US, "a@b", "c@d", 0) == GREY
    assert one.recipient(US, "a@b", "c@d", 4.9) == GREY
    assert one.recipient(US, "a@b", "c@d", 5) == ""
    assert one.recipient(US, "a@b", "e@d", 5) == GREY


def test_a_block_begins_after_so_many_messages_and_lifts_for_good():
    one = memory(block=Block(after=2, for_s=10))
    assert one.connect(US, 0) == ""
    one.accept(US)
    assert one.mail(US, 1) == ""
    one.accept(US)
    assert [one.mail(US, 2), one.connect(US, 11.9), one.mail(THEM, 3)] == [CLOSING, BLOCKED, ""]
    one.accept(US)
    assert [one.connect(US, 12), one.mail(US, 12), one.mail(US, 99)] == ["", "", ""]


def test_a_provider_travels_as_json():
    one = Provider("p", ("a.test", "b.test"), hosts=2, cap=Cap(5), pace=Pace(1, 2), greylist=Greylist(3),
                   block=Block(1, 2), message_s=1.0)  # fmt: skip
    assert from_json(as_json(one)) == one
    assert one.host_names == ["mx0.p.test", "mx1.p.test"]
    assert domains_of(crowd("slow", 2, message_s=1.0)) == ["slow0.test", "slow1.test"]


def test_words_are_those_of_the_shipped_policies():
    assert said("gmail", "unusual rate").startswith("421-4.7.28 [203.0.113.42] Our system has detected")
    assert on_the_wire(said("gmail", "unusual rate")).endswith(b"rate limited. - gsmtp\r\n")
    entry = shipped("comcast", "*.big.test", lasting="2s", connections=3)
    assert (entry["mx"], entry["per_source"]["connections"]) == ("*.big.test", 3)
    assert [(rule["do"]["for"], "after" in rule) for rule in entry["replies"]] == [("2s", False)] * 2
