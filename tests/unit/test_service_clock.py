"""The queue's own time beside a wall clock that is set at will."""

import asyncio
from types import SimpleNamespace

import pytest

from relay.core.events import Event
from relay.observe.bus import Bus
from relay.queue.store import Filter, StoreBusy
from relay.service import clock as module
from relay.service.clock import KIND, Clock, OnWallTime, keep_reading, take_up, watch_for_ever
from tests.unit.test_queue_store import message, opened

T0, DAY = 1_790_000_000.0, 86_400.0


class Machine(SimpleNamespace):
    """Its two clocks."""

    def passes(self, seconds):
        self.wall += seconds
        self.steady += seconds

    def clock(self):
        return Clock(lambda: self.wall, lambda: self.steady)


@pytest.fixture
def machine():
    return Machine(wall=T0, steady=500.0)


def test_the_line_goes_by_what_passes(machine):
    clock = machine.clock()
    machine.passes(10)
    assert (clock(), clock.offset_s(), clock.wall(clock())) == (T0 + 10, 0.0, T0 + 10)
    machine.wall += DAY
    assert (clock(), clock.offset_s(), clock.wall(clock())) == (T0 + 10, DAY, T0 + 10 + DAY)
    machine.wall -= 2 * DAY
    assert (clock(), clock.offset_s()) == (T0 + 10, -DAY)


def test_a_message_goes_into_the_queue_with_the_queues_time(machine):
    clock, one = machine.clock(), message("m1")
    assert clock.queued(one) is one
    machine.wall += DAY
    queued = clock.queued(one)
    assert (queued.received_at, queued.due_at) == (one.received_at - DAY, one.due_at - DAY)


def test_what_the_queue_tells_is_in_wall_time(machine):
    bus, heard, clock = Bus(), [], machine.clock()
    outward = OnWallTime(bus, clock)
    outward.subscribe(heard.append)
    outward.publish(Event("deferred", T0, detail={"due_at": T0 + 60, "text": "later"}))
    machine.wall += DAY
    outward.publish(Event("deferred", T0, detail={"due_at": T0 + 60, "text": "later"}))
    assert [(event.time, event.detail["due_at"]) for event in heard] == [(T0, T0 + 60), (T0 + DAY, T0 + 60 + DAY)]


def test_a_step_is_noticed_once(machine):
    clock = machine.clock()
    machine.wall += 30
    assert clock.step_s() == 0.0
    machine.wall += DAY
    assert clock.step_s() == pytest.approx(DAY + 30)
    assert clock.step_s() == 0.0
    machine.wall -= DAY
    assert clock.step_s() == pytest.approx(-DAY)


@pytest.mark.parametrize("step", [DAY, -DAY])
def test_the_next_process_finds_the_queue_as_far_as_it_was(tmp_path, machine, step):
    async def scenario():
        async with opened(tmp_path) as store:
            clock = machine.clock()
            assert (await take_up(clock, store)).shift_s == 0.0
            await store.put(message("m1"))
            before = (await store.find(Filter(), 10))[0]
            machine.passes(100)
            machine.wall += step
            await keep_reading(clock, store)
            machine.passes(20)
            taken = await take_up(machine.clock(), store)
            after = (await store.find(Filter(), 10))[0]
            assert taken.shift_s == pytest.approx(step)
            assert after.received_at - before.received_at == pytest.approx(step)
            assert after.due_at - before.due_at == pytest.approx(step)
            assert not taken.doubtful
            assert (await store.load("m1")).message.received_at == pytest.approx(after.received_at)

    asyncio.run(scenario())


def test_after_a_long_while_nobody_knows(tmp_path, machine):
    async def scenario():
        async with opened(tmp_path) as store:
            await keep_reading(machine.clock(), store)
            machine.passes(7 * 3600)
            assert (await take_up(machine.clock(), store)) == (0.0, True)

    asyncio.run(scenario())


def test_a_step_is_kept_at_once_and_trouble_is_lived_through(monkeypatch, machine):
    kept, clock = [], machine.clock()

    class Store:
        async def remember(self, kind, changes):
            assert kind == KIND
            kept.append(changes)
            if len(kept) == 2:
                raise StoreBusy("not now")

    async def scenario():
        monkeypatch.setattr(module, "LOOK_S", 0.0)
        task = asyncio.create_task(watch_for_ever(clock, Store()))
        while not kept:
            await asyncio.sleep(0)
        machine.wall += DAY
        while len(kept) < 2:
            await asyncio.sleep(0)
        machine.passes(61)
        while len(kept) < 3:
            await asyncio.sleep(0)
        task.cancel()

    asyncio.run(scenario())
    assert [one["wall"] - one["line"] for one in kept] == [0.0, DAY, DAY]
