"""Whether a commit waits for company."""

import asyncio
import time

from relay.queue import gathering
from relay.queue.gathering import FEW, Gathering


def waits(before: Gathering, have: int) -> bool:
    async def run() -> bool:
        asyncio.get_running_loop().call_soon(passed.append, True)
        await before.more(have)
        return bool(passed)

    passed: list[bool] = []
    return asyncio.run(run())


def test_the_first_message_waits_for_nobody():
    assert not waits(Gathering(), 1)


def test_a_few_wait_while_commits_follow_each_other(monkeypatch):
    monkeypatch.setattr(gathering, "BUSY_S", 60.0)
    one = Gathering()
    assert one.ended() <= time.perf_counter()
    assert waits(one, FEW - 1)
    assert not waits(one, FEW)


def test_after_a_rest_one_alone_waits_for_nobody(monkeypatch):
    monkeypatch.setattr(gathering, "BUSY_S", 0.0)
    one = Gathering()
    one.ended()
    assert not waits(one, 1)
