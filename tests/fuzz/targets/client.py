"""Invariant: whatever a server says in whatever pieces, each delivery has one Result, the session one Closed, and no
recipient is delivered without a 250 to its data."""

from __future__ import annotations

from relay.core.outcome import Verdict
from relay.smtp.client import Closed, Result
from tests.fuzz.cutting import pieces
from tests.unit.test_smtp_hostile import STAGES, behind_the_dot, one_by_one, under_way

BEGUN = {under_way: ["m1"], one_by_one: ["m1"], behind_the_dot: ["m1", "m2"]}
SEEDS = [
    bytes([stage, cut]) + said
    for stage in range(len(STAGES)) for cut in (1, 255)
    for said in (b"250 ok\r\n" * 6, b"220 x\r\n250-x\r\n250 STARTTLS\r\n220 go\r\n", b"550 5.1.1 no\r\n354 go\r\n", b"421 x\r\n",
                 b"452 4.5.3 enough\r\n", b"199\r\n")
]  # fmt: skip


def target(data: bytes) -> None:
    if len(data) < 2:
        return
    stage, said = STAGES[data[0] % len(STAGES)], data[2:]
    whole, cut = stage(), stage()
    happened = whole.receive(said)
    assert [one for part in pieces(said, [data[1]] * 400) for one in cut.receive(part)] == happened
    assert whole.take_output() == cut.take_output()
    happened += whole.lost()
    assert [type(one) for one in happened].count(Closed) == 1
    results = [one for one in happened if isinstance(one, Result)]
    assert sorted(one.token for one in results) == BEGUN.get(stage, [])
    if not any(line.startswith(b"2") for line in said.split(b"\n")):
        assert all(one.verdict is not Verdict.DELIVERED for result in results for one in result.outcomes)
    assert whole.receive(said) == []
