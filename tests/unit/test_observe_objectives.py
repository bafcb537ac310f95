"""Events into figures: what is shown, what a reload changes, what a restart keeps."""

import asyncio
import random

import pytest

from relay.core.events import Event
from relay.core.ids import message_id, stretch_of
from relay.observe.metrics import Metrics
from relay.observe.objectives import Objectives
from relay.policy.model import Objective, Policy, Stream
from relay.queue.store import Filter, Row, StoreBusy
from relay.service.objectives import keep_for_ever, keep_objectives, promises, recall_objectives

T0 = 1_700_000_000.0
PROMISE = {"codes": (10.0, 0.9)}


def mail(at, seed=0):
    return message_id(at, random.Random(seed).randbytes(6))


def accepted(message, at, stream="codes", **detail):
    return Event("accepted", at, message=message, stream=stream, detail={"recipients": ["a@example.org"], **detail})


def ended(name, message, at, age, **detail):
    return Event(name, at, message=message, stream="codes", detail={"delay_s": age, **detail})


def shown(objectives, now):
    metrics = Metrics()
    objectives._shown.clear()
    objectives.show(metrics, now)
    return metrics.registry.get_sample_value


def test_figures_are_there_before_the_first_mail():
    value = shown(Objectives(PROMISE), T0)
    assert value("relay_objective_total", {"stream": "codes"}) == 0
    assert value("relay_objective_good_total", {"stream": "codes"}) == 0
    assert value("relay_objective_target", {"stream": "codes"}) == 0.9
    assert value("relay_objective_burn_rate", {"stream": "codes", "window": "3d"}) == 0


@pytest.mark.parametrize(
    ("name", "detail", "good", "total"),
    [
        ("delivered", {}, 1, 1),
        ("bounced", {"class": "InvalidRecipient"}, 0, 0),
        ("bounced", {"class": "SpamBlock"}, 0, 1),
        ("expired", {"class": "InvalidRecipient"}, 0, 1),
        ("cancelled", {}, 0, 0),
        ("deferred", {}, 0, 0),
    ],
)
def test_what_an_end_counts_as(name, detail, good, total):
    objectives, code = Objectives(PROMISE), mail(T0)
    objectives.on_event(accepted(code, T0))
    objectives.on_event(ended(name, code, T0 + 1, 1.0, **detail))
    value = shown(objectives, T0 + 1)
    assert value("relay_objective_good_total", {"stream": "codes"}) == good
    assert value("relay_objective_total", {"stream": "codes"}) == total


def test_counters_only_grow_by_what_is_new():
    objectives, metrics = Objectives(PROMISE), Metrics()
    for number in range(3):
        code = mail(T0 + number, number)
        objectives.on_event(accepted(code, T0 + number))
        objectives.on_event(ended("delivered", code, T0 + number + 1, 1.0))
        objectives.show(metrics, T0 + number + 1)
    assert metrics.registry.get_sample_value("relay_objective_good_total", {"stream": "codes"}) == 3


def test_other_streams_operators_filters_and_held_mail_do_not_count():
    objectives, held = Objectives(PROMISE), mail(T0)
    objectives.on_event(accepted(mail(T0, 1), T0, stream="news"))
    objectives.on_event(accepted(held, T0, held=True))
    objectives.on_event(Event("cancelled", T0, stream="codes", detail={"recipients": 5}))
    objectives.on_event(Event("reloaded", T0))
    assert objectives.met("codes") is None
    assert objectives.met("news") is None
    assert objectives.rates("news", T0) == {}
    assert objectives.rates("codes", T0 + 60)["5m"] == 0


def test_late_mail_shows_without_any_further_event():
    objectives = Objectives(PROMISE)
    objectives.on_event(accepted(mail(T0), T0))
    assert objectives.rates("codes", T0 + 30)["5m"] == pytest.approx(10)
    assert objectives.met("codes") == 0


def test_a_reload_changes_begins_and_ends_objectives():
    objectives = Objectives(PROMISE)
    objectives.take({"codes": (1.0, 0.5), "alerts": (5.0, 0.9)})
    assert objectives.trackers["codes"].within_s == 1.0
    objectives.take({"alerts": (5.0, 0.9)})
    assert list(objectives.trackers) == ["alerts"]


def test_promises_are_those_of_the_policy():
    streams = {
        "codes": Stream("codes", "main", None, objective=Objective(10.0, 0.999)),
        "news": Stream("news", "main", None),
    }
    assert promises(Policy(streams, {}, (), ())) == {"codes": (10.0, 0.999)}


class Shelf:
    """The store as far as objectives need it: what is queued is a list of (message, state), `later` one of (message,
    when it is to be sent)."""

    def __init__(self, queued=(), later=()):
        self.kept, self.queued, self.full, self.later = {}, queued, False, later

    async def recall(self, kind):
        return self.kept.get(kind, {})

    async def remember(self, kind, changes):
        if self.full:
            raise StoreBusy("no")
        self.kept.setdefault(kind, {}).update(changes)

    async def waiting_since(self, stream, since):
        found = {}
        for message, state in self.queued:
            if state == "queued" and message >= since:
                found[stretch_of(message)] = found.get(stretch_of(message), 0) + 1
        return found

    async def find(self, which: Filter, limit):
        if which.note:
            assert which.note == "send at *"
            return [Row(message, 0, "a@example.org", "", which.stream, "", "queued", 0.0, at, 0, 0)
                    for message, at in self.later]  # fmt: skip
        return [
            Row(message, 0, "a@example.org", "", which.stream, "", state, 0.0, 0.0, 0, 0)
            for message, state in self.queued if state == which.state
        ]  # fmt: skip


def test_a_restart_counts_what_became_late_meanwhile_and_nothing_twice():
    before, old, fresh = Objectives(PROMISE), mail(T0, 1), mail(T0 + 50, 2)
    for message, at in ((old, T0), (fresh, T0 + 50)):
        before.on_event(accepted(message, at))
    shelf = Shelf([(old, "queued"), (fresh, "queued")])
    asyncio.run(keep_objectives(before, shelf, T0 + 55))
    assert before.trackers["codes"].burn.total == 1  # the old one is late
    after = Objectives(PROMISE)
    asyncio.run(recall_objectives(after, shelf, T0 + 600))
    after.on_event(ended("delivered", old, T0 + 600, 600.0))
    after.on_event(ended("delivered", fresh, T0 + 601, 551.0))
    assert after.trackers["codes"].burn.total == 1  # the other became late while nobody ran
    assert after.rates("codes", T0 + 601)["1h"] == pytest.approx(10)
    assert sum(slot[2] for slot in after.keep(T0 + 601)["codes"]["windows"]["1h"]) == 2


def test_held_mail_stays_exempt_over_a_restart():
    held = mail(T0)
    after = Objectives(PROMISE)
    asyncio.run(recall_objectives(after, Shelf([(held, "held")]), T0 + 2))
    after.on_event(ended("delivered", held, T0 + 3, 3.0))
    assert after.keep(T0 + 60)["codes"]["windows"]["5m"] == []


def test_the_first_start_of_all_counts_no_history():
    after = Objectives(PROMISE)
    asyncio.run(recall_objectives(after, Shelf([(mail(T0), "queued"), (mail(T0 + 995), "queued")]), T0 + 1000))
    assert sum(after.trackers["codes"].waiting.values()) == 1


def test_a_store_that_cannot_keep_figures_costs_no_mail(caplog):
    shelf = Shelf()
    shelf.full = True
    asyncio.run(keep_objectives(Objectives(PROMISE), shelf, T0))
    assert "could not be kept" in caplog.text


def test_figures_are_kept_from_time_to_time(monkeypatch):
    monkeypatch.setattr("relay.service.objectives.KEEP_S", 0.0)
    shelf = Shelf()

    async def kept():
        task = asyncio.create_task(keep_for_ever(Objectives(PROMISE), shelf))
        while not shelf.kept:
            await asyncio.sleep(0)
        task.cancel()

    asyncio.run(kept())
    assert set(shelf.kept["objective"]) == {"codes"}


def test_mail_to_be_sent_later_is_counted_from_then_also_after_a_restart():
    before, codes = Objectives(PROMISE), [mail(T0, number) for number in range(3)]
    for code in codes:
        before.on_event(accepted(code, T0, due_at=T0 + 1000))
    before.on_event(ended("delivered", codes[0], T0 + 1004, 4.0))
    assert (before.trackers["codes"].burn.good, before.trackers["codes"].burn.total) == (1, 1)
    shelf = Shelf([(code, "queued") for code in codes[1:]], [(code, T0 + 1000) for code in codes[1:]])
    after = Objectives(PROMISE)
    asyncio.run(recall_objectives(after, shelf, T0 + 2))
    after.on_event(ended("delivered", codes[1], T0 + 1004, 4.0))
    assert (after.trackers["codes"].burn.good, after.trackers["codes"].burn.total) == (1, 1)
    assert shown(after, T0 + 1020)("relay_objective_total", {"stream": "codes"}) == 2
    assert not after.trackers["codes"].later
