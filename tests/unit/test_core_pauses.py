"""Pauses of every kind are told in one form."""

import pytest

from relay.core.brakes import Brakes, Trip
from relay.core.events import NAMES
from relay.core.health import SourcePause
from relay.core.ledger import Act, Action
from relay.core.pauses import End, of_brake, of_reply, of_source

NOW = 1_800_000_000.0
# every key there may be; docs/events.md lists them
KEYS = {"id", "by", "what", "value", "source", "provider", "destination", "credential", "rule", "where", "until",
        "seen", "observed", "ended"}  # fmt: skip


def trip(by, key, do="hold", **more):
    return of_brake(Trip("0a1b", "news", "bounces", by, key, do, NOW, seen="12 of 220", where="s.yaml:9", **more))


def reply(act, **more):
    return of_reply(Action("1f", act, "gmail", "gmail", "unusual rate", "p.yaml:9", NOW, NOW + 60, 60.0,
                           reply="421 4.7.28 no", **more))  # fmt: skip


OPERATORS = of_brake(Brakes().pause("news", None, NOW))
ILL = of_source(SourcePause("m1", "no such address", NOW + 30))
CASES = [
    (trip("campaign", "autumn"), "stream_paused", "brake", "hold", {"tags": {"campaign": "autumn"}}),
    (trip("provider", "gmail", "slow", rate_slow=0.5), "stream_paused", "brake", "slow",
     {"provider": "gmail", "value": 0.5}),
    (trip("credential", "shop", "pause"), "stream_paused", "brake", "pause", {"credential": "shop"}),
    (trip("stream", "", "alert", until=NOW + 9.12345), "stream_paused", "brake", "alert", {"until": NOW + 9.123}),
    (OPERATORS, "stream_paused", "operator", "pause", {}),
    (reply(Act.PAUSE_SOURCE, source="m1"), "source_paused", "reply rule", "pause", {"source": "m1"}),
    (reply(Act.SLOW, source="m1", value=0.1), "source_limited", "reply rule", "slow", {"value": 0.1}),
    (reply(Act.CONNECTIONS, source="m1", value=1.0, observed=True), "source_limited", "reply rule", "connections",
     {"observed": True}),
    (reply(Act.PAUSE_STREAM, stream="news"), "stream_paused", "reply rule", "pause", {"destination": "gmail"}),
    (ILL, "source_paused", "health", "pause", {"source": "m1", "seen": "no such address"}),
]  # fmt: skip


@pytest.mark.parametrize(("pause", "name", "by", "what", "more"), CASES)
def test_begins_and_ends_are_told_alike(pause, name, by, what, more):
    begun, ended = pause.begun(NOW), pause.ended(NOW + 5, End.OPERATOR)
    assert (begun.event, begun.time, begun.detail["by"], begun.detail["what"]) == (name, NOW, by, what)
    row = begun.as_dict("n")
    assert more == {key: row[key] for key in more}
    assert set(begun.detail) <= KEYS - {"ended"}
    assert ended.event == name.partition("_")[0] + "_resumed"
    assert dict(ended.detail) == {**begun.detail, "ended": "operator"}
    assert (ended.stream, ended.tags) == (begun.stream, begun.tags)
    assert {begun.event, ended.event} <= NAMES


def test_what_nobody_ends_by_itself_has_no_end():
    assert dict(OPERATORS.begun(NOW).detail) == {"id": OPERATORS.id, "by": "operator", "what": "pause"}
    assert "until" not in trip("campaign", "autumn").begun(NOW).detail
    assert ILL.begun(NOW).detail["until"] == NOW + 30


def test_a_brake_names_its_rule_and_line():
    detail = trip("campaign", "autumn").begun(NOW).detail
    assert [detail[key] for key in ("id", "rule", "where", "seen")] == ["0a1b", "bounces", "s.yaml:9", "12 of 220"]
