"""A full collection happens when we choose, and still happens."""

import asyncio
import gc
import weakref

import pytest

from relay.service import garbage


class Knot:
    """Something that only a collection of cycles can free."""

    def __init__(self):
        self.me = self


@pytest.fixture
def collector():
    before = gc.get_threshold()
    yield
    gc.unfreeze()
    gc.set_threshold(*before)


def test_what_is_there_is_never_looked_at_again(collector):
    gc.unfreeze()
    garbage.settle()
    assert gc.get_freeze_count() > 10_000
    begun = gc.get_stats()[2]["collections"]
    kept = [[[]] for _ in range(200_000)]  # a heap that grows: CPython would collect all of it, more than once
    assert gc.get_stats()[2]["collections"] == begun
    assert len(kept) == 200_000


def test_old_knots_are_still_found_in_time(collector, monkeypatch):
    async def scenario():
        garbage.settle()
        knot = Knot()
        gone = weakref.ref(knot)
        gc.collect(1)  # it is old now
        del knot
        monkeypatch.setattr(garbage, "COLLECT_S", 0.01)
        task = asyncio.create_task(garbage.collect_for_ever())
        while gone() is not None:
            await asyncio.sleep(0.001)
        task.cancel()

    asyncio.run(asyncio.wait_for(scenario(), 10))
