"""Who is prepared and signed first when many messages end at once."""

import asyncio

from relay.inbound.turns import CROWD, PASSES, Turns


def test_a_code_goes_before_the_newsletters_that_came_first():
    async def scenario():
        turns, order = Turns(), []

        async def accept(name: str, priority: int):
            await turns.mine(priority)
            order.append(name)

        news = [asyncio.create_task(accept(f"news{number}", 0)) for number in range(5)]
        await asyncio.gather(*news, asyncio.create_task(accept("code", 100)))
        return order

    assert asyncio.run(scenario()) == ["news0", "code", "news1", "news2", "news3", "news4"]


def test_nobody_waits_when_nobody_else_is_there():
    async def scenario():
        turns = Turns()
        work = turns.mine(0)
        try:
            work.send(None)
        except StopIteration:
            return True
        return False

    assert asyncio.run(scenario())


def test_one_who_gave_up_takes_no_turn():
    async def scenario():
        turns, order = Turns(), []

        async def accept(name: str):
            await turns.mine(0)
            order.append(name)

        tasks = [asyncio.create_task(accept(name)) for name in "abc"]
        await asyncio.sleep(0)
        tasks[1].cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await accept("d")
        return order

    assert asyncio.run(scenario()) == ["a", "c", "d"]


def test_in_a_flood_the_loop_turns_several_times_for_one_message():
    """A turn accepts one connection: those outside are let in faster than messages are worked off."""

    async def scenario(number: int) -> list[int]:
        turns, passed, done = Turns(), 0, []

        async def accept():
            await turns.mine(0)
            done.append(passed)

        tasks = [asyncio.create_task(accept()) for _ in range(number)]
        while len(done) < number:
            await asyncio.sleep(0)
            passed += 1
        await asyncio.gather(*tasks)
        return done

    few, many = asyncio.run(scenario(CROWD // 2)), asyncio.run(scenario(CROWD * 2))
    assert few[-1] - few[0] <= CROWD
    assert many[CROWD // 2] - many[1] >= (CROWD // 2 - 1) * PASSES
