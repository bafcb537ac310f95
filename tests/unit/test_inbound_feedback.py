"""Reports that come in: what proves them, what they count for, and that nothing else is taken."""

import asyncio

import pytest

from relay.core.content import Content, MemoryBody
from relay.core.envelope import Client, Envelope, Recipient, Submission
from relay.core.ids import message_id
from relay.core.tokens import encode
from relay.inbound import feedback as module
from relay.inbound.feedback import Feedback
from relay.queue.store import StoreFull
from tests.unit.reports import arf, dsn, header

KEY = b"k" * 32
NOW = 1_800_000_000.0
ID, OTHER, GONE = (message_id(NOW - 60, bytes([number]) * 6) for number in range(3))
FBL = "fbl@example.com"


def path(message=ID, key=KEY):
    return f"{encode(message, 0, key)}@bounces.example.com"


class Desk:
    """A Feedback with a log of two messages, one of them to two people."""

    def __init__(self, kept=None, key=KEY):
        self.events, self.asked, self.kept, self.fault = [], [], kept if kept is not None else {}, None
        self.feedback = Feedback(
            hostname="relay.example.com", key=key, addresses=frozenset({FBL}), publish=self.events.append,
            clock=lambda: NOW, find=self.find, provider=self.provider, remember=self.remember,
        )  # fmt: skip

    def find(self, message):
        self.asked.append(message)
        facts = {"stream": "news", "route": "r", "credential": "shop", "tags": {"campaign": "autumn"}, "sender": "n@e"}
        people = {ID: ["bob@example.net"], OTHER: ["bob@example.net", "eve@example.org"]}
        return {**facts, "recipients": people[message]} if message in people else None

    async def provider(self, address):
        return f"mx of {address}"

    async def remember(self, kind, changes):
        assert kind == "reports"
        if self.fault:
            raise self.fault
        for key, value in changes.items():
            self.kept.pop(key) if value is None else self.kept.__setitem__(key, value)

    async def recall(self, kind):
        return dict(self.kept)

    def take(self, made, *to, sender=""):
        """The reply to a report, as text, and the event that came of it."""
        head, body = made
        submission = Submission(
            "x", NOW, Client("192.0.2.7", 25, "mx", "bounces"), Envelope(sender, tuple(map(Recipient, to))),
            Content(head, MemoryBody(body)),
        )  # fmt: skip

        async def story():
            await self.feedback.load(self.recall)
            return await self.feedback.accept(submission)

        before = len(self.events)
        answer = str(asyncio.run(story()))
        [event] = self.events[before:]
        return answer, event


@pytest.mark.parametrize(
    ("address", "ours"),
    [
        (path(), True), (path().upper(), True), (FBL, True), ("FBL@Example.COM", True), (path(key=b"x" * 32), False),
        ("postmaster@bounces.example.com", False), ("bob@example.net", False), ("", False),
        (encode(ID, 0, KEY), False),
    ],
)  # fmt: skip
def test_only_our_own_addresses_are_taken(address, ours):
    assert Desk().feedback.takes(address) is ours


def test_a_complaint_at_its_return_path_counts_for_its_message():
    answer, event = Desk().take(arf(), path())
    assert answer == f"250 2.0.0 Ok: noted for {ID}"
    assert (event.event, event.message, event.recipient, event.stream) == ("complained", ID, "bob@example.net", "news")
    assert event.tags == {"campaign": "autumn"}
    assert event.detail == {
        "provider": "mx of bob@example.net", "credential": "shop", "feedback_type": "abuse", "proof": "return path",
        "agent": "SomeGenerator/1.0", "client": "192.0.2.7", "named": "bob@example.net",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("made", "proof"),
    [
        (arf(mail_from=path()), "return path in the report"), (arf(path=path()), "return path in the report"),
        (arf(trace=ID), "Received field in the report"),
    ],
)
def test_a_complaint_at_the_feedback_address_needs_its_proof_inside(made, proof):
    answer, event = Desk().take(made, FBL)
    assert answer.startswith("250 2.0.0 Ok: noted")
    assert (event.event, event.message, event.detail["proof"]) == ("complained", ID, proof)


@pytest.mark.parametrize(
    "made",
    [
        arf(), arf(mail_from=path(key=b"x" * 32)), arf(mail_from="news@example.com"), arf(trace=GONE),
        dsn(),  # a delivery report counts at the return path alone
    ],
)  # fmt: skip
def test_a_forged_report_counts_for_nobody(made):
    desk = Desk()
    answer, event = desk.take(made, FBL)
    assert answer.startswith("550 5.7.1 nothing in this report proves")
    assert (event.event, event.detail["reason"]) == ("refused", "no-proof")
    assert desk.kept == {}


def test_the_same_report_on_two_connections_at_once_counts_once():
    desk = Desk()
    head, body = arf()
    submission = Submission(
        "x", NOW, Client("192.0.2.7", 25, "mx", "bounces"), Envelope("", (Recipient(path()),)),
        Content(head, MemoryBody(body)),
    )  # fmt: skip

    async def story():
        return await asyncio.gather(*(desk.feedback.accept(submission) for _ in range(5)))

    assert {one.code for one in asyncio.run(story())} == {250}
    assert sorted(one.event for one in desk.events) == ["complained", *["report_ignored"] * 4]


def test_a_report_counts_once_also_after_a_restart():
    desk = Desk()
    desk.take(arf(), path())
    for again in (desk, Desk(desk.kept)):
        answer, event = again.take(arf(mail_from=path()), FBL)
        assert answer == "250 2.0.0 Ok: not counted, told before"
        assert (event.event, event.message) == ("report_ignored", ID)
    assert desk.take(dsn(), path())[1].event == "bounced_late"  # which is another matter


def test_a_token_of_several_recipients_speaks_for_none_of_them():
    desk = Desk()
    _, event = desk.take(arf(), path(OTHER))
    assert (event.recipient, event.detail.get("provider"), event.detail["named"]) == ("", None, "bob@example.net")
    assert desk.take(arf(), path(OTHER))[1].event == "report_ignored"


def test_a_late_bounce():
    answer, event = Desk().take(dsn(), path())
    assert answer.startswith("250")
    assert (event.event, event.recipient, event.stream) == ("bounced_late", "bob@example.net", "news")
    assert event.detail == {
        "provider": "mx of bob@example.net", "credential": "shop", "class": "InvalidRecipient", "code": 550,
        "enhanced": "5.1.1", "text": "550 5.1.1 <bob@example.net>: no such user", "mta": "store.example.net",
        "named": "bob@example.net", "proof": "return path", "client": "192.0.2.7",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("made", "sender", "reason"),
    [
        (dsn("delayed", "4.4.1"), "", "a report of mail that is delayed"),
        (dsn("delivered", "2.0.0"), "", "a report of mail that is delivered"),
        (arf("not-spam"), "", "feedback of type not-spam"), (arf(""), "", "feedback of type none"),
        ((b"Subject: away\r\n", b"I am away\r\n"), "", "an automatic answer"),
        ((b"Auto-Submitted: auto-replied\r\n", b"I am away\r\n"), "eve@example.org", "an automatic answer"),
    ],
)
def test_what_is_taken_and_not_counted(made, sender, reason):
    desk = Desk()
    answer, event = desk.take(made, path(), sender=sender)
    assert answer == f"250 2.0.0 Ok: not counted, {reason}"
    assert (event.event, event.detail["reason"]) == ("report_ignored", reason)
    assert desk.kept == {}


@pytest.mark.parametrize("head", [b"Subject: hello\r\n", b"Auto-Submitted: no\r\n", header("delivery-status")])
def test_a_letter_to_a_return_path_is_refused(head):
    answer, event = Desk().take((head, b"Dear relay\r\n"), path(), sender="eve@example.org")
    assert answer.startswith("550 5.6.0 this address takes delivery and feedback reports alone")
    assert event.detail["reason"] == "no-report"


def test_a_message_older_than_the_log_counts_for_nobody():
    answer, event = Desk().take(arf(), path(GONE))
    assert answer == "250 2.0.0 Ok: not counted, older than the event log"
    assert event.message == GONE


def test_a_log_that_cannot_be_read_is_no_fault_of_the_sender():
    desk = Desk()
    desk.feedback.find = lambda message: (_ for _ in ()).throw(OSError("no disk"))
    assert desk.take(arf(), path())[0].startswith("250")


def test_what_cannot_be_remembered_is_not_counted_now():
    desk = Desk()
    desk.fault = StoreFull("full")
    answer, event = desk.take(arf(), path())
    assert answer.startswith("451 4.3.0")
    assert event.event == "refused"
    desk.fault = None
    assert desk.take(arf(), path())[1].event == "complained"


def test_what_was_counted_is_bounded(monkeypatch):
    monkeypatch.setattr(module, "SEEN_MOST", 1)
    desk = Desk()
    desk.take(arf(), path())
    desk.take(dsn(), path())
    assert list(desk.kept) == [f"bounced_late {ID}"]
    assert desk.take(arf(), path())[1].event == "complained"


def test_a_large_body_is_read_no_further_than_one_may_go(monkeypatch):
    read = []
    whole = module.take_apart
    monkeypatch.setattr(module, "take_apart", lambda head, body: read.append(len(body)) or whole(head, body))
    head, body = arf()
    answer, _ = Desk().take((head, body + b"x" * 10_000_000), path())
    assert answer.startswith("250 2.0.0 Ok: noted")
    assert read == [module.READ_BYTES]
