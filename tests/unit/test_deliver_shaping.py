"""What keeps mail back, on a relay made of values: events in, answers and events out, state in a dictionary."""

import asyncio
from fractions import Fraction
from types import SimpleNamespace

import pytest

from relay.core.brakes import BrakeRule, Trip
from relay.core.events import Event
from relay.core.warmup import Warmup
from relay.deliver import shaping as module
from relay.deliver.held import brake_of, held_filter, note_of, queued_filter
from relay.deliver.restraint import FREE, Door
from relay.deliver.shaping import Shaping
from relay.observe.bus import Bus
from relay.policy.model import Pool, Source
from relay.queue.store import Filter, StoreBroken, StoreBusy

NOW = 20_000 * 86400.0
BOUNCES = BrakeRule("bounce_rate", Fraction(5, 100), 3600, 10, "campaign", "hold", text="bounces", where="s.yaml:9")
COLD = Source("cold", "192.0.2.1", warmup=Warmup(NOW, per_hour=2))
WARM = Source("warm", "192.0.2.2")


class Queue:
    """What is remembered, and what was asked of the mail."""

    def __init__(self):
        self.kept, self.asked, self.fault, self.busy = {}, [], None, 0

    async def recall(self, kind):
        return self.kept.get(kind, {})

    async def remember(self, kind, changes):
        if self.fault:
            raise self.fault
        rows = self.kept.setdefault(kind, {})
        for key, value in changes.items():
            rows.pop(key, None) if value is None else rows.__setitem__(key, value)

    async def hold(self, which, note=""):
        if self.busy:
            self.busy -= 1
            raise StoreBusy("later")
        self.asked.append(("hold", which, note))
        return 7

    async def release(self, which, now):
        self.asked.append(("release", which))
        return 7


class Relay:
    """A Shaping with everything around it."""

    def __init__(self, rules=(BOUNCES,), queue=None):
        self.queue, self.now, self.events, self.calls = queue or Queue(), NOW, [], []
        policy = SimpleNamespace(
            streams={"news": SimpleNamespace(name="news", brakes=rules)},
            pools={"p": Pool("p", (COLD, WARM))}, providers=(SimpleNamespace(name="everyone"),),
        )  # fmt: skip
        bus = Bus()
        self.shaping = Shaping(
            self.queue, bus, policy=lambda: policy, clock=lambda: self.now,
            changed=lambda: self.calls.append("changed"), wake=lambda: self.calls.append("wake"),
        )  # fmt: skip
        bus.subscribe(self.events.append)
        self.bus = bus

    def bounce(self, count=10, **detail):
        for _ in range(count):
            self.bus.publish(Event("bounced", self.now, stream="news", tags={"campaign": "autumn"}, detail=detail))

    def names(self):
        return [event.event for event in self.events if event.event != "bounced"]


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    monkeypatch.setattr(module, "AGAIN_S", 0.0)


def run(story):
    return asyncio.run(story())


def test_a_campaign_is_held_kept_and_released():
    async def story():
        one = Relay()
        one.queue.busy = 2
        one.bounce()
        await one.shaping.tasks.finish()
        [trip] = one.shaping.brakes.trips.values()
        mail = Filter(stream="news", tag=("campaign", "autumn"))
        assert one.queue.asked == [("hold", mail, f"brake {trip.id}: bounces")] * 2
        assert one.shaping.held_by("news", "", {"campaign": "autumn"}) == note_of(trip)
        assert one.shaping.held_by("news", "", {}) == ""

        again = Relay(queue=one.queue)
        assert again.shaping.held_by("news", "", {"campaign": "autumn"}) == ""
        await again.shaping.restore()
        assert again.queue.asked.pop()[:2] == ("hold", mail)  # a crash may have come before
        assert again.shaping.held_by("news", "", {"campaign": "autumn"}) == note_of(trip)
        assert await again.shaping.release("nonsense") is None
        assert await again.shaping.release(trip.id) == (trip, 7)
        assert again.queue.asked[-1] == ("release", Filter(stream="news", note=f"brake {trip.id}:*"))
        assert again.queue.kept["brakes"] == {}
        assert one.names() == ["stream_paused", "held", "held"]
        assert again.names() == ["held", "stream_resumed", "released"]
        assert again.calls == ["changed", "wake", "changed"]

    run(story)


def test_released_before_it_was_held_holds_nothing():
    async def story():
        one = Relay()
        one.bounce()
        one.shaping.brakes.trips.clear()
        await one.shaping.tasks.finish()
        assert one.queue.asked == []

    run(story)


def test_an_operators_pause_ends_by_time_or_by_hand():
    async def story():
        one = Relay()
        trip = await one.shaping.pause("news", 60)
        assert one.shaping.why_not("news", "warm", "gmail", NOW) == ("brake", NOW + 60)
        assert one.shaping.why_not("codes", "warm", "gmail", NOW) == FREE
        one.shaping.started("news", "warm", "gmail", NOW)
        one.now += 60
        await one.shaping.tick()
        await one.shaping.tasks.finish()
        assert one.queue.kept["brakes"] == {}
        await one.shaping.pause("news", 0)
        assert one.shaping.why_not("news", "warm", "gmail", NOW)[1] == float("inf")
        assert await one.shaping.resume("news") == 1
        assert await one.shaping.resume("news") == 0
        assert one.names() == ["stream_paused", "stream_resumed"] * 2
        assert trip.rule == "operator"

    run(story)


def test_warm_up_counts_outlive_a_restart_and_a_busy_queue():
    async def story():
        one = Relay()
        for _ in range(2):
            assert one.shaping.why_not("news", "cold", "gmail", NOW) == FREE
            one.shaping.started("news", "cold", "gmail", NOW)
        assert one.shaping.why_not("news", "cold", "gmail", NOW) == ("warmup", NOW + 3660)
        await one.shaping.tick()
        assert "warmup" not in one.queue.kept  # every few seconds is enough
        one.now += 5
        one.queue.fault = StoreBusy("later")
        await one.shaping.tick()
        one.queue.fault = StoreBroken("gone")
        await one.shaping.close()
        one.queue.fault = None
        await one.shaping.close()
        await one.shaping.close()
        one.queue.kept["warmup"]["gone\ngmail"] = [[1, 1]]
        again = Relay(queue=one.queue)
        await again.shaping.restore()
        assert again.shaping.why_not("news", "cold", "gmail", NOW) == ("warmup", NOW + 3660)
        assert set(again.shaping.warmups.left) == {("cold", "gmail")}

    run(story)


def test_sources_are_paused_once_and_tried_again():
    async def story():
        one = Relay()
        one.shaping.unusable("warm", "no such address", NOW)
        one.shaping.unusable("warm", "no such address", NOW)
        assert one.shaping.why_not("news", "warm", "gmail", NOW) == ("source_paused", NOW + 30)
        one.now += 30
        await one.shaping.tick()
        door = {"source": "warm", "phase": "banner", "code": 554}
        one.bus.publish(Event("attempted", one.now, detail=door | {"provider": "gmail", "code": 421}))
        for provider, mx in (("gmail", "x"), ("everyone", "a.example"), ("everyone", "b.example")):
            one.bus.publish(Event("attempted", one.now, detail=door | {"provider": provider, "mx": mx}))
        found = [event for event in one.events if event.event.startswith("source_")]
        assert [event.event for event in found] == ["source_paused", "source_resumed", "source_paused"]
        assert found[-1].detail["seen"] == "3 of 3 receivers turned it away within the last hour"

    run(story)


def test_how_held_mail_is_found():
    trip = Trip("0a1b", "news", "bounces", "campaign", "a[b]*c?", "hold", NOW)
    assert queued_filter(trip).tag == ("campaign", "a[[]b]" + "[*]c[?]")
    assert queued_filter(Trip("0a1b", "news", "r", "stream", "", "hold", NOW)) == Filter(stream="news")
    assert queued_filter(Trip("0a1b", "news", "r", "credential", "shop", "hold", NOW)).credential == "shop"
    assert held_filter(trip).note == "brake 0a1b:*"
    assert (brake_of(note_of(trip)), brake_of("451 brake 0a1b: no"), brake_of("")) == ("0a1b", "", "")


def test_the_door_is_open_when_one_stream_may():
    async def story():
        one = Relay()
        await one.shaping.pause("news", 60)
        door = Door(one.shaping, "warm", "gmail")
        door.ask(NOW)
        assert not door.may("news")
        assert (door.reason, door.until) == ("brake", NOW + 60)
        assert door.may("codes")
        door.ask(NOW)
        assert not door.reason

    run(story)
