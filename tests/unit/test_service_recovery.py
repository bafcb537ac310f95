"""What a start makes of the journal of a process that died."""

import asyncio

import pytest

from relay.core.retry import Retry
from relay.policy.model import Stream
from relay.queue.store import End, Filter, Settlement
from relay.queue.underway import UnderWay, read_marks
from relay.service.recovery import Recovered, recover
from tests.unit.delivery_stage import rules
from tests.unit.test_queue_store import NOW, message, opened

RETRY = Retry((60.0,), 600.0, 3600.0, 0.0)
POLICY = rules(Stream("transactional", "main", RETRY), Stream("marketing", "main", RETRY, lost_after_dot="hold"))


def recovered(folder, prepare, note):
    """(what recovery says, rows, tally, events, marks left)"""
    async def scenario():
        path, events = folder / "underway", []
        journal = UnderWay(path)
        async with opened(folder) as store:
            await prepare(store)
            note(journal)
            journal.close()
            journal, found = await recover(path, store, policy=POLICY, publish=events.append, now=NOW + 9)
            rows, tally = await store.find(Filter(), 99), await store.tally()
            journal.close()
        return found, rows, tally, events, read_marks(path)

    return asyncio.run(scenario())


def test_what_the_receiver_had_answered_for_is_not_sent_again(tmp_path):
    def note(journal):
        journal.taken(journal.sent("m1", [(0, 0)]), "m1", [], all_of_it=True)

    found, rows, tally, events, left = recovered(tmp_path, lambda store: store.put(message("m1")), note)
    assert (found, rows, left) == (Recovered(1, 0), [], [])
    assert (tally.ends["delivered"], tally.gap) == (1, 0)
    (event,) = events
    assert (event.event, event.recipient, event.detail["recovered"]) == ("delivered", "a@example.net", True)


@pytest.mark.parametrize(
    ("stream", "state", "policy"), [("transactional", "lost", "resend"), ("marketing", "lost_held", "hold"),
                                    ("gone", "lost", "resend")],
)
def test_what_had_no_answer_is_lost_after_the_dot(tmp_path, stream, state, policy):
    found, (row, other), tally, events, _ = recovered(
        tmp_path, lambda store: store.put(message("m1", "a@example.net", "b@example.net", stream=stream)),
        lambda journal: journal.sent("m1", [(0, 0)]),
    )
    assert found == Recovered(0, 1)
    assert (row.state, row.lost, row.attempts, other.state) == (state, 1, 1, "queued")
    assert (tally.lost, tally.gap) == ({stream: 1}, 0)
    (event,) = events
    assert (event.event, event.detail["lost_after_dot"]) == ("deferred", policy)
    assert ("due_at" in event.detail) == (policy == "resend")


def test_what_was_recorded_after_all_is_of_no_account(tmp_path):
    async def prepare(store):
        for id_ in ("m1", "m2", "m3"):
            await store.put(message(id_))
        await store.settle([Settlement("m1", 0, 1, End.DELIVERED), Settlement("m2", 0, 1, None, NOW + 60, "451")])

    def note(journal):
        for id_ in ("m1", "m2", "unknown"):
            journal.sent(id_, [(0, 0)])
        journal.sent("m3", [(7, 0)])  # no such recipient

    found, rows, tally, events, _ = recovered(tmp_path, prepare, note)
    assert (found, events, tally.gap) == (Recovered(), [], 0)
    assert [(row.message, row.state) for row in rows] == [("m2", "queued"), ("m3", "queued")]


def test_an_answer_goes_before_its_absence_and_a_second_loss_is_counted(tmp_path):
    async def prepare(store):
        await store.put(message("m1", "a@example.net", "b@example.net"))
        await store.settle([Settlement("m1", 0, 1, None, NOW, "lost", lost="resend")])

    def note(journal):
        slots = journal.sent("m1", [(0, 1), (1, 0)])
        slots[:] = slots + journal.taken([], "m1", [(0, 1)], all_of_it=False)

    found, (row,), tally, events, _ = recovered(tmp_path, prepare, note)
    assert found == Recovered(1, 1)
    assert (row.index, row.state) == (1, "lost")
    assert [one.event for one in events if "possible_duplicate" in one.detail] == ["delivered"]
    assert tally.gap == 0
