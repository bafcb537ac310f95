"""From an outcome to the queue, the event and the report: one table."""

import asyncio
from dataclasses import replace
from email import message_from_bytes

import pytest

from relay.core.outcome import Phase, Trouble, judge, judge_reply
from relay.core.reply import Reply
from relay.core.retry import Retry
from relay.deliver.feed import Peer
from relay.deliver.reports import Reporter, expired_status
from relay.deliver.settle import LAST_RESORT, Attempt, Settler
from relay.observe.bus import Bus
from relay.policy.model import Stream
from relay.queue.rows import places
from relay.queue.store import StoreBusy, Stored, StoreFull
from tests.unit.delivery_stage import NOON, Queue, message, play, rules

PEER = Peer("t1", "mx.example.net", "192.0.2.1", "example.net", "everyone")
TAKEN = judge_reply(Phase.DOT, Reply(250, "2.0.0", ("taken",)))
LATER = judge_reply(Phase.RCPT, Reply(450, "4.2.1", ("later",)))
NOBODY = judge_reply(Phase.RCPT, Reply(550, "5.1.1", ("no such user",)))
STREAM = Stream("transactional", "main", Retry((60.0,), 600.0, 3600.0, 0.0), delay_notice_s=1800.0)


class Desk:
    """A settler with a clock of its own; what came of it."""

    def __init__(self, *, stream: Stream = STREAM, now: float = NOON, peer=PEER) -> None:
        self.now, self.peer = now, peer
        self.queue, self.events, self.done = Queue(), [], []
        self.rules = rules(stream)
        bus = Bus()
        bus.subscribe(self.events.append)
        self.reporter = Reporter("relay.example.com", self.queue.put, clock=lambda: self.now, expires=lambda one: NOON)
        self.settler = Settler(
            self.queue, bus, self.reporter, policy=lambda: self.rules, clock=lambda: self.now, chance=lambda: 0.5,
            done=lambda finished, again: self.done.append((finished, again)),
        )  # fmt: skip

    async def settle(self, whole, *outcomes, attempts=0, passed_on=False):
        stored = Stored(whole, dict(enumerate(whole.envelope.recipients)))
        waits = [one._replace(attempts=attempts) for one in places(whole)]
        self.queue.messages[whole.id] = whole
        self.queue.waiting |= {one.key: one for one in waits}
        attempt = Attempt(self.now - 2, self.now, self.peer, "TLSv1.3", "everyone")
        self.settler.settle(stored, waits, outcomes, attempt, dsn_passed_on=passed_on)
        await asyncio.sleep(1)
        return self

    @property
    def reports(self):
        return [one for id_, one in self.queue.messages.items() if one.route == "delivery report"]

    def actions(self) -> list[str]:
        found = []
        for report in self.reports:
            parsed = message_from_bytes(report.content.header + b"\r\n" + b"".join(report.content.body.chunks()))
            assert parsed.get_content_type() == "multipart/report"
            status = parsed.get_payload()[1].get_payload()
            found += [part["Action"].partition(" ")[0] for part in status if part["Action"]]
        return found


def settled(*outcomes, notify=(), sender="shop@example.com", age_s=0.0, attempts=0, stream=STREAM, passed_on=False):
    async def scenario():
        names = [f"u{n}@example.net" for n in range(len(outcomes))]
        whole = message("m1", *names, notify=frozenset(notify), sender=sender, at=NOON - age_s)
        return await Desk(stream=stream).settle(whole, *outcomes, attempts=attempts, passed_on=passed_on)

    return play(scenario())


@pytest.mark.parametrize(
    ("outcome", "age_s", "event", "end"),
    [
        (TAKEN, 0, "delivered", "delivered"),
        (TAKEN, 9999, "delivered", "delivered"),
        (NOBODY, 0, "bounced", "bounced"),
        (NOBODY, 9999, "bounced", "bounced"),
        (LATER, 0, "deferred", None),
        (LATER, 3599, "deferred", None),
        (LATER, 3600, "expired", "expired"),
        (judge(Trouble.EXPIRED, Phase.CONNECT), 0, "expired", "expired"),
        (judge(Trouble.NO_DOMAIN, Phase.RESOLVE), 0, "bounced", "bounced"),
        (judge(Trouble.LOST_AFTER_DOT, Phase.DOT), 0, "deferred", None),
        (judge(Trouble.OURS, Phase.BODY), 0, "deferred", None),
    ],
)
def test_an_outcome_comes_to_one_end_or_to_another_try(outcome, age_s, event, end):
    desk = settled(outcome, age_s=age_s, sender="")
    assert [one.event for one in desk.events] == [event]
    assert desk.queue.ends.get(("m1", 0), []) == ([end] if end else [])
    assert (("m1", 0) in desk.queue.waiting) == (end is None)
    ((finished, again),) = desk.done
    assert [one.key for one in finished] == [("m1", 0)]
    assert [one.key for one in again] == ([] if end else [("m1", 0)])


def test_each_recipient_has_its_own_outcome():
    desk = settled(TAKEN, LATER, NOBODY)
    assert [(one.event, one.recipient) for one in desk.events] == [
        ("delivered", "u0@example.net"), ("deferred", "u1@example.net"), ("bounced", "u2@example.net"),
    ]  # fmt: skip
    assert desk.actions() == ["failed"]


def test_a_deferral_follows_the_schedule_and_its_last_attempt_is_at_the_expiry():
    desk = settled(LATER, sender="")
    again = desk.done[0][1][0]
    assert (again.due_at, again.attempts) == (NOON + 60, 1)
    assert desk.events[0].detail["due_at"] == NOON + 60
    assert settled(LATER, age_s=3300, attempts=5, sender="").done[0][1][0].due_at == NOON + 300


def test_an_event_has_every_fact_of_its_attempt():
    (event,) = settled(NOBODY, attempts=2, age_s=90).events
    assert dict(event.detail) == {
        "provider": "everyone", "phase": "rcpt", "attempt": 3, "source": "t1", "mx": "mx.example.net",
        "address": "192.0.2.1", "tls": "TLSv1.3", "code": 550, "enhanced": "5.1.1", "text": "no such user",
        "seconds": 2.0, "delay_s": 90.0, "class": "InvalidRecipient",
    }  # fmt: skip
    assert (event.stream, event.sender, event.time) == ("transactional", "shop@example.com", NOON)


def test_an_attempt_that_reached_nobody_names_no_host():
    async def scenario():
        return await Desk(peer=None).settle(message("m1", sender=""), judge(Trouble.DNS_TEMPORARY, Phase.RESOLVE))

    (event,) = play(scenario()).events
    assert not {"mx", "source", "address", "tls", "code"} & event.detail.keys()
    assert "name servers" in event.detail["text"]


@pytest.mark.parametrize(
    ("outcome", "age_s", "notify", "actions"),
    [
        (NOBODY, 0, (), ["failed"]),
        (NOBODY, 0, ("FAILURE",), ["failed"]),
        (NOBODY, 0, ("NEVER",), []),
        (NOBODY, 0, ("SUCCESS",), []),
        (NOBODY, 0, ("DELAY",), []),
        (LATER, 4000, (), ["failed"]),
        (LATER, 4000, ("NEVER",), []),
        (LATER, 0, (), []),
        (LATER, 1800, (), ["delayed"]),
        (LATER, 1800, ("DELAY",), ["delayed"]),
        (LATER, 1800, ("FAILURE",), []),
        (LATER, 1800, ("NEVER",), []),
        (TAKEN, 0, (), []),
        (TAKEN, 0, ("FAILURE", "DELAY"), []),
        (TAKEN, 0, ("SUCCESS",), ["relayed"]),
    ],
)
def test_the_sender_is_told_what_it_asked_for(outcome, age_s, notify, actions):  # RFC 3461 §4.1, §6.2
    assert settled(outcome, age_s=age_s, notify=notify).actions() == actions


def test_a_success_is_reported_by_who_took_over_the_duty():  # RFC 3461 §5.2.1
    assert settled(TAKEN, notify=("SUCCESS",), passed_on=True).actions() == []
    assert settled(NOBODY, passed_on=True).actions() == ["failed"]


def test_nobody_is_told_of_a_message_without_a_sender_nor_of_a_report():
    assert not settled(NOBODY, sender="").reports
    (report,) = settled(NOBODY).reports
    assert report.envelope.sender == report.return_path == ""
    assert [one.notify for one in report.envelope.recipients] == [frozenset({"NEVER"})]
    assert report.stream == "transactional"


def test_a_delay_is_told_once_and_that_is_remembered():
    async def scenario():
        desk = Desk()
        whole = message("m1", at=NOON - 1800)
        await desk.settle(whole, LATER)
        assert desk.queue.waiting[("m1", 0)].notified
        (again,) = desk.done[0][1]
        assert again.notified
        stored = Stored(whole, dict(enumerate(whole.envelope.recipients)))
        desk.settler.settle(stored, [again], [LATER], Attempt(NOON, NOON))
        await asyncio.sleep(1)
        assert desk.actions() == ["delayed"]
        assert desk.queue.waiting[("m1", 0)].notified

    play(scenario())


def test_recipients_that_failed_together_share_one_report():
    desk = settled(NOBODY, NOBODY, TAKEN)
    assert len(desk.reports) == 1
    assert desk.actions() == ["failed", "failed"]


@pytest.mark.parametrize("trouble", [StoreFull("no space"), StoreBusy("locked")])
def test_a_recipient_is_not_ended_before_its_report_is_safe(trouble):
    async def scenario():
        desk = Desk()
        desk.queue.refusals = [trouble] * 3
        await desk.settle(message("m1"), NOBODY)
        assert ("m1", 0) in desk.queue.waiting
        assert not desk.events
        await asyncio.sleep(20)
        assert [one.event for one in desk.events] == ["bounced"]
        assert len(desk.reports) == 1

    play(scenario())


def test_a_settlement_said_twice_counts_once():
    async def scenario():
        desk = Desk()
        whole = message("m1", sender="")
        await desk.settle(whole, TAKEN)
        stored = Stored(whole, dict(enumerate(whole.envelope.recipients)))
        desk.settler.settle(stored, places(whole), [TAKEN], Attempt(NOON, NOON))
        await asyncio.sleep(1)
        assert desk.queue.ends == {("m1", 0): ["delivered"]}

    play(scenario())


def test_mail_of_a_stream_that_is_gone_has_five_days():
    other = replace(STREAM, name="other")
    assert [one.event for one in settled(LATER, age_s=4 * 86400, stream=other, sender="").events] == ["deferred"]
    late = settled(LATER, age_s=LAST_RESORT.expire_s, stream=other, sender="")
    assert [one.event for one in late.events] == ["expired"]


@pytest.mark.parametrize(("status", "final"), [("4.4.2", "5.4.2"), ("5.1.1", "5.1.1"), ("", "5.4.7")])
def test_what_expired_has_failed(status, final):
    assert expired_status(status) == final
