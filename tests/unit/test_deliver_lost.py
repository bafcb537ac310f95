"""Between the dot and its record: losses, second copies, two ends of one recipient, and what a connection owes."""

import asyncio
from dataclasses import replace

import pytest

from relay.core.outcome import Phase, Trouble, judge
from relay.queue.store import Receipt, Settlement
from tests.unit.delivery_stage import EHLO, NOON, Receiver, Stage, message, play, rules, subject
from tests.unit.test_deliver_connection import Work, job, opened
from tests.unit.test_deliver_settle import NOBODY, STREAM, TAKEN, Desk, settled

LOST = judge(Trouble.LOST_AFTER_DOT, Phase.DOT)
HOLD = replace(STREAM, lost_after_dot="hold")


def test_what_was_lost_after_the_dot_is_sent_again():
    desk = settled(LOST, sender="")
    (event,) = desk.events
    assert (event.event, event.detail["lost_after_dot"], event.detail["due_at"]) == ("deferred", "resend", NOON + 60)
    ((_, (again,)),) = desk.done
    assert (again.lost, again.due_at, again.attempts) == (1, NOON + 60, 1)


@pytest.mark.parametrize("age_s", [0, 99_999])
def test_or_held_for_an_operator_and_never_expired(age_s):
    desk = settled(LOST, TAKEN, sender="", stream=HOLD, age_s=age_s)
    first, second = desk.events
    assert (first.event, first.detail["lost_after_dot"]) == ("deferred", "hold")
    assert "due_at" not in first.detail
    assert second.event == "delivered"
    assert desk.queue.held == {("m1", 0)}
    assert desk.done[0][1] == []


@pytest.mark.parametrize(("outcome", "doubtful"), [(TAKEN, True), (NOBODY, False)])
def test_a_delivery_after_a_loss_is_a_possible_duplicate(outcome, doubtful):
    async def scenario():
        desk, whole = Desk(), message("m1", sender="")
        await desk.settle(whole, LOST)
        ((_, (again,)),) = desk.done
        desk.queue.waiting[again.key] = again
        stored = await desk.queue.load("m1")
        desk.settler.settle(stored, [again], [outcome], settled_attempt(desk))
        await asyncio.sleep(1)
        assert ("possible_duplicate" in desk.events[-1].detail) == doubtful

    play(scenario())


def settled_attempt(desk):
    from relay.deliver.settle import Attempt

    return Attempt(desk.now - 2, desk.now, desk.peer, "TLSv1.3", "everyone")


@pytest.mark.parametrize("outcome", [TAKEN, LOST, NOBODY])
def test_of_two_ends_the_first_is_told_and_the_second_logged(outcome, caplog):
    async def scenario():
        desk, whole = Desk(), message("m1", sender="")

        def cancelled(settlements, future):
            future.set_result({one.key: "it has come to an end before" for one in settlements})

        desk.queue._settle = cancelled
        await desk.settle(whole, outcome)
        assert desk.events == []
        ((finished, again),) = desk.done
        assert ([one.key for one in finished], again) == ([("m1", 0)], [])

    play(scenario())
    assert "message m1 to bob@example.net: " in caplog.text
    assert "is not recorded: it has come to an end before" in caplog.text


class Slow(Work):
    """A feed whose records are on disk when the test says so."""

    def __init__(self, *jobs):
        super().__init__(*jobs)
        self.records = []

    def finished(self, connection, job, result):
        super().finished(connection, job, result)
        self.records.append(asyncio.get_running_loop().create_future())
        return self.records[-1]


@pytest.mark.parametrize("ehlo", [EHLO, ["mx.example.net", "8BITMIME"]])
def test_a_body_waits_while_two_deliveries_are_not_recorded(ehlo):
    async def scenario():
        receiver, work = Receiver(ehlo=ehlo), Slow(*(job(f"m{number}") for number in range(5)))
        (await opened(receiver, work)).wake()
        for recorded in range(4):
            await asyncio.sleep(1)
            assert [subject(body) for _, _, body in receiver.taken] == [f"m{number}" for number in range(recorded + 2)]
            assert work.sent == [f"m{number}" for number in range(recorded + 2)]
            work.records[recorded].set_result({})
        await asyncio.sleep(1)
        assert len(receiver.taken) == 5

    play(scenario())


def test_a_connection_that_ends_while_a_body_waits_sends_nothing():
    async def scenario():
        receiver, work = Receiver(), Slow(*(job(f"m{number}") for number in range(3)))
        (await opened(receiver, work)).wake()
        await asyncio.sleep(1)
        receiver.wires[0].hang_up()
        await asyncio.sleep(1)
        work.records[0].set_result({})
        await asyncio.sleep(1)
        assert len(receiver.taken) == len(work.sent) == 2
        assert work.untouched() == ["m2"]

    play(scenario())


def marks(stage):
    journal = stage.dispatcher.journal
    return [journal._map[slot] for slot in range(0, len(journal._map), 1024) if journal._map[slot]]


@pytest.mark.parametrize(("dot", "while_unrecorded"), [("250 ok", [2]), ("451 4.3.0 later", []), ("hang up", [1])])
def test_the_journal_knows_what_is_not_recorded_and_is_empty_after(dot, while_unrecorded):
    async def scenario():
        seen = []
        async with Stage(rules()) as stage:
            stage.receivers["example.net"] = Receiver(DOT=dot)
            settle_soon = stage.queue.settle_soon

            def watched(settlements: list[Settlement]):
                future = settle_soon(settlements)
                asyncio.get_running_loop().call_soon(lambda: seen.append(marks(stage)))
                return future

            stage.queue.settle_soon = watched
            await stage.accept(message("m1", at=stage.clock()))
            await asyncio.sleep(1)
            assert seen == [while_unrecorded]
            assert marks(stage) == []

    play(scenario())


def test_a_delivery_whose_report_must_go_first_stays_as_sent():
    async def scenario():
        async with Stage(rules()) as stage:
            stage.receivers["example.net"] = stage.receivers["example.com"] = Receiver(ehlo=["mx.example.net"])
            put, seen = stage.queue.put, []

            async def watched(whole):
                seen.append(marks(stage))
                await put(whole)
                return Receipt(whole.id)

            await stage.accept(message("m1", at=stage.clock(), notify=frozenset({"SUCCESS"})))
            stage.reporter.put = watched
            await asyncio.sleep(5)
            assert seen == [[1]]
            assert marks(stage) == []

    play(scenario())
