"""The table of states: nothing leaves an end, everything open can end, and the documented table is this one."""

import pathlib

import pytest

from relay.core.states import (
    BIRTHS,
    CAUSES,
    ENDS,
    MEANS,
    OPEN,
    TABLE,
    Cause,
    IllegalMove,
    State,
    Stored,
    after,
    page,
    resting,
    stored,
)
from relay.queue.store import CAUSE, End

DOCS = pathlib.Path(__file__).parents[2] / "docs"


def test_every_state_and_cause_is_in_the_table():
    assert {*OPEN, *ENDS} == set(State) == set(MEANS)
    assert {*TABLE, *BIRTHS} == set(Cause) == set(CAUSES)
    assert {end.value for end in End} == {state.value for state in ENDS}
    assert all(after(State.QUEUED, cause).value == end.value for end, cause in CAUSE.items())


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("cause", Cause)
def test_nothing_leaves_an_end(end, cause):
    with pytest.raises(IllegalMove, match=f"{cause.value} is not possible for a recipient that is {end.value}"):
        after(end, cause)


@pytest.mark.parametrize(
    ("state", "cause"),
    [
        (State.HELD, Cause.START), (State.LOST_HELD, Cause.START), (State.HELD, Cause.HOLD), (State.HELD, Cause.RETRY),
        (State.QUEUED, Cause.RELEASE), (State.QUEUED, Cause.CONFIRM), (State.HELD, Cause.CONFIRM),
        (State.QUEUED, Cause.RETURN), (State.UNDER_WAY, Cause.SUPPRESS), (State.UNDER_WAY, Cause.START),
        (State.QUEUED, Cause.ACCEPT),
    ],
)  # fmt: skip
def test_what_may_not_be(state, cause):
    with pytest.raises(IllegalMove):
        after(state, cause)


def test_a_loss_is_remembered_until_the_end():
    """No cause but an end leads from a state that was lost to one that was not."""
    for moves in TABLE.values():
        for state, to in moves.items():
            assert to in ENDS or stored(to).lost >= stored(state).lost


def test_every_open_state_reaches_every_end_it_may():
    for state in OPEN:
        reached, todo = set(), [state]
        while todo:
            here = todo.pop()
            for moves in TABLE.values():
                if (to := moves.get(here)) is not None and to not in reached:
                    reached.add(to)
                    todo.append(to)
        assert reached >= set(ENDS)


def test_rows_and_states_are_the_same_thing():
    assert stored(State.UNDER_WAY) == stored(State.QUEUED) == Stored("queued", lost=False)
    for state in (State.QUEUED, State.HELD, State.LOST, State.LOST_HELD):
        assert resting(stored(state).column, 2 * stored(state).lost) is state
    with pytest.raises(IllegalMove, match="has no row"):
        stored(State.DELIVERED)
    for column, lost in (("delivered", 0), ("queued", -1)):
        with pytest.raises(IllegalMove, match="no recipient is"):
            resting(column, lost)


def test_the_documented_table_is_this_one():
    assert page() in (DOCS / "accounting.md").read_text(), (
        "put what `python -c 'from relay.core.states import page; print(page())'` says into docs/accounting.md"
    )
