"""Who is prepared and signed first when many messages end at once."""

import asyncio

from relay.inbound.turns import CROWD, Turns


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


def test_in_a_flood_the_loop_turns_for_those_outside():
    """A turn of the loop accepts one connection: the slower messages are, the more turns pass between two."""

    async def turns_for_each(number: int, message_s: float, turn_s: float = 0.001) -> float:
        now, passed, done = 0.0, 0, 0

        async def accept():
            nonlocal now, done
            await turns.mine(0)
            now += message_s
            done += 1

        turns = Turns(clock=lambda: now)
        tasks = [asyncio.create_task(accept()) for _ in range(number)]
        while done < number - CROWD:
            await asyncio.sleep(0)
            now += turn_s
            passed += 1
        seen = passed / done
        while not all(task.done() for task in tasks):
            await asyncio.sleep(0)
            now += turn_s
        return seen

    assert asyncio.run(turns_for_each(CROWD * 4, 1.0)) > 150
    assert asyncio.run(turns_for_each(CROWD * 4, 0.001)) < 4
