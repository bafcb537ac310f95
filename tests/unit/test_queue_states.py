"""Whatever operators and deliveries do, in any order: rows move as the table of states says, what it does not allow
is refused and named, and the accounts balance after every step."""

from __future__ import annotations

import sqlite3
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from relay.core.states import ENDS, TABLE, Cause, IllegalMove, State, after, resting, stored
from relay.queue import operating, reading
from relay.queue.legal import allowed, becomes
from relay.queue.store import CAUSE, End, Filter, Settlement
from relay.queue.writing import Group, write_group
from tests.unit.test_queue_stock import NoSpool, opened, prepared

OPERATORS = {
    Cause.HOLD: lambda db, which: operating.hold(db, which=which, now=2.0, note=""),
    Cause.RELEASE: lambda db, which: operating.release(db, which=which, now=2.0),
    Cause.RETRY: lambda db, which: operating.reschedule(db, which=which, now=2.0),
    Cause.CANCEL: lambda db, which: len(operating.remove_recipients(db, which=which, now=2.0)[0]),
    Cause.CONFIRM: lambda db, which: len(operating.remove_recipients(db, which=which, now=2.0, end=End.DELIVERED)[0]),
}
OUTCOMES = [Cause.DELIVER, Cause.DEFER, Cause.LOSE, Cause.LOSE_HOLD, Cause.BOUNCE, Cause.EXPIRE, Cause.SUPPRESS]
ENDING = {cause: end for end, cause in CAUSE.items()}
LOST = {Cause.LOSE: "resend", Cause.LOSE_HOLD: "hold"}
steps = st.lists(st.tuples(st.sampled_from([*OPERATORS, *OUTCOMES]), st.integers(0, 2), st.booleans()), max_size=14)


def state_of(db: sqlite3.Connection, idx: int) -> State | None:
    row = db.execute("SELECT state, lost FROM recipient WHERE message = 'm' AND idx = ?", (idx,)).fetchone()
    return resting(*row) if row else None


@given(steps)
def test_rows_move_as_the_table_says(script):
    db = opened()
    write_group(db, spool=NoSpool(), group=Group([prepared("m", "a", 3, 100)]))
    expected, attempts, ends = [State.QUEUED] * 3, [0] * 3, dict.fromkeys([one.value for one in ENDS], 0)
    for cause, idx, repeated in script:
        try:
            wanted = after(expected[idx], cause)
        except IllegalMove:
            wanted = None
        if cause in OPERATORS:
            changed = OPERATORS[cause](db, Filter(recipient=f"{idx}@a.example"))
            assert changed == (wanted is not None), (cause, expected[idx])
        else:
            attempt = attempts[idx] + 1 - repeated
            settlement = Settlement("m", idx, attempt, ENDING.get(cause), 9.0, lost=LOST.get(cause, ""))
            assert settlement.cause is cause
            group = Group(settlements=[settlement, replace(settlement, due_at=99.0)])  # said twice
            write_group(db, spool=NoSpool(), group=group)
            if repeated:
                wanted = None
            assert (settlement.key in group.refused) == (wanted is None), (cause, expected[idx], group.refused)
            attempts[idx] += wanted is not None
        if wanted is not None:
            expected[idx] = wanted
            if wanted in ENDS:
                ends[wanted.value] += 1
        assert [state_of(db, one) for one in range(3)] == [None if one in ENDS else one for one in expected]
        tally = reading.tally(db)
        assert (tally.gap, tally.ends, tally.accepted) == (0, ends, 3)


def test_the_reason_of_a_refusal_is_named():
    db = opened()
    write_group(db, spool=NoSpool(), group=Group([prepared("m", "a", 1, 100)]))
    operating.hold(db, which=Filter(), now=2.0, note="")
    group = Group(settlements=[Settlement("m", 0, 1, End.SUPPRESSED), Settlement("m", 0, 0, End.DELIVERED)])
    group.settlements.append(Settlement("gone", 0, 1, End.DELIVERED))
    write_group(db, spool=NoSpool(), group=group)
    assert group.refused == {
        ("m", 0, 1): "suppress is not possible in state held after 0 losses",
        ("m", 0, 0): "attempt 0 is recorded already",
        ("gone", 0, 1): "it has come to an end before",
    }


def test_every_condition_is_the_table():
    db = sqlite3.connect(":memory:")
    db.execute("CREATE TABLE r (state TEXT, lost INTEGER)")
    forms = [State.QUEUED, State.HELD, State.LOST, State.LOST_HELD]
    for cause, moves in TABLE.items():
        for state in forms:
            db.execute("DELETE FROM r")
            db.execute("INSERT INTO r VALUES (?, ?)", (stored(state).column, 3 * stored(state).lost))
            found = db.execute(f"SELECT COUNT(*) FROM r WHERE {allowed(cause)}").fetchone()[0]
            legal = any(stored(one) == stored(state) for one in moves)
            assert found == legal, (cause, state)
            if legal and not set(moves.values()) & set(ENDS):
                db.execute(f"UPDATE r SET {becomes(cause)}")
                to = {moves[one] for one in moves if stored(one) == stored(state)}
                assert {stored(one) for one in to} == {stored(resting(*db.execute("SELECT * FROM r").fetchone()))}
