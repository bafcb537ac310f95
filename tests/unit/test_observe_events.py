"""Events to numbers, lines and memories: what people see of what happened."""

import asyncio
import errno
import json
import os
from dataclasses import replace

import pytest

from relay.core.content import Content, MemoryBody
from relay.core.envelope import Envelope
from relay.core.events import Event, accepted_event
from relay.core.message import Prepared
from relay.observe import eventlog as module
from relay.observe.attempts import EACH_MOST, MESSAGES_MOST, Attempts
from relay.observe.bus import Bus
from relay.observe.eventlog import EventLog
from relay.observe.metrics import Metrics

DETAIL = {"provider": "gmail", "phase": "dot", "attempt": 1, "delay_s": 0.4, "code": 250, "text": "ok"}


def event(name: str, **detail) -> Event:
    return Event(name, 1000.0, message="m1", recipient="bob@example.net", stream="transactional",
                 sender="shop@example.com", detail=DETAIL | detail)  # fmt: skip


def numbers(metrics: Metrics) -> dict[str, float]:
    lines = metrics.render().decode().splitlines()
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines if line[:1] != "#")}


def test_every_outcome_is_counted_by_stream_provider_and_kind():
    metrics = Metrics()
    for name in ("delivered", "deferred", "bounced", "expired", "delivered"):
        metrics.on_event(event(name))
    found = numbers(metrics)
    label = 'provider="gmail",stream="transactional"'
    assert found[f'relay_recipients_total{{outcome="delivered",{label}}}'] == 2
    assert found[f'relay_recipients_total{{outcome="bounced",{label}}}'] == 1
    assert found['relay_attempts_total{provider="gmail",stream="transactional",verdict="deferred"}'] == 1
    assert found['relay_time_to_deliver_seconds_count{stream="transactional"}'] == 2
    assert found['relay_time_to_deliver_seconds_bucket{le="0.5",stream="transactional"}'] == 2
    assert found['relay_time_to_first_attempt_seconds_count{stream="transactional"}'] == 5


def test_losses_repeats_and_possible_duplicates_are_counted():
    metrics = Metrics()
    metrics.on_event(event("deferred", lost_after_dot="resend"))
    metrics.on_event(event("deferred"))
    metrics.on_event(event("delivered", possible_duplicate=True))
    metrics.on_event(event("delivered"))
    metrics.on_event(event("repeated"))
    metrics.lost_are({"transactional": 3})
    found = numbers(metrics)
    assert found['relay_lost_after_dot_total{policy="resend",stream="transactional"}'] == 1
    assert found['relay_duplicates_possible_total{stream="transactional"}'] == 1
    assert found['relay_repeated_messages_total{stream="transactional"}'] == 1
    assert found['relay_queue_lost_recipients{stream="transactional"}'] == 3


def test_a_retry_is_no_first_attempt():
    metrics = Metrics()
    metrics.on_event(event("delivered", delay_s=10.1, attempt=2))
    found = numbers(metrics)
    assert 'relay_time_to_first_attempt_seconds_count{stream="transactional"}' not in found


def test_a_clock_that_went_back_makes_no_negative_time():
    metrics = Metrics()
    metrics.on_event(event("delivered", delay_s=-86_400.0))
    assert numbers(metrics)['relay_time_to_deliver_seconds_sum{stream="transactional"}'] == 0


def test_acceptance_refusal_reload_and_failed_hosts_are_counted():
    metrics = Metrics()
    metrics.on_event(Event("accepted", 1.0, stream="transactional", detail={"listener": "apps"}))
    metrics.on_event(Event("refused", 1.0, detail={"reason": "disk_full"}))
    metrics.on_event(Event("attempted", 1.0, detail={"provider": "gmail"}))
    metrics.on_event(Event("cancelled", 1.0, stream="marketing"))
    metrics.on_event(Event("held", 1.0))
    metrics.on_event(Event("reloaded", 1.0, detail={"problems": ["x"]}))
    found = numbers(metrics)
    assert found['relay_accepted_messages_total{listener="apps",stream="transactional"}'] == 1
    assert found['relay_refused_messages_total{reason="disk_full"}'] == 1
    assert found['relay_attempts_total{provider="gmail",stream="",verdict="host_failed"}'] == 1
    assert found['relay_recipients_total{outcome="cancelled",provider="",stream="marketing"}'] == 1
    assert found["relay_reload_success"] == 0
    metrics.on_event(Event("reloaded", 2.0))
    assert numbers(metrics)["relay_reload_success"] == 1


def test_gauges_forget_streams_that_are_empty_now():
    metrics = Metrics()
    metrics.queue_is({"a": 3}, {"b": 1}, {"a": 90.0}, 100.0, 0)
    metrics.waiting_is({("a", "connections"): 3})
    metrics.committed(0.002, 5)
    metrics.committed(0.002, 0)
    found = numbers(metrics)
    assert found['relay_queue_recipients{state="queued",stream="a"}'] == 3
    assert found['relay_queue_recipients{state="held",stream="b"}'] == 1
    assert found['relay_queue_oldest_seconds{stream="a"}'] == 10
    assert found['relay_limits_waiting{reason="connections",stream="a"}'] == 3
    assert (found["relay_commit_seconds_count"], found["relay_commit_batch_messages_sum"]) == (2, 5)
    metrics.queue_is({}, {}, {}, 100.0, 2)
    metrics.waiting_is({})
    found = numbers(metrics)
    assert not any(name.startswith(("relay_queue_", "relay_limits_waiting{")) for name in found)
    assert found["relay_accounting_gap"] == 2


def lines(folder) -> list[dict[str, object]]:
    return [json.loads(line) for path in sorted(folder.iterdir()) for line in path.read_text().splitlines()]


def logged(scenario):
    return asyncio.run(scenario())


def test_an_event_is_one_line_within_a_moment(tmp_path):
    async def scenario():
        log = EventLog(tmp_path, node="relay-1", keep_days=3)
        log.on_event(event("delivered", text="gr\u00fc\u00df dich\n\udcff"))
        await asyncio.sleep(module.FLUSH_S * 3)
        (line,) = lines(tmp_path)
        assert (line["event"], line["node"], line["message"], line["code"]) == ("delivered", "relay-1", "m1", 250)
        assert line["text"].startswith("gr\u00fc\u00df dich\n")
        log.close()

    logged(scenario)


def test_a_day_has_its_file_and_old_days_go(tmp_path, monkeypatch):
    async def scenario():
        log = EventLog(tmp_path, node="n", keep_days=2)
        for day in ("2026-03-01", "2026-03-02", "2026-03-03"):
            today = type("Day", (), {"strftime": lambda self, form, day=day: day})()
            now = type("Now", (), {"now": staticmethod(lambda zone, today=today: today)})
            monkeypatch.setattr(module, "datetime", type("Clock", (), {"datetime": now, "UTC": None}))
            log.on_event(event("deferred"))
            log.flush()
        assert sorted(path.name[7:17] for path in tmp_path.iterdir()) == ["2026-03-02", "2026-03-03"]
        log.close()

    logged(scenario)


@pytest.mark.parametrize("room", [0, 30])
def test_a_full_disk_keeps_the_lines_leaves_no_half_one_and_recovers_by_itself(tmp_path, monkeypatch, room):
    async def scenario():
        log, write = EventLog(tmp_path, node="n", keep_days=2), os.write
        log.on_event(event("delivered"))
        log.flush()

        def full(handle, data):
            if not room:
                raise OSError(errno.ENOSPC, "no space left")
            return write(handle, data[:room])

        monkeypatch.setattr(module.os, "write", full)
        log.on_event(event("deferred"))
        log.flush()
        assert [line["event"] for line in lines(tmp_path)] == ["delivered"]
        monkeypatch.setattr(module.os, "write", write)
        await asyncio.sleep(module.AGAIN_S + 0.2)
        assert [line["event"] for line in lines(tmp_path)] == ["delivered", "deferred"]
        assert log.dropped == 0
        log.close()

    logged(scenario)


def test_a_disk_that_stays_full_costs_the_oldest_lines_and_they_are_counted(tmp_path, monkeypatch):
    async def scenario():
        monkeypatch.setattr(module, "BUFFER_MOST", 3)
        log = EventLog(tmp_path / "events", node="n", keep_days=2)
        (tmp_path / "events").rmdir()
        for n in range(5):
            log.on_event(event("deferred", attempt=n))
            log.flush()
        assert log.dropped == 2
        (tmp_path / "events").mkdir()
        log.close()
        assert [line["attempt"] for line in lines(tmp_path / "events")] == [2, 3, 4]

    logged(scenario)


def test_the_last_attempts_at_a_message_are_remembered_and_memory_is_bounded():
    attempts = Attempts()
    attempts.on_event(event("delivered"))
    assert attempts.of("m1") == []
    reached = {"code": 450, "enhanced": "4.2.1", "mx": "mx.example.net", "source": "t1"}
    for n in range(EACH_MOST + 5):
        attempts.on_event(event("deferred", text=f"later {n}", **reached))
    kept = attempts.of("m1")
    assert len(kept) == EACH_MOST
    assert kept[-1]["text"] == f"450 4.2.1 later {EACH_MOST + 4}"
    assert (kept[-1]["mx"], kept[-1]["source"]) == ("mx.example.net", "t1")
    for n in range(MESSAGES_MOST):
        attempts.on_event(Event("deferred", 1.0, message=f"n{n}", detail={"text": "timeout"}))
    assert attempts.of("m1") == []
    assert attempts.of("n0")[0]["text"] == "timeout"


def test_everyone_on_the_bus_hears_each_event_once_in_order():
    bus, heard = Bus(), []
    bus.subscribe(lambda one: heard.append(("first", one.event)))
    bus.subscribe(lambda one: heard.append(("second", one.event)))
    bus.publish(Event("held", 1.0))
    assert heard == [("first", "held"), ("second", "held")]


def test_the_event_of_mail_that_is_to_be_sent_later_says_when():
    content = Content(b"", MemoryBody(b""))
    made = Prepared("m1", 5.0, 65.00049, Envelope("a@b", ()), "", "codes", "p", "r", content=content)
    assert accepted_event(made, 6.0).detail["due_at"] == 65.0
    assert "due_at" not in accepted_event(replace(made, due_at=5.0), 6.0).detail
