"""The hand-over on a real Unix socket: the store's contract told through it, and what a broken connection means."""

import asyncio
import contextlib
import socket

import pytest

from relay.core.content import Content
from relay.core.envelope import Client, Envelope, Recipient, Submission
from relay.core.events import Event
from relay.core.message import Once
from relay.core.reply import Reply
from relay.queue.frames import VERSION, Kind, encode, put_frame
from relay.queue.handoff import INLINE_BYTES, Denied, Handoff
from relay.queue.spool import Spool
from relay.queue.sqlite import SqliteStore
from relay.queue.store import Receipt, StoreBroken, StoreBusy, StoreFull
from relay.queue.takeover import Takeover
from tests.unit import test_queue_store as contract

CONTRACT = [
    contract.test_what_was_put_is_there_after_a_restart,
    contract.test_a_group_is_one_commit_and_every_put_is_told_once,
    contract.test_a_put_whose_sender_went_away_is_stored_all_the_same,
    contract.test_a_delivered_recipient_is_gone_and_counted_once_however_often_it_is_said,
    contract.test_a_deferral_is_recorded_once_and_an_old_one_changes_nothing,
    contract.test_the_backlog_is_read_in_order_page_by_page,
    contract.test_held_mail_waits_for_its_release,
    contract.test_a_brake_releases_what_it_holds_and_nothing_else,
    contract.test_tags_with_special_characters_are_found_as_written,
    contract.test_a_retry_makes_deferred_mail_due_now,
    contract.test_cancelled_mail_is_counted_and_its_file_is_gone,
    contract.test_what_is_held_is_not_loaded_for_delivery,
    contract.test_one_flow_to_one_domain_can_be_read_on_its_own,
]


class Engine:
    """A store behind the socket that lets everything in; `trouble` is raised instead, `events` are what it heard."""

    def __init__(self, store):
        self.put_soon = store.put_soon
        self.trouble, self.events, self.said, self.left = None, [], [], []

    def admit(self, put):
        if self.trouble is not None:
            raise self.trouble
        return put.message, self.left.append

    def publish(self, event):
        self.events.append(event)

    def answer(self, question, arguments):
        return [question, arguments]

    async def report(self, submission):
        if not submission.envelope.sender:
            raise ValueError("a fault of ours")
        return Reply(250, "2.0.0", (f"noted {submission.content.body.size}",))

    def told(self, what, arguments):
        self.said.append((what, arguments))


class OverSocket:
    """A store whose `put` goes through the hand-over."""

    def __init__(self, store, handoff, engine, takeover):
        self.store, self.handoff, self.engine, self.takeover = store, handoff, engine, takeover
        self.spool, self.put = handoff.spool, handoff.put

    def __getattr__(self, name):
        return getattr(self.store, name)


async def nothing_wrong(mark, files):
    return ""


@contextlib.asynccontextmanager
async def opened(folder, stored=lambda message, places: None, committed=lambda seconds, count: None):
    spool = Spool(folder / "spool", "engine")
    store = await SqliteStore.open(folder / "queue.db", spool, stored=stored, committed=committed)
    engine = Engine(store)
    takeover = Takeover(engine, spool, mark="one", files=b"{}")
    path = folder / "handoff.sock"
    path.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.setblocking(False)
        await takeover.serve(listening)
        front = Spool(folder / "spool", "front-1")
        handoff = Handoff(path, 1, front, mark="one", rules=nothing_wrong)
        running = asyncio.create_task(handoff.run())
        try:
            await asyncio.wait_for(handoff.ready.wait(), 10)
            yield OverSocket(store, handoff, engine, takeover)
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            await handoff.close()
            await takeover.close()
            while takeover.guests:
                await takeover.changed(5)
            await store.close()


async def until(condition):
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.005)


@pytest.mark.parametrize("promise", CONTRACT, ids=lambda one: one.__name__)
def test_the_contract_of_the_store_holds_through_the_hand_over(promise, tmp_path, monkeypatch):
    monkeypatch.setattr(contract, "opened", opened)
    promise(tmp_path)


@pytest.mark.parametrize("spooled", [True, False])
def test_a_large_body_goes_through_the_spool(tmp_path, spooled):
    data = b"x" * (INLINE_BYTES + 1)

    async def scenario():
        async with opened(tmp_path) as store:
            body = contract.spooled(store, data) if spooled else contract.MemoryBody(data)
            await store.put(contract.message("m1", body=body))
            assert b"".join((await store.load("m1")).message.content.body.chunks()) == data
            left = [entry for entry in (tmp_path / "spool" / "tmp").rglob("*") if entry.is_file()]
            assert left == []

    contract.run(scenario())


@pytest.mark.parametrize("trouble", [StoreFull("no room"), StoreBusy("later"), StoreBroken("dead"),
                                     Denied("client-rate", Reply(451, "4.7.1", ("slowly",)))])  # fmt: skip
def test_what_the_engine_raises_is_raised_at_the_front_and_leaves_no_body(tmp_path, trouble):
    async def scenario():
        async with opened(tmp_path) as store:
            store.engine.trouble = trouble
            with pytest.raises(type(trouble), match=str(trouble)) as caught:
                await store.put(contract.message("m1", body=contract.spooled(store, b"x" * 5)))
            if isinstance(trouble, Denied):
                assert caught.value.reply == trouble.reply
            assert [entry for entry in (tmp_path / "spool" / "tmp").rglob("*") if entry.is_file()] == []
            store.engine.trouble = None
            await store.put(contract.message("m1"))
            assert store.engine.left == [True]

    contract.run(scenario())


def test_a_known_idempotency_key_is_told_as_the_store_tells_it(tmp_path):
    async def scenario():
        async with opened(tmp_path) as store:
            once = Once("listener apps", "k", "digest", 9e9)
            assert await store.put(contract.message("m1", once=once)) == Receipt("m1")
            body = contract.spooled(store, b"x" * 5)
            assert await store.put(contract.message("m2", once=once, body=body)) == Receipt("m1", "repeat")
            other = once._replace(digest="other")
            assert await store.put(contract.message("m3", once=other)) == Receipt("m1", "conflict")
            assert store.engine.left == [True, False, False]
            assert [entry for entry in (tmp_path / "spool").rglob("*") if entry.is_file()] == []

    contract.run(scenario())


def test_a_body_that_is_gone_is_the_trouble_of_its_message_alone(tmp_path):
    async def scenario():
        async with opened(tmp_path) as store:
            body = contract.spooled(store, b"x" * 5)
            body.discard()
            with pytest.raises(StoreBusy, match="the body is not there"):
                await store.put(contract.message("m1", body=body))
            await store.put(contract.message("m2"))

    contract.run(scenario())


def test_events_come_before_the_message_that_follows_them_and_wait_for_the_engine(tmp_path):
    async def scenario():
        order = []
        async with opened(tmp_path, stored=lambda one, places: order.append(one.id)) as store:
            store.engine.publish = lambda event: order.append(event.message)
            store.handoff.publish(Event("guarded", 1.0, message="first"))
            await store.put(contract.message("m1"))
            assert order == ["first", "m1"]
            [guest] = store.takeover.guests
            guest.link.end()
            await asyncio.wait_for(store.handoff._ended.wait(), 10)
            store.handoff.publish(Event("refused", 2.0, message="meanwhile"))
            with pytest.raises(StoreBusy, match="away"):
                await store.put(contract.message("m2"))
            await asyncio.wait_for(store.handoff.ready.wait(), 10)
            await store.put(contract.message("m3"))
            assert order == ["first", "m1", "meanwhile", "m3"]

    contract.run(scenario())


def test_an_engine_that_goes_before_it_answers_is_busy_and_the_message_may_be_there(tmp_path):
    async def scenario():
        async with opened(tmp_path) as store:
            [guest] = store.takeover.guests
            store.takeover._answer = lambda guest: guest.link.end()  # the commit is done, its answer never leaves
            with pytest.raises(StoreBusy, match="may be in the queue"):
                await store.put(contract.message("m1"))
            assert (await store.tally()).accepted == 1
            del store.takeover._answer
            await asyncio.wait_for(store.handoff.ready.wait(), 10)
            await store.put(contract.message("m2"))
            assert guest not in store.takeover.guests

    contract.run(scenario())


def test_questions_are_answered_and_words_are_heard(tmp_path):
    async def scenario():
        async with opened(tmp_path) as store:
            asked = await asyncio.gather(*(store.handoff.ask("wait", number) for number in range(20)))
            assert asked == [["wait", [number]] for number in range(20)]
            store.handoff.tell("failed", ["a:192.0.2.1"])
            store.handoff.opened()
            await until(lambda: store.engine.said and all(one.listening for one in store.takeover.guests))
            assert store.engine.said == [("failed", [["a:192.0.2.1"]])]

    contract.run(scenario())


def test_reports_are_read_by_the_engine_and_a_fault_of_ours_is_temporary(tmp_path):
    def report(sender):
        body = contract.MemoryBody(b"x" * 50)
        envelope = Envelope(sender, (Recipient("a@b.example"),))
        return Submission("r1", 1.0, Client("192.0.2.1", 0, "", "bounces"), envelope, Content(b"A: b\r\n", body))

    async def scenario():
        async with opened(tmp_path) as store:
            assert str(await store.handoff.report(report("mx@c.example"), 20)) == "250 2.0.0 noted 20"
            assert (await store.handoff.report(report(""), 20)).code == 451
            await store.put(contract.message("m1"))

    contract.run(scenario())


def test_new_rules_reach_every_front_and_one_that_says_no_is_named(tmp_path):
    async def scenario():
        async with opened(tmp_path) as store:
            taken = []

            async def take(mark, files):
                taken.append((mark, files))
                return "" if mark == "two" else "no such stream"

            store.handoff.rules = take
            assert await store.takeover.take_rules("two", b"{2}", 10) == {}
            assert await store.takeover.take_rules("three", b"{3}", 10) == {1: "no such stream"}
            assert taken == [("two", b"{2}"), ("three", b"{3}")]
            assert store.handoff.mark == "two"

    contract.run(scenario())


STRANGE = {
    "nonsense": b"GET / HTTP/1.1\r\n\r\n",
    "mail before hello": put_frame(1, contract.message("m1")),
    "another version": encode(Kind.HELLO, (VERSION + 1, 1, 1, "")),
    "the engine's own words": encode(Kind.HELLO, (VERSION, 1, 1, "one")) + encode(Kind.WELCOME, (VERSION, "one")),
    "two hellos": encode(Kind.HELLO, (VERSION, 1, 1, "one")) * 2,
    "half a message": encode(Kind.HELLO, (VERSION, 1, 1, "one")) + put_frame(1, contract.message("m1"))[:-1],
}  # fmt: skip


@pytest.mark.parametrize("words", STRANGE.values(), ids=STRANGE)
def test_who_does_not_speak_as_agreed_is_cut_off_and_nobody_else(tmp_path, words):
    async def scenario():
        async with opened(tmp_path) as store:
            reader, writer = await asyncio.open_unix_connection(str(tmp_path / "handoff.sock"))
            writer.write(words)
            writer.write_eof()
            with contextlib.suppress(ConnectionError):
                await asyncio.wait_for(reader.read(), 10)
            writer.close()
            await store.put(contract.message("m2"))
            assert (await store.tally()).accepted == 1

    contract.run(scenario())
