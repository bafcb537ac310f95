"""One outbound connection, byte for byte, against a receiver in memory; its clock jumps."""

import asyncio
from pathlib import Path

import pytest

from relay.core.content import MemoryBody
from relay.core.outcome import Outcome, Trouble, Verdict
from relay.deliver.job import Job, make_job
from relay.queue.spool import FileBody
from relay.queue.store import Stored
from relay.smtp.happenings import Result
from relay.smtp.timeouts import Timeouts
from tests.unit.delivery_stage import EHLO, NOON, Receiver, connected, message, play, subject


def job(id_: str, *recipients: str, **more) -> Job:
    whole = message(id_, *(recipients or ("bob@example.net",)), **more)
    from relay.queue.rows import places

    found = make_job(Stored(whole, dict(enumerate(whole.envelope.recipients))), places(whole), NOON)
    assert found is not None
    return found


class Work:
    """A feed: jobs in order; "load" is one that must be loaded first, and `then_quit` ends the connection."""

    def __init__(self, *jobs, then_quit: bool = False) -> None:
        self.jobs, self.then_quit = list(jobs), then_quit
        self.results: list[tuple[str, Result]] = []
        self.ended: list[Outcome | None] = []
        self.sent: list[str] = []
        self.asked = 0

    def next_job(self, connection, *, behind=False):
        self.asked += 1
        if not self.jobs:
            if self.then_quit:
                asyncio.get_running_loop().call_soon(connection.quit)
            return None
        if self.jobs[0] == "load":
            self.jobs.pop(0)
            connection.loading = True
            return None
        return self.jobs.pop(0)

    def sending(self, connection, job):
        assert not self.ended, "a dot after the end"
        self.sent.append(job.stored.message.id)

    def finished(self, connection, job, result):
        assert not self.ended, "a result after the end"
        self.results.append((job.stored.message.id, result))

    def closed(self, connection, outcome):
        self.ended.append(outcome)

    def verdicts(self) -> dict[str, list[Verdict]]:
        return {id_: [one.verdict for one in result.outcomes] for id_, result in self.results}

    def untouched(self) -> list[str]:
        return [id_ for id_, result in self.results if result.untouched]


async def opened(receiver: Receiver, work: Work, **settings):
    connection = connected(receiver, work, **settings)
    assert await connection.opened is None
    return connection


def test_the_next_mail_leaves_in_the_same_write_as_the_dot():
    async def scenario():
        receiver, work = Receiver(), Work(job("m1"), job("m2"))
        connection = await opened(receiver, work)
        connection.wake()
        await asyncio.sleep(1)
        (wire,) = receiver.wires
        commands = b"MAIL FROM:<shop@example.com>\r\nRCPT TO:<bob@example.net>\r\nDATA\r\n"
        assert wire.writes[1:3] == [commands, b"Subject: m1\r\n\r\nhello\r\n.\r\n" + commands]
        assert [subject(body) for _, _, body in receiver.taken] == ["m1", "m2"]
        assert work.verdicts() == {"m1": [Verdict.DELIVERED], "m2": [Verdict.DELIVERED]}
        assert connection.idle

    play(scenario())


def test_without_pipelining_every_command_waits_for_its_reply():
    async def scenario():
        receiver, work = Receiver(ehlo=["mx.example.net", "8BITMIME"]), Work(job("m1"), job("m2"))
        (await opened(receiver, work)).wake()
        await asyncio.sleep(1)
        assert all(write.count(b"\r\n") == 1 or write.startswith(b"Subject") for write in receiver.wires[0].writes)
        assert len(receiver.taken) == 2

    play(scenario())


def test_an_idle_connection_takes_the_next_message_and_says_goodbye_after_half_a_minute():
    async def scenario():
        receiver, work = Receiver(), Work(job("m1"))
        connection = await opened(receiver, work)
        connection.wake()
        await asyncio.sleep(29)
        work.jobs.append(job("m2"))
        connection.wake()
        await asyncio.sleep(29)
        assert len(receiver.taken) == 2
        assert not work.ended
        await asyncio.sleep(2)
        assert work.ended == [None]
        assert receiver.reads[-1] == b"QUIT\r\n"

    play(scenario())


def test_a_feed_that_says_quit_ends_the_connection_when_the_last_message_is_answered():
    async def scenario():
        receiver, work = Receiver(), Work(job("m1"), then_quit=True)
        (await opened(receiver, work)).wake()
        await asyncio.sleep(1)
        assert work.verdicts() == {"m1": [Verdict.DELIVERED]}
        assert work.ended == [None]
        assert receiver.open == 0

    play(scenario())


def test_a_message_that_must_be_loaded_first_is_taken_when_it_comes():
    async def scenario():
        receiver, work = Receiver(), Work(job("m1"), "load")
        connection = await opened(receiver, work)
        connection.wake()
        await asyncio.sleep(1)
        assert connection.loading
        assert not connection.idle
        assert connection.offer(job("m2"))
        await asyncio.sleep(1)
        assert [subject(body) for _, _, body in receiver.taken] == ["m1", "m2"]

    play(scenario())


def test_a_message_that_is_gone_when_it_should_be_loaded_leaves_the_connection_idle():
    async def scenario():
        work = Work("load")
        connection = await opened(Receiver(), work)
        connection.wake()
        assert connection.offer(None)
        assert connection.idle
        assert not connection.loading

    play(scenario())


@pytest.mark.parametrize("seconds", [1, 40])
def test_a_message_loaded_for_a_connection_that_then_ends_is_given_back(seconds):
    """While the last one is still unanswered, or while an idle one says goodbye."""

    async def scenario():
        silent = seconds == 1
        receiver = Receiver(DOT=None) if silent else Receiver(QUIT=None)
        work = Work(job("m1"), "load") if silent else Work("load")
        connection = await opened(receiver, work)
        connection.wake()
        await asyncio.sleep(35 if not silent else 1)
        assert connection.offer(job("m2"))
        receiver.wires[0].hang_up()
        await asyncio.sleep(1)
        assert "m2" in work.untouched()
        assert len(work.ended) == 1
        assert not connection.offer(job("m3"))

    play(scenario())


@pytest.mark.parametrize("phase", ["BANNER", "EHLO", "MAIL", "RCPT", "DATA", "DOT"])
@pytest.mark.parametrize("how", ["hang up", None, "421 4.3.2 going down", "nonsense"])
def test_a_server_that_fails_in_any_phase_costs_one_attempt_and_nothing_else(phase, how):
    async def scenario():
        receiver, work = Receiver(**{phase: how}), Work(job("m1", "bob@example.net", "eve@example.net"))
        connection = connected(receiver, work)
        outcome = await connection.opened
        if phase in ("BANNER", "EHLO"):
            assert outcome is not None
            assert outcome.verdict is Verdict.DEFERRED
            assert not work.ended
        else:
            connection.wake()
            await asyncio.sleep(700)
            assert work.verdicts() == {"m1": [Verdict.DEFERRED, Verdict.DEFERRED]}
            assert not work.untouched()
            assert len(work.ended) == 1
        assert receiver.open == 0

    play(scenario())


@pytest.mark.parametrize("end", ["hang up", "421 4.3.2 going down"])
def test_what_follows_a_message_whose_session_ends_is_untouched(end):
    async def scenario():
        receiver, work = Receiver(DOT=end), Work(job("m1"), job("m2"))
        (await opened(receiver, work)).wake()
        await asyncio.sleep(1)
        assert work.untouched() == ["m2"]
        (first,) = [result for id_, result in work.results if id_ == "m1"]
        assert (first.outcomes[0].trouble is Trouble.LOST_AFTER_DOT) == (end == "hang up")

    play(scenario())


@pytest.mark.parametrize("more", ["250 already?", "421 4.3.2 going down", "nonsense"])
def test_a_server_that_goes_on_talking_after_354_in_the_same_segment_loses_nothing(more):
    async def scenario():
        receiver, work = Receiver(DATA=f"354 go on\r\n{more}"), Work(job("m1"), job("m2"))
        (await opened(receiver, work)).wake()
        await asyncio.sleep(1)
        assert work.verdicts()["m1"] == [Verdict.DEFERRED]
        assert len(work.ended) == 1
        assert not receiver.taken

    play(scenario())


def test_a_connection_lost_in_the_segment_that_opened_it_is_over_when_it_is_looked_at():
    async def scenario():
        ehlo = "\r\n".join(f"250{'-' if one != EHLO[-1] else ' '}{one}" for one in EHLO)
        work = Work(job("m1"))
        connection = connected(Receiver(EHLO=f"{ehlo}\r\n421 4.3.2 not today"), work)
        await connection.opened
        assert connection.over
        connection.wake()
        assert not work.results

    play(scenario())


def spooled(folder: Path, size: int) -> FileBody:
    path = folder / "body"
    path.write_bytes((b"x" * 98 + b"\r\n") * (size // 100))
    return FileBody(str(path), path.stat().st_size)


def test_a_large_body_is_read_only_as_fast_as_the_network_takes_it(tmp_path):
    async def scenario():
        receiver, work = Receiver(), Work(job("big", body=spooled(tmp_path, 1_000_000)))
        connection = await opened(receiver, work, limit=150_000)
        connection.wake()
        await asyncio.sleep(1)
        (wire,) = receiver.wires
        assert 150_000 < sum(map(len, wire.writes)) < 300_000
        while not receiver.reads[-1].endswith(b".\r\n") and sum(map(len, wire.writes)) < 1_000_000:
            before = len(wire.writes)
            receiver.read(wire, wire.writes[-1])
            wire.flow()
            await asyncio.sleep(100)
            assert len(wire.writes) > before
        assert sum(map(len, wire.writes)) > 1_000_000

    play(scenario())


def test_a_network_that_takes_nothing_ends_after_three_minutes(tmp_path):
    async def scenario():
        receiver, work = Receiver(), Work(job("big", body=spooled(tmp_path, 1_000_000)))
        (await opened(receiver, work, limit=150_000)).wake()
        await asyncio.sleep(179)
        assert not work.ended
        await asyncio.sleep(2)
        assert work.verdicts() == {"big": [Verdict.DEFERRED]}
        assert work.results[0][1].outcomes[0].trouble is Trouble.TIMEOUT

    play(scenario())


@pytest.mark.parametrize("earlier", [True, False])
def test_a_body_we_cannot_read_is_our_fault_and_no_reason_to_try_at_once(tmp_path, caplog, earlier):
    async def scenario():
        lost = job("lost", body=FileBody(str(tmp_path / "gone"), 200_000))
        receiver, work = Receiver(), Work(*[job("m1")] * earlier, lost)
        (await opened(receiver, work)).wake()
        await asyncio.sleep(1)
        (outcome,) = dict(work.results)["lost"].outcomes
        assert outcome.trouble is Trouble.OURS
        assert not outcome.untouched
        assert len(receiver.taken) == earlier
        assert len(work.ended) == 1

    play(scenario())
    assert "lost" in caplog.text


def test_a_byte_now_and_then_gains_a_server_no_time():
    async def scenario():
        receiver, work = Receiver(MAIL=None), Work(job("m1"))
        (await opened(receiver, work, timeouts=Timeouts(mail_s=60))).wake()
        await asyncio.sleep(0)
        for _ in range(10):
            await asyncio.sleep(5)
            receiver.wires[0].say(b"2")
        assert not work.ended
        await asyncio.sleep(11)
        assert len(work.ended) == 1

    play(scenario())


def test_a_recipient_too_many_is_left_for_the_next_transaction():
    async def scenario():
        refused = {"eve@example.net": "452 4.5.3 too many", "mal@example.net": "550 5.1.1 no such user"}
        answer = lambda line: next((text for name, text in refused.items() if name in line), "usual")  # noqa: E731
        receiver = Receiver(RCPT=answer)
        work = Work(job("m1", "bob@example.net", "eve@example.net", "mal@example.net"))
        (await opened(receiver, work)).wake()
        await asyncio.sleep(1)
        (_, result), = work.results
        assert [one.verdict for one in result.outcomes] == [Verdict.DELIVERED, Verdict.DEFERRED, Verdict.FAILED]
        assert [one.untouched for one in result.outcomes] == [False, True, False]
        assert receiver.taken[0][1] == ["bob@example.net"]

    play(scenario())


def test_a_line_that_begins_with_a_dot_arrives_as_it_was():
    async def scenario():
        receiver, work = Receiver(), Work(job("m1", body=MemoryBody(b".\r\n..\r\nend\r\n")))
        (await opened(receiver, work)).wake()
        await asyncio.sleep(1)
        assert receiver.taken[0][2].endswith(b"\r\n\r\n..\r\n...\r\nend\r\n")

    play(scenario())


def test_a_dropped_connection_ends_everything_at_once():
    async def scenario():
        receiver, work = Receiver(DOT=None), Work(job("m1"), job("m2"))
        connection = await opened(receiver, work)
        connection.wake()
        await asyncio.sleep(1)
        connection.abort()
        await asyncio.sleep(0.1)
        assert sorted(work.verdicts()) == ["m1", "m2"]
        assert len(work.ended) == 1

    play(scenario())
