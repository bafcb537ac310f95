"""The final dot: who may stand in From, what is forced and chosen, and what is done apart from the loop."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest

from relay.config.read import load_policies
from relay.core.content import Content, MemoryBody
from relay.core.envelope import Client, Envelope, Recipient, Submission
from relay.core.events import Event
from relay.core.headers import Headers, split_message
from relay.core.message import Prepared
from relay.core.quota import Stock
from relay.core.reply import Reply
from relay.inbound.access import Access
from relay.inbound.disk import Disk
from relay.inbound.gate import Gatekeeper
from relay.inbound.intake import Intake, authors
from relay.inbound.refusals import REFUSALS
from relay.inbound.standing import NO_STANDING, Standing, together
from relay.prepare.keys import KeyRing
from relay.prepare.message import Preparer
from relay.prepare.signing import SigningDesk
from relay.queue.store import Receipt, StoreBroken, StoreBusy, StoreFull

POLICIES = Path(__file__).parents[2] / "policies"
NOW = 1_793_611_801.0


class Desk:
    """An intake over the shipped policies; what it stores, tells, and in which thread it prepared."""

    def __init__(self, folder: Path, *, senders: tuple[str, ...] = (), listener: Standing = NO_STANDING) -> None:
        policy = load_policies(POLICIES)[0]
        assert policy is not None
        self.stored: list[Prepared] = []
        self.events: list[Event] = []
        self.threads: list[str] = []
        self.fault: Exception | None = None
        self.desk = SigningDesk(clock=lambda: NOW)
        self.access = Access(senders={"apps": senders})
        self.preparer = Preparer("relay.test")
        prepare = self.preparer.prepare

        def watched(*given, **more):  # type: ignore[no-untyped-def]
            self.threads.append(threading.current_thread().name)
            return prepare(*given, **more)

        self.preparer.prepare = watched  # type: ignore[method-assign]
        self.gate = Gatekeeper(
            policy=lambda: policy, stock=Stock, disk=Disk((folder,), 0), signing=lambda stream, domain: [],
            publish=self.events.append, clock=lambda: NOW, allowances={}, ways={},
        )  # fmt: skip
        self.intake = Intake(
            policy=lambda: policy, access=self.access, gate=self.gate, preparer=self.preparer, keys=KeyRing(folder),
            desk=self.desk, put=self.put, publish=self.events.append, clock=lambda: NOW, verp_key=b"k",
            listeners={"apps": listener}, credentials={},
        )  # fmt: skip

    async def put(self, message: Prepared) -> Receipt:
        if self.fault is not None:
            raise self.fault
        self.stored.append(message)
        return Receipt(message.id)

    def say(self, message: bytes, *, profile: str = "modern", long_lines: bool = False) -> Reply:
        header, body = split_message(message)
        client = Client(
            address="192.0.2.7", port=1, helo="shop", listener="apps", credential="", tls="", protocol="ESMTP",
            profile=profile,
        )  # fmt: skip
        content = Content(header, MemoryBody(body), long_lines=long_lines)
        envelope = Envelope("a@shop.example", (Recipient("b@example.net"),))
        submission = Submission("m1", NOW, client, envelope, content)
        try:
            return asyncio.run(self.intake.accept(submission))
        finally:
            self.desk.close()
            self.access.close()

    @property
    def reasons(self) -> list[object]:
        return [event.detail["reason"] for event in self.events]


MINE = b"From: a@shop.example\r\n\r\nx\r\n"


@pytest.mark.parametrize(
    "value",
    [
        b"a@shop.example, boss@bank.example",
        b"boss@bank.example, a@shop.example",
        b"Team: a@shop.example, boss@bank.example;",
        b'"a@shop.example" <boss@bank.example>',
        b"(a@shop.example boss@bank.example",  # a comment without end: nobody knows what a reader shows
        b"a@shop.example, " + b"x" * 10_000 + b" <boss@bank.example>",
    ],
)
def test_every_address_in_from_must_be_allowed(tmp_path: Path, value: bytes) -> None:
    one = Desk(tmp_path, senders=("*@shop.example",))
    answer = one.say(b"From: " + value + b"\r\n\r\nx\r\n")
    assert (answer.code, answer.enhanced) == (550, "5.7.1")
    assert "may not be used in From here; allowed: *@shop.example" in answer.text
    assert one.reasons == ["from-denied"]
    assert one.stored == []


@pytest.mark.parametrize("value", [b"a@shop.example", b"A <a@shop.example>, b@SHOP.example"])
def test_allowed_addresses_in_from_pass(tmp_path: Path, value: bytes) -> None:
    one = Desk(tmp_path, senders=("*@shop.example",))
    assert one.say(b"From: " + value + b"\r\nSender: boss@bank.example\r\n\r\nx\r\n").code == 250
    assert [message.stream for message in one.stored] == ["transactional"]


def test_without_from_a_fence_changes_nothing(tmp_path: Path) -> None:
    one = Desk(tmp_path, senders=("*@shop.example",))
    assert one.say(b"Subject: x\r\n\r\nx\r\n").code == 550
    assert one.reasons == ["no-from"]
    old = Desk(tmp_path, senders=("*@shop.example",))
    assert old.say(b"Subject: x\r\n\r\nx\r\n", profile="legacy").code == 250
    assert b"From: <a@shop.example>\r\n" in old.stored[0].content.header


def test_authors() -> None:
    def of(header: bytes) -> list[str]:
        return authors(Headers.parse(header))

    assert of(b"Subject: x\r\n") == []
    assert of(b"From: root\r\n") == []
    assert of(b"From: a@b\r\nFrom: c@d, e@f\r\n") == ["a@b", "c@d", "e@f"]


def test_large_bodies_are_reencoded_apart_from_the_loop(tmp_path: Path) -> None:
    one = Desk(tmp_path)
    assert one.say(b"From: a@shop.example\r\n\r\n" + b"x" * 200_000 + b"\r\n", long_lines=True).code == 250
    assert one.threads == ["signing_0"]
    small = Desk(tmp_path)
    assert small.say(MINE).code == 250
    assert small.threads == ["MainThread"]


def test_streams_that_are_not_ones_right_are_refused(tmp_path: Path) -> None:
    one = Desk(tmp_path, listener=Standing(choices=("marketing",)))
    assert one.say(b"X-Relay-Stream: marketing\r\n" + MINE).code == 250
    assert one.stored[0].stream == "marketing"
    other = Desk(tmp_path)
    answer = other.say(b"X-Relay-Stream: marketing\r\n" + MINE)
    assert answer.text.startswith("listener apps may not choose stream 'marketing'")
    assert other.reasons == ["request-header"]


@pytest.mark.parametrize(
    ("fault", "reason"), [(StoreFull("x"), "disk-full"), (StoreBusy("x"), "queue"), (StoreBroken("x"), "queue")]
)
def test_faults_of_the_queue_are_temporary_and_tell_nothing(
    tmp_path: Path, fault: Exception, reason: str
) -> None:
    one = Desk(tmp_path)
    one.fault = fault
    answer = one.say(MINE)
    assert (answer.code, answer.enhanced, answer.text) == REFUSALS[reason][:3]
    assert one.reasons == [reason]


@pytest.mark.parametrize(
    ("listener", "credential", "both"),
    [
        (NO_STANDING, NO_STANDING, NO_STANDING),
        (Standing("a"), NO_STANDING, Standing("a")),
        (Standing("a"), Standing("b"), Standing("b")),
        (Standing("a", ("x",)), Standing("", ("y", "x")), Standing("a", ("x", "y"))),
        (Standing("a", (), 60.0), Standing("b", (), 5.0), Standing("b", (), 60.0)),
    ],
)
def test_a_credential_forces_before_its_listener_and_both_open_choices(
    listener: Standing, credential: Standing, both: Standing
) -> None:
    assert together(listener, credential) == both
