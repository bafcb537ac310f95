"""Answers are kept, shared, and forgotten in time."""

import asyncio

import pytest

from relay.deliver.cache import SharedCache


class Library:
    """Answers a question with its number, when the gate is open; counts the questions."""

    def __init__(self):
        self.now, self.asked, self.gate = 0.0, [], asyncio.Event()
        self.gate.set()
        self.cache = SharedCache(self.answer, size=2, clock=lambda: self.now)

    async def answer(self, key):
        self.asked.append(key)
        await self.gate.wait()
        if key == "wrong":
            raise LookupError(key)
        return f"{key}{len(self.asked)}", 10.0


async def turns(count=3):
    for _ in range(count):
        await asyncio.sleep(0)


def run(scenario):
    return asyncio.run(scenario(Library()))


def test_an_answer_is_kept_for_its_time():
    async def scenario(library):
        first = await library.cache.get("a")
        library.now = 9.5
        assert library.cache.left_s("a") == 0.5
        assert library.cache.left_s("b") == 0.0
        assert await library.cache.get("a") == first
        library.now = 10.0
        assert library.cache.left_s("a") == 0.0
        assert library.cache.peek("a") is None
        assert await library.cache.get("a") == "a2"

    run(scenario)


def test_the_least_recently_used_goes_first():
    async def scenario(library):
        for key in ("a", "b", "a", "c"):
            await library.cache.get(key)
        assert len(library.cache) == 2
        assert library.cache.peek("b") is None
        assert library.cache.peek("a") == "a1"
        library.cache.clear()
        assert len(library.cache) == 0

    run(scenario)


def test_those_who_ask_together_share_one_question():
    async def scenario(library):
        library.gate.clear()
        tasks = [asyncio.create_task(library.cache.get("a")) for _ in range(5)]
        await turns()
        library.gate.set()
        assert await asyncio.gather(*tasks) == ["a1"] * 5
        assert library.asked == ["a"]

    run(scenario)


def test_an_asker_that_is_cancelled_takes_nothing_from_the_others():
    async def scenario(library):
        library.gate.clear()
        first, second = (asyncio.create_task(library.cache.get("a")) for _ in range(2))
        await turns()
        first.cancel()
        await turns()
        library.gate.set()
        assert await second == "a1"
        assert first.cancelled()

    run(scenario)


def test_an_answer_nobody_waits_for_is_kept():
    async def scenario(library):
        library.gate.clear()
        only = asyncio.create_task(library.cache.get("a"))
        await turns()
        only.cancel()
        await turns()
        library.gate.set()
        await turns(5)
        assert library.cache.peek("a") == "a1"

    run(scenario)


def test_an_error_reaches_every_asker_and_is_not_kept():
    async def scenario(library):
        askers = [library.cache.get("wrong") for _ in range(2)]
        results = await asyncio.gather(*askers, return_exceptions=True)
        assert [type(result) for result in results] == [LookupError, LookupError]
        with pytest.raises(LookupError):
            await library.cache.get("wrong")
        assert library.asked == ["wrong", "wrong"]

    run(scenario)


def test_closing_cancels_the_questions_under_way():
    async def scenario(library):
        library.gate.clear()
        asker = asyncio.create_task(library.cache.get("a"))
        await turns()
        await library.cache.close()
        with pytest.raises(asyncio.CancelledError):
            await asker

    run(scenario)
