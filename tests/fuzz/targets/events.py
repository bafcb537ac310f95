"""Invariant: no line of an event log, torn or forged, makes its readers raise; what was recorded decides again."""

from __future__ import annotations

import io
import json

from relay.cli.eventfile import EventFilter, _backwards, _parsed
from relay.policy.recorded import facts_of, record
from relay.policy.replay import Evidence, Replay
from tests.unit.test_inbound_intake import policy

ROW = {
    "event": "accepted", "time": 1793611800.5, "message": "01jbjw3k5v00000000a", "recipients": ["a@b.example"], "size": 10, "route": "all",
    "stream": "transactional", "facts": {"headers": {"subject": ["x"]}, "size": 9, "chosen_stream": "a"},
}  # fmt: skip
SEEDS = [json.dumps(one).encode() for one in (
    ROW, ROW | {"event": "refused"}, ROW | {"message": ""}, ROW | {"time": 1e300, "message": ""}, ROW | {"time": "x"},
    ROW | {"facts": []}, ROW | {"facts": {"headers": {"a\r\nb": ["c"]}}}, ROW | {"size": 10**400}, ROW | {"recipients": "x"}, [], 5,
)] + [json.dumps(ROW).encode()[:40], b"[" * 5000, b'{"time": ' + b"1" * 5000 + b"}"]  # fmt: skip
WHICH = [EventFilter(), EventFilter(event="acc*", since=5.0), EventFilter(recipient="*@b*", message="0*")]
POLICY = policy()


def target(data: bytes) -> None:
    assert b"\n".join(reversed(list(_backwards(io.BytesIO(data))))) == data
    for line in data.split(b"\n"):
        rows = _parsed(line, EventFilter())
        for which in WHICH:
            assert len(_parsed(line, which)) <= len(rows)
        for row in rows:
            Replay(POLICY, POLICY, Evidence()).play(row)
            try:
                facts = facts_of(row)
            except (KeyError, ValueError, TypeError, AttributeError, OverflowError, OSError):
                continue
            asked = dict.fromkeys(facts.headers.names(), True)
            json.dumps(record(facts, asked))
