"""The table of states as SQL: which rows a cause may change, and what it makes of them.

Every statement that changes a recipient takes its condition from here, so a transition that `core.states` does not
allow changes no row; whoever asked for it is told which (`store.Refused`).
"""

from __future__ import annotations

from functools import cache

from relay.core.states import TABLE, Cause, stored

SHOWN = "CASE WHEN r.lost = 0 THEN r.state WHEN r.state = 'held' THEN 'lost_held' ELSE 'lost' END"
STATES: dict[str, str] = {  # what an operator means by a state, as a test of row r
    "queued": "r.state = 'queued'",
    "held": "r.state = 'held'",
    "lost": "r.lost > 0",
    "lost_held": "r.state = 'held' AND r.lost > 0",
}


@cache
def allowed(cause: Cause) -> str:
    """The test of columns `state` and `lost` that is true where the table allows `cause`."""
    forms = {stored(state) for state in TABLE[cause]}
    tests = []
    for column in sorted({form.column for form in forms}):
        losses = {form.lost for form in forms if form.column == column}
        lost = "" if len(losses) == 2 else " AND lost > 0" if losses == {True} else " AND lost = 0"
        tests.append(f"(state = '{column}'{lost})")
    return f"({' OR '.join(tests)})"


@cache
def becomes(cause: Cause) -> str:
    """The columns that `cause` sets, as `state = …, lost = …`."""
    moves = [(stored(state), stored(to)) for state, to in TABLE[cause].items()]
    columns = {to.column for _, to in moves}
    kept = all(before.column == to.column for before, to in moves)
    assert kept or len(columns) == 1, f"{cause} leads to more than one column"
    column = "state" if kept else f"'{columns.pop()}'"
    loses = any(to.lost and not before.lost for before, to in moves)
    return f"state = {column}, lost = lost + {int(loses)}"
