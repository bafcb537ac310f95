"""The engine behind the hand-over: what is counted over all clients, whichever front they came to."""

import asyncio

import pytest

from relay.config.check import check_all, read_rules
from relay.config.files import Files
from relay.core.quota import Allowance, Quota, Stock
from relay.inbound.board import Board
from relay.inbound.gate import Gatekeeper
from relay.policy.guard import Guard
from relay.policy.model import Policy
from relay.queue.frames import FrameError, Put
from relay.queue.handoff import Denied
from relay.queue.spool import Spool
from relay.queue.takeover import Takeover
from relay.service.fronts import Counter, FrontDoors
from tests.unit.test_inbound_gate import NOON, KnownDisk, stream
from tests.unit.test_queue_store import message
from tests.unit.test_service_start import written


def counter(*streams, allowances=None, held_by=lambda *_: ""):
    streams = {one.name: one for one in streams}
    policy = Policy(streams, {}, (), ())
    gate = Gatekeeper(
        policy=lambda: policy, stock=Stock, disk=KnownDisk((), free=10**9, kept=1000), signing=lambda *_: [],
        publish=lambda event: None, clock=lambda: NOON, allowances=allowances or {}, ways={},
    )  # fmt: skip
    return Counter(gate=gate, policy=lambda: policy, held_by=held_by, put_soon=None, publish=None, report=None)


def doors_of(folder, fronts=2):
    takeover = Takeover(counter(), Spool(folder / "spool"), mark="m", files=b"")
    return FrontDoors(takeover, Board(fronts, ["apps"]), {}, path=folder / "handoff.sock", metrics=None)


def test_an_engine_that_is_told_to_stop_does_not_wait_for_fronts(tmp_path):
    async def scenario():
        doors, ended = doors_of(tmp_path), asyncio.Event()
        opening = asyncio.create_task(doors.open(ended))
        await asyncio.sleep(0)
        assert not opening.done()
        ended.set()
        await asyncio.wait_for(opening, 5)
        await doors.drain(5)
        await doors.close()

    asyncio.run(scenario())


def test_an_engine_to_which_no_front_comes_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr("relay.service.fronts.START_S", 0.05)

    async def scenario():
        doors = doors_of(tmp_path)
        with pytest.raises(OSError, match="no front has come up"):
            await doors.open(asyncio.Event())
        await doors.close()

    asyncio.run(scenario())


def put(number=1, **more):
    return Put(number, message(f"m{number}", **{"stream": "codes", "listener": "apps", "came_bytes": 100} | more))


def test_a_days_worth_is_counted_over_all_fronts_and_given_back():
    desk = counter(stream("codes"), allowances={"listener apps": Allowance(None, 2)})
    _, left = desk.admit(put(1))
    desk.admit(put(2))
    with pytest.raises(Denied) as denied:
        desk.admit(put(3))
    assert denied.value.reason == "client-daily"
    assert str(denied.value.reply).startswith("452 4.7.1 listener apps may send to 2 recipients a day")
    left(False)
    desk.admit(put(4))


def test_a_streams_quota_sees_what_is_on_its_way_from_all_fronts():
    desk = counter(stream("codes", quota=Quota(messages=1)))
    _, left = desk.admit(put(1))
    with pytest.raises(Denied, match="quota-messages"):
        desk.admit(put(2))
    left(False)
    desk.admit(put(3))


def test_a_brake_holds_what_comes_from_any_front():
    desk = counter(stream("codes"), held_by=lambda stream, credential, tags: f"brake {stream} {credential}")
    taken, _ = desk.admit(put(1, credential="shop"))
    assert (taken.held, taken.held_by) == (True, "brake codes shop")


def test_mail_of_a_stream_that_a_reload_took_away_is_stored():
    taken, left = counter().admit(put(1))
    left(True)
    assert taken.stream == "codes"


def test_wrong_passwords_are_counted_together():
    desk = counter()
    keys = ["a:192.0.2.1", "n:shop"]
    assert desk.answer("wait", [keys]) == 0.0
    for _ in range(8):
        desk.told("failed", [keys])
    assert desk.answer("wait", [keys]) is None
    desk.told("succeeded", ["n:shop"])
    assert desk.answer("wait", [["n:shop"]]) == 0.0


def test_likeness_is_counted_together():
    text = "".join(f"This is a line of prose, as long as such lines are, letter {chr(n)}.\n" for n in range(65, 90))
    desk = counter(stream("codes", guard=Guard("refuse", same=2, within_s=60.0)), stream("free"))
    found = [desk.answer("alike", ["codes", text, [f"{number}@x.example"]]) for number in range(5)]
    assert found == [False, False, True, True, True]
    assert desk.answer("alike", ["free", text, ["a@b.example"]]) is False
    assert desk.answer("alike", ["gone", text, ["a@b.example"]]) is False


@pytest.mark.parametrize(("question", "arguments"), [
    ("wait", []), ("wait", [[1]]), ("wait", ["text"]), ("alike", ["s", "t"]), ("alike", ["s", "t", [1]]),
    ("alike", [1, "t", []]), ("", []),
])  # fmt: skip
def test_questions_that_are_none_end_the_connection(question, arguments):
    with pytest.raises(FrameError):
        counter().answer(question, arguments)
    with pytest.raises(FrameError):
        counter().told(question, arguments)


def test_the_rules_in_force_are_the_files_that_were_read(tmp_path):
    report = written(tmp_path)
    files = Files.unpacked(report.files.packed())
    (tmp_path / "policies" / "all.yaml").write_text("nonsense: [")
    again = read_rules(tmp_path / "relay.yaml", files)
    assert again.problems == []
    assert again.policy.streams.keys() == report.policy.streams.keys()
    assert again.files.mark == report.files.mark
    changed = check_all(tmp_path / "relay.yaml")
    assert changed.problems
    assert changed.files.mark != report.files.mark


@pytest.mark.parametrize("data", [b"", b"[]", b'{"a": 1}', b"\xff"])
def test_files_that_are_none(data):
    with pytest.raises(ValueError, match=r"line|files|decode"):
        Files.unpacked(data)


def test_a_front_takes_rules_and_says_what_is_wrong(tmp_path):
    from relay.service.front import Front

    report = written(tmp_path)

    async def scenario():
        front = Front(tmp_path / "relay.yaml", report, Board(1, ["apps"]), 1, {})
        (tmp_path / "policies" / "all.yaml").write_text(
            (tmp_path / "policies" / "all.yaml").read_text().replace("marketing", "letters")
        )
        config = (tmp_path / "relay.yaml").read_text().replace("[marketing]", "[letters]")
        (tmp_path / "relay.yaml").write_text(config)
        new = check_all(tmp_path / "relay.yaml")
        assert await front.take(new.files.mark, new.files.packed()) == ""
        assert set(front.policy().streams) == {"transactional", "letters"}
        assert "no files" in await front.take("x", b"[]")
        front.desk.close()

    asyncio.run(scenario())
