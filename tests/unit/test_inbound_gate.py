"""The gatekeeper: who may come in now, what is said to whom, and what is given back."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path

import pytest

from relay.core.content import Content, MemoryBody
from relay.core.envelope import Client, Envelope, Recipient, Submission
from relay.core.events import Event
from relay.core.headers import Headers
from relay.core.quota import Allowance, Pace, Quota, Stock
from relay.core.retry import Retry
from relay.core.shares import BUSY
from relay.inbound.disk import Disk
from relay.inbound.gate import Gatekeeper, Passage
from relay.policy.decide import Decision
from relay.policy.guard import Guard
from relay.policy.model import Policy, Stream

NOON = 20_000 * 86_400.0 + 43_200
LETTER = "".join(f"This is a line of prose, as long as such lines are, letter {chr(n)}.\r\n" for n in range(65, 90))


class KnownDisk(Disk):
    def look(self, now: float) -> None:
        """Its figures are the test's."""


class Door:
    """A gatekeeper with its surroundings in hand."""

    def __init__(self, *streams: Stream, allowances: Mapping[str, Allowance] | None = None, free: int = 10**9) -> None:
        self.now = NOON
        self.stock = Stock()
        self.events: list[Event] = []
        self.signers = ["example.com"]
        self.disk = KnownDisk((), free=free, kept=1000)
        self.streams = {one.name: one for one in streams}
        self.gate = Gatekeeper(
            policy=lambda: Policy(self.streams, {}, (), ()), stock=lambda: self.stock, disk=self.disk,
            signing=lambda stream, domain: self.signers, publish=self.events.append, clock=lambda: self.now,
            allowances=allowances or {}, ways={"news": "port 2526"},
        )  # fmt: skip

    def ask(
        self, stream: str = "codes", *, header: str = "", body: str = "Hello\r\n",
        to: tuple[str, ...] = ("a@b.example",), credential: str = "",
    ) -> Passage:  # fmt: skip
        block = f"From: Shop <shop@example.com>\r\n{header}".encode()
        submission = Submission(
            "m1", self.now, Client("192.0.2.1", 25, "app", "apps", credential),
            Envelope("shop@example.com", tuple(Recipient(one) for one in to)),
            Content(block, MemoryBody(body.encode())),
        )  # fmt: skip
        return asyncio.run(self.gate.ask(submission, Headers.parse(block), Decision(self.streams[stream], "a route")))

    def store(self, passage: Passage) -> None:
        """What the queue does with mail that was let in."""
        assert passage.refusal is None
        self.stock.move({passage.into.name: (1, passage.size)})
        self.gate.left(passage, stored=True)

    def said(self, passage: Passage) -> str:
        assert passage.refusal is not None
        return f"{passage.reason}: {passage.refusal}"


def stream(name: str, **more: object) -> Stream:
    return Stream(name, "main", Retry((60.0,), 60.0, 3600.0), **more)  # type: ignore[arg-type]


CODES = stream("codes")


def test_without_limits_all_come_in():
    door = Door(CODES)
    passage = door.ask()
    assert passage.refusal is None
    door.store(passage)


def test_a_stream_at_its_quota_and_the_others():
    door = Door(stream("news", quota=Quota(messages=2)), CODES)
    first, second = door.ask("news"), door.ask("news")  # both under way, neither stored
    assert door.said(door.ask("news")) == (
        "quota-messages: 452 4.3.1 stream news has as many messages in the queue as it may, try again later"
    )
    door.store(door.ask("codes"))
    door.store(first)
    assert door.ask("news").reason == "quota-messages"
    door.gate.left(second, stored=False)
    door.store(door.ask("news"))
    door.stock.move({"news": (-1, -50)})  # one was delivered
    door.store(door.ask("news"))


def test_a_stream_past_its_share_of_a_busy_relay():
    door = Door(stream("news", quota=Quota(accepts=0.6)), CODES)
    crowd = [door.ask("news") for _ in range(BUSY)]
    assert {one.reason for one in crowd} == {""}, "nobody else wants to come in"
    assert door.said(door.ask("news")) == (
        "quota-accepts: 451 4.7.1 the relay is busy and stream news has more than its share of it, 60%; try again in a"
        " minute, or send over fewer connections"
    )
    codes = [door.ask("codes") for _ in range(BUSY)]
    assert {one.reason for one in codes} == {""}, "others come in, however many"
    assert door.gate.under_way == 2 * BUSY
    assert door.ask("news").refusal is None, "half of what came lately is within its share"
    for one in (*crowd, *codes):
        door.store(one)
    assert door.gate.under_way == 1
    assert [door.ask("news").reason for _ in range(90)] == [""] * 90, "not busy: all of it is anybody's"


def test_bytes_and_share_of_the_disk():
    door = Door(stream("bytes", quota=Quota(bytes=5000)), stream("share", quota=Quota(disk=0.5)), CODES, free=11_000)
    assert door.ask("bytes", body="x" * 5000).reason == "quota-bytes"
    assert door.ask("share", body="x" * 5000).reason == "quota-disk"
    door.store(door.ask("codes", body="x" * 5000))
    door.disk.free = 11_000 - 5100
    assert door.ask("share", body="x" * 4000).refusal is None, "what mail takes is room of the queue"


def test_the_reserve_of_the_disk_is_for_everyone():
    door = Door(CODES, free=1000 + 4000)
    assert door.said(door.ask(body="x" * 5000)) == "disk-reserve: 452 4.3.1 the disk is nearly full, try again later"
    waiting = door.ask(body="x" * 3000)
    assert door.ask(body="x" * 1000).reason == "disk-reserve", "what is under way needs room, too"
    door.gate.left(waiting, stored=False)
    assert door.ask(body="x" * 1000).refusal is None
    door.stock.reusable = 10_000
    assert door.ask(body="x" * 5000).refusal is None, "empty pages of the queue's file are room"


def test_the_rate_of_a_stream():
    door = Door(stream("news", quota=Quota(pace=Pace(2, 60.0, "2/min"))), CODES)
    door.store(door.ask("news"))
    door.gate.left(door.ask("news"), stored=False)  # given back
    door.store(door.ask("news"))
    assert door.said(door.ask("news")) == "quota-rate: 451 4.7.1 stream news takes 2/min, try again in 63 s"
    assert door.ask("codes").refusal is None
    door.now += 63
    assert door.ask("news").refusal is None
    door.streams["news"] = stream("news", quota=Quota(pace=Pace(5, 60.0, "5/min")))  # a reload
    assert all(door.ask("news").refusal is None for _ in range(5))
    door.streams["news"] = stream("news", quota=Quota(messages=100))
    assert door.ask("news").refusal is None


def test_a_client_has_sent_what_it_may():
    allowances = {"credential shop": Allowance(Pace(3, 60.0, "3/min"), 5), "listener apps": Allowance(None, 2)}
    allowances["credential daily"] = Allowance(None, 1)
    door = Door(CODES, allowances=allowances)
    door.store(door.ask(credential="shop", to=("a@b.example", "c@d.example")))
    assert door.said(door.ask(credential="shop", to=("a@b.example", "c@d.example"))) == (
        "client-rate: 451 4.7.1 credential shop may send to 3/min recipients, try again in 63 s"
    )
    door.store(door.ask(credential="shop"))
    door.now += 63
    door.gate.left(door.ask(credential="shop", to=("a@b.example", "c@d.example")), stored=False)
    door.store(door.ask(credential="shop", to=("a@b.example", "c@d.example")))
    assert door.said(door.ask(credential="shop")) == (
        "client-daily: 452 4.7.1 credential shop may send to 5 recipients a day, and has or would have;"
        " again from 2024-10-05 00:00 UTC"
    )
    door.store(door.ask(to=("a@b.example", "c@d.example")))
    assert door.ask().reason == "client-daily"
    assert door.ask(credential="other").refusal is None
    door.gate.left(door.ask(credential="daily"), stored=False)
    door.store(door.ask(credential="daily"))
    assert door.ask(credential="daily").reason == "client-daily"
    door.now += 86_400
    assert door.ask(credential="shop").refusal is None
    door.gate.take({}, {})
    assert all(door.ask(credential="shop").refusal is None for _ in range(10))


def test_todays_counts_outlive_the_process():
    kept: dict[str, object] = {"credential gone": [1, 1], "rubbish": "x"}
    said: list[Mapping[str, object]] = []

    async def recall(kind: str) -> Mapping[str, object]:
        return kept

    async def remember(kind: str, changes: Mapping[str, object]) -> None:
        said.append(changes)
        kept.update(changes)

    allowances = {"credential shop": Allowance(None, 2)}
    door = Door(CODES, allowances=allowances)
    asyncio.run(door.gate.load(recall))
    door.store(door.ask(credential="shop"))
    asyncio.run(door.gate.save(remember))
    asyncio.run(door.gate.save(remember))
    assert said == [{"credential shop": [20_000, 1], "credential gone": None}]
    later = Door(CODES, allowances=allowances)
    asyncio.run(later.gate.load(recall))
    later.store(later.ask(credential="shop"))
    assert later.ask(credential="shop").reason == "client-daily"


def test_the_guard_refuses_and_says_what_to_do():
    door = Door(stream("codes", guard=Guard("refuse", "news")), stream("news"))
    assert door.said(door.ask(header="List-Unsubscribe: <mailto:u@example.com>\r\n")) == (
        "bulk-mail: 550 5.7.1 looks like bulk mail (List-Unsubscribe is present) in stream codes: send it through"
        " stream news (port 2526, or the header X-Relay-Stream: news where it is allowed)"
    )
    [event] = door.events
    assert (event.event, event.stream, event.detail["guard"], event.detail["action"]) == (
        "guarded", "codes", "headers", "refuse",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("action", "name", "held"), [("reroute", "news", False), ("hold", "codes", True), ("tag", "codes", False)]
)
def test_the_guard_does_something_else(action, name, held):
    guard = Guard(action, "news" if action == "reroute" else "", recipients=2)
    door = Door(stream("codes", guard=guard), stream("news"))
    passage = door.ask(to=("a@b.example", "c@d.example", "e@f.example"))
    assert passage.decision.stream is door.streams[name]
    assert passage.decision.hold is held
    assert passage.decision.tags == {"guard": "recipients"}
    assert passage.into.name == name, "counted where it goes"
    assert door.events[0].detail.get("to") == ("news" if action == "reroute" else None)


def test_rerouted_mail_meets_the_rules_of_its_new_stream():
    news = stream("news", quota=Quota(messages=1), require=("list_unsubscribe",))
    door = Door(stream("codes", guard=Guard("reroute", "news")), news)
    assert door.ask(header="Precedence: bulk\r\n").reason == "requirement"


def test_the_same_prose_to_many():
    door = Door(stream("codes", guard=Guard("tag", same=20, within_s=60.0)))
    finds = [bool(door.ask(body=LETTER, to=(f"{n}@b.example",)).decision.tags) for n in range(30)]
    assert finds == [False] * 20 + [True] * 10
    assert door.events[0].detail["text"] == "the same text to more than 20 recipients in 60 s"
    assert not door.ask(body="Your code is 123456\r\n").decision.tags
    door.streams["codes"] = stream("codes", guard=Guard("tag", same=10, within_s=60.0))  # a reload begins anew
    assert not door.ask(body=LETTER, to=("x@b.example",)).decision.tags


def test_what_is_missing():
    door = Door(stream("news", require=("list_unsubscribe", "aligned_dkim", "visible_address")))
    door.signers = ["example.net"]
    assert door.said(door.ask("news")) == (
        "requirement: 550 5.7.1 stream news requires a List-Unsubscribe header with an https URI (RFC 8058); the header"
        " List-Unsubscribe-Post: List-Unsubscribe=One-Click (RFC 8058); a DKIM key for the From domain example.com"
    )
    door.signers = ["example.com"]
    pair = "List-Unsubscribe: <https://e.example/u>\r\nList-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n"
    assert door.ask("news", header=pair).refusal is None


def test_a_disk_is_looked_at_once_a_second(tmp_path: Path):
    disk = Disk((tmp_path,))
    disk.look(NOON)
    assert disk.free > 0
    assert 0 < disk.kept <= 100 << 20
    disk.free = -1
    disk.look(NOON + 0.5)
    assert disk.free == -1
    disk.look(NOON - 5)
    assert disk.free > 0
    share, size = Disk((tmp_path,), 0.5), Disk((tmp_path,), 1000.0)
    share.look(NOON)
    size.look(NOON)
    assert share.kept > size.kept == 1000
