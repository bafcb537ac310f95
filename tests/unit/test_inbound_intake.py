"""From the final dot to the reply: what is stored, what is refused, and that our faults are never a 5xx."""

import asyncio
from dataclasses import replace

import pytest

from relay.core.content import Content, MemoryBody
from relay.core.envelope import Client, Envelope, Recipient, Submission
from relay.core.ids import message_id
from relay.core.overload import Load
from relay.core.pattern import compile_pattern
from relay.core.quota import Stock
from relay.core.reply import reply
from relay.core.tokens import ReturnPath, decode
from relay.inbound.access import Access
from relay.inbound.credentials import Credential
from relay.inbound.disk import Disk
from relay.inbound.gate import Gatekeeper
from relay.inbound.intake import Intake, Standing
from relay.policy.model import Policy, Pool, Provider, Route, Signing, Source, Stream
from relay.prepare.keys import KeyRing, generate
from relay.prepare.message import Preparer
from relay.prepare.signing import SigningDesk
from relay.queue.store import Receipt, StoreBroken, StoreBusy, StoreFull
from tests.unit.delivery_stage import NOON, STREAMS

KEY = b"k" * 32
MESSAGE = b"From: Shop <shop@example.com>\r\nTo: bob@example.net\r\nSubject: Order 7\r\n"
ID = message_id(NOON, b"123456")


def policy(stream: Stream = STREAMS[0], **route) -> Policy:
    return Policy(
        {one.name: one for one in (stream, STREAMS[1])}, {"main": Pool("main", (Source("t1"),))},
        (Route("all", None, **({"stream": stream} | route)),), (Provider("everyone", (compile_pattern("*"),), None),),
    )  # fmt: skip


class Door:
    """One relay's way in, with a queue that may be in trouble."""

    def __init__(self, folder, rules=None, trouble=None, listener=None, credential=None) -> None:
        self.rules, self.trouble, self.stored, self.events = rules or policy(), trouble, [], []
        self.folder, self.receipt = folder, None
        self.listener, self.credential = listener or Standing(), credential or Standing()
        self.load = Load()

    async def put(self, message):
        if self.trouble:
            raise self.trouble
        self.stored.append(message)
        return self.receipt or Receipt(message.id)

    def accept(self, header=MESSAGE, sender="shop@example.com", **client):
        who = Client(**({"address": "10.0.0.9", "port": 4, "helo": "shop", "listener": "apps"} | client))
        submission = Submission(
            ID, NOON, who, Envelope(sender, (Recipient("bob@example.net"), Recipient("eve@example.net"))),
            Content(header, MemoryBody(b"Thank you\r\n")),
        )  # fmt: skip

        async def scenario():
            access, desk = Access({"shop": Credential("shop", "no hash")}, senders={}), SigningDesk()
            gate = Gatekeeper(
                policy=lambda: self.rules, stock=Stock, disk=Disk((self.folder,), 0),
                signing=lambda stream, domain: [], publish=self.events.append, clock=lambda: NOON,
                allowances={}, ways={},
            )  # fmt: skip
            intake = Intake(
                policy=lambda: self.rules, access=access, gate=gate, preparer=Preparer("relay.example.com"),
                keys=KeyRing(self.folder), desk=desk, put=self.put, publish=self.events.append, clock=lambda: NOON,
                verp_key=KEY, listeners={"apps": self.listener}, credentials={"shop": self.credential}, load=self.load,
            )  # fmt: skip
            self.intake = intake
            try:
                return await intake.accept(submission)
            finally:
                access.close()
                desk.close()

        return asyncio.run(scenario())


def test_what_is_accepted_is_stored_before_the_reply(tmp_path):
    door = Door(tmp_path)
    answer = door.accept()
    assert (answer.code, answer.enhanced) == (250, "2.0.0")
    assert ID in answer.text
    (message,) = door.stored
    assert (message.id, message.stream, message.pool, message.route) == (ID, "transactional", "main", "all")
    assert [one.address for one in message.envelope.recipients] == ["bob@example.net", "eve@example.net"]
    assert message.due_at == message.received_at == NOON
    assert message.return_path == "shop@example.com"
    assert message.client == "10.0.0.9"
    assert b"Received: " in message.content.header
    assert not door.events


@pytest.mark.parametrize(
    ("trouble", "code", "enhanced", "reason"),
    [
        (StoreFull("no space"), 452, "4.3.1", "disk-full"),
        (StoreBusy("locked"), 451, "4.3.0", "queue"),
        (StoreBroken("input/output error"), 451, "4.3.0", "queue"),
    ],
)
def test_a_queue_in_trouble_asks_the_client_to_come_again_and_tells_nothing_of_itself(
    tmp_path, trouble, code, enhanced, reason
):
    door = Door(tmp_path, trouble=trouble)
    answer = door.accept()
    assert (answer.code, answer.enhanced) == (code, enhanced)
    assert str(trouble) not in answer.text
    (event,) = door.events
    assert (event.event, event.detail["reason"], event.detail["code"]) == ("refused", reason, code)
    assert (event.sender, event.detail["client"], event.detail["listener"]) == ("shop@example.com", "10.0.0.9", "apps")


def test_a_policy_that_refuses_says_so_in_its_own_words_and_names_its_route(tmp_path):
    door = Door(tmp_path, policy(stream=STREAMS[0]))
    door.rules = replace(door.rules, routes=(Route("no", None, refusal=reply(550, "5.7.1", "not from here")),))
    answer = door.accept()
    assert (answer.code, answer.text) == (550, "not from here")
    (event,) = door.events
    assert (event.route, event.detail["reason"]) == ("no", "policy")
    assert not door.stored


def test_a_message_is_taken_now_and_due_when_it_asks(tmp_path):
    door = Door(tmp_path, listener=Standing(ahead_s=60.0), credential=Standing(ahead_s=7200.0))
    later = MESSAGE + b"X-Relay-Send-At: %d\r\n" % (NOON + 3600)
    assert door.accept(later, credential="shop").code == 250
    [message] = door.stored
    assert (message.received_at, message.due_at, message.starts_at) == (NOON, NOON + 3600, NOON + 3600)
    assert b"Send-At" not in message.content.header
    answer = door.accept(later)
    assert str(answer) == "550 5.7.1 X-Relay-Send-At is 1.0 h ahead; listener apps may ask for 0.0 h"
    assert door.events[-1].detail["reason"] == "request-header"
    assert door.accept(MESSAGE + b"X-Relay-Send-At: 1\r\n").code == 250  # long ago: at once
    assert door.stored[-1].due_at == NOON


def test_a_route_may_hold_what_it_takes(tmp_path):
    door = Door(tmp_path, policy(hold=True))
    assert door.accept().code == 250
    assert door.stored[0].held


@pytest.mark.parametrize(
    ("listener", "credential", "account", "stream"),
    [
        (Standing(choices=("marketing",)), Standing(), "", "marketing"),
        (Standing(), Standing(choices=("marketing",)), "shop", "marketing"),
        (Standing(), Standing(choices=("marketing",)), "", None),
        (Standing(), Standing(), "shop", None),
        (Standing(stream="transactional", choices=("marketing",)), Standing(), "", "transactional"),
    ],
)
def test_a_stream_may_be_chosen_where_listener_or_credential_allow_it(tmp_path, listener, credential, account, stream):
    door = Door(tmp_path, listener=listener, credential=credential)
    answer = door.accept(b"X-Relay-Stream: marketing\r\n" + MESSAGE, credential=account)
    if stream is None:
        assert (answer.code, answer.enhanced) == (550, "5.7.1")
        assert door.events[0].detail["reason"] == "request-header"
    else:
        assert door.stored[0].stream == stream
        assert b"x-relay" not in door.stored[0].content.header.lower()


def test_a_stream_that_is_forced_wins_over_the_route_and_a_credential_over_its_listener(tmp_path):
    door = Door(tmp_path, listener=Standing("transactional"), credential=Standing("marketing"))
    door.accept(credential="shop")
    assert door.stored[0].stream == "marketing"


def test_a_header_of_ours_that_nobody_knows_is_refused(tmp_path):
    door = Door(tmp_path)
    answer = door.accept(b"X-Relay-Priority: high\r\n" + MESSAGE)
    assert (answer.code, answer.enhanced) == (550, "5.6.0")


def test_mail_that_must_be_signed_and_cannot_be_waits_with_the_client(tmp_path):
    required = replace(STREAMS[0], signings=(Signing("example.com", "t1", required=True),))
    door = Door(tmp_path, policy(required))
    answer = door.accept()
    assert (answer.code, answer.enhanced) == (451, "4.7.5")
    assert door.events[0].detail["reason"] == "signing-key"
    generate("example.com", "t1", "rsa", tmp_path)
    assert door.accept().code == 250
    assert door.stored[0].content.header.startswith(b"DKIM-Signature:")


def test_mail_that_need_not_be_signed_goes_without(tmp_path):
    door = Door(tmp_path, policy(replace(STREAMS[0], signings=(Signing("from", "t1"),))))
    assert door.accept().code == 250
    assert b"DKIM-Signature" not in door.stored[0].content.header


def test_a_return_path_under_a_domain_is_signed_and_says_which_message_it_was(tmp_path):
    door = Door(tmp_path, policy(replace(STREAMS[0], return_path="bounces.example.com")))
    door.accept()
    local, _, domain = door.stored[0].return_path.partition("@")
    assert domain == "bounces.example.com"
    assert decode(local, [KEY]) == ReturnPath(ID, 0)
    assert door.stored[0].envelope.sender == "shop@example.com"


@pytest.mark.parametrize(
    ("sender", "return_path", "outwards"),
    [("shop@example.com", "oops@example.com", "oops@example.com"), ("", "bounces.example.com", ""), ("", "", "")],
)
def test_a_fixed_return_path_is_used_as_it_is_and_a_null_one_stays_null(tmp_path, sender, return_path, outwards):
    door = Door(tmp_path, policy(replace(STREAMS[0], return_path=return_path)))
    door.accept(sender=sender)
    assert door.stored[0].return_path == outwards


KEYED = MESSAGE + b"X-Relay-Idempotency-Key: order-17\r\n"


def test_an_idempotency_key_belongs_to_a_credential_or_to_an_address_at_a_listener(tmp_path):
    door = Door(tmp_path)
    door.accept(KEYED)
    door.accept(KEYED, credential="shop")
    door.accept()
    one, other, none = (message.once for message in door.stored)
    assert (one.owner, one.key, one.until) == ("listener apps client 10.0.0.9", "order-17", NOON + 86400)
    assert other.owner == "credential shop"
    assert one.digest == other.digest
    assert none is None
    assert not any(b"idempotency" in message.content.header.lower() for message in door.stored)


def test_the_digest_is_that_of_envelope_and_body(tmp_path):
    door = Door(tmp_path)
    door.accept(KEYED)
    door.accept(KEYED.replace(b"Subject: ", b"Subject: again "))
    door.accept(KEYED, sender="crm@example.com")
    first, again, other = (message.once.digest for message in door.stored)
    assert first == again != other


def test_a_repeat_is_answered_like_the_first_and_told(tmp_path):
    door = Door(tmp_path)
    door.receipt = Receipt("first", "repeat")
    answer = door.accept(KEYED)
    assert (answer.code, answer.text) == (250, "Ok: queued as first")
    (event,) = door.events
    assert (event.event, event.message, event.detail["idempotency_key"]) == ("repeated", "first", "order-17")


def test_a_key_of_another_message_is_refused_with_the_remedy(tmp_path):
    door = Door(tmp_path)
    door.receipt = Receipt("first", "conflict")
    answer = door.accept(KEYED)
    assert (answer.code, answer.enhanced) == (550, "5.6.0")
    assert "idempotency key order-17 was used for message first" in answer.text
    assert "a key of its own" in answer.text
    (event,) = door.events
    assert (event.event, event.detail["reason"]) == ("refused", "idempotency-key")


def test_what_would_wait_too_long_is_refused_before_it_is_signed_and_counted(tmp_path):
    door = Door(tmp_path)
    for _ in range(10):
        door.load.enter(STREAMS[0].priority, 0.0)
    door.load.wait_most_s = 0.0
    answer = door.accept()
    assert (answer.code, answer.enhanced) == (451, "4.3.2")
    (event,) = door.events
    assert (event.detail["reason"], event.route) == ("overloaded", "all")
    assert not door.stored


def test_what_is_answered_is_no_longer_in_hand(tmp_path):
    for trouble in (None, StoreFull("no space"), RuntimeError("a fault")):
        door = Door(tmp_path, trouble=trouble)
        try:
            door.accept()
        except RuntimeError:
            assert trouble is not None
        assert door.load.wait_s(0, 0.0) == 0


def test_lower_streams_leave_the_memory_that_higher_ones_reserve(tmp_path):
    high, low = STREAMS[0], STREAMS[1]
    assert high.priority > low.priority
    streams = {one.name: one for one in (replace(high, reserve=0.4), low)}
    rules = replace(policy(), streams=streams)
    found = []
    for standing in (Standing(low.name), Standing(high.name), Standing()):
        door = Door(tmp_path, rules, listener=standing)
        door.accept()
        found.append(door.intake.kept("apps", ""))
    assert found == [0.4, 0, 0]  # of the last nobody knows yet what stream it will be


def test_at_mail_the_lower_stream_is_told_first(tmp_path):
    high, low = STREAMS[0], STREAMS[1]
    assert high.priority > low.priority
    door = Door(tmp_path, listener=Standing(low.name))
    door.accept()
    door.load.wait_most_s = 0.0
    for _ in range(3):
        door.load.enter(low.priority, 1.0)
    assert door.intake.crowded("apps", "", 1.0)
    assert not door.intake.crowded("elsewhere", "", 1.0)  # what comes there may be of the highest stream
    for _ in range(3):
        door.load.enter(high.priority, 1.0)
    assert door.intake.crowded("elsewhere", "", 1.0)
