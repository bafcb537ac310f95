"""Every recipient's life, in one table: the states there are, and what leads from one to the next.

A recipient that was accepted is in exactly one state at every moment: queued or held, possibly after its mail was
lost after the dot, or at one of the ends. What the table does not allow is not written (`queue.legal` makes the
conditions of the store's statements from it). docs/accounting.md shows the table; a test compares them.

Two states are known to the running process only: `under_way` is stored as queued and `under_way_again` as lost,
because nothing may be written before a message leaves. A journal (`queue.underway`) tells the next start of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import NamedTuple


class State(Enum):
    """Where a recipient is."""

    QUEUED = "queued"
    UNDER_WAY = "under_way"
    HELD = "held"
    LOST = "lost"
    UNDER_WAY_AGAIN = "under_way_again"
    LOST_HELD = "lost_held"
    DELIVERED = "delivered"
    BOUNCED = "bounced"
    EXPIRED = "expired"
    SUPPRESSED = "suppressed"
    CANCELLED = "cancelled"


class Cause(Enum):
    """What moves a recipient."""

    ACCEPT = "accept"
    ACCEPT_HELD = "accept_held"
    START = "start"
    RETURN = "return"
    DELIVER = "deliver"
    DEFER = "defer"
    LOSE = "lose"
    LOSE_HOLD = "lose_hold"
    BOUNCE = "bounce"
    EXPIRE = "expire"
    SUPPRESS = "suppress"
    HOLD = "hold"
    RELEASE = "release"
    RETRY = "retry"
    CANCEL = "cancel"
    CONFIRM = "confirm"


class Stored(NamedTuple):
    """How a state lies in the store: the `state` column, and whether some attempt was lost after the dot."""

    column: str
    lost: bool


Q, U, H, L, A, LH = (
    State.QUEUED, State.UNDER_WAY, State.HELD, State.LOST, State.UNDER_WAY_AGAIN, State.LOST_HELD,
)  # fmt: skip
OPEN = (Q, U, H, L, A, LH)
ENDS = (State.DELIVERED, State.BOUNCED, State.EXPIRED, State.SUPPRESSED, State.CANCELLED)


def _each(end: State) -> dict[State, State]:
    return dict.fromkeys(OPEN, end)


# An outcome is legal in every open state, resting ones too: an attempt that has begun cannot be called back by an
# operator's hold or release, mail without a way is settled without an attempt, and after a crash the journal may
# know a delivery that the store does not.
TABLE: Mapping[Cause, Mapping[State, State]] = {
    Cause.START: {Q: U, L: A},
    Cause.RETURN: {U: Q, A: L},
    Cause.DELIVER: _each(State.DELIVERED),
    Cause.DEFER: {Q: Q, U: Q, H: H, L: L, A: L, LH: LH},
    Cause.LOSE: {Q: L, U: L, H: LH, L: L, A: L, LH: LH},
    Cause.LOSE_HOLD: _each(LH),
    Cause.BOUNCE: _each(State.BOUNCED),
    Cause.EXPIRE: _each(State.EXPIRED),
    Cause.SUPPRESS: {Q: State.SUPPRESSED, L: State.SUPPRESSED},
    Cause.HOLD: {Q: H, U: H, L: LH, A: LH},
    Cause.RELEASE: {H: Q, LH: L},
    Cause.RETRY: {Q: Q, U: U, L: L, A: A},
    Cause.CANCEL: _each(State.CANCELLED),
    Cause.CONFIRM: {L: State.DELIVERED, A: State.DELIVERED, LH: State.DELIVERED},
}
BIRTHS: Mapping[Cause, State] = {Cause.ACCEPT: Q, Cause.ACCEPT_HELD: H}

MEANS: Mapping[State, str] = {
    Q: "waits until it is due",
    U: "a connection has it (stored as `queued`)",
    H: "waits for an operator, or for the end of a brake",
    L: "an attempt was lost after the dot: it may have been delivered, and is sent again when due",
    A: "a connection has it again (stored as `lost`)",
    LH: "an attempt was lost after the dot: it may have been delivered, and waits for an operator",
    State.DELIVERED: "the receiver answered 2xx to the dot, or an operator says that it arrived",
    State.BOUNCED: "refused for good; the sender gets a report",
    State.EXPIRED: "the time of the stream's `retry` was over; the sender gets a report",
    State.SUPPRESSED: "not sent, as the recipient is on a suppression list",
    State.CANCELLED: "an operator ended it; no report",
}
CAUSES: Mapping[Cause, str] = {
    Cause.ACCEPT: "the message was answered 250 (`accepted`)",
    Cause.ACCEPT_HELD: "the same, and a rule or brake holds it (`accepted` with `held`)",
    Cause.START: "a connection takes it",
    Cause.RETURN: "the connection gives it back untouched",
    Cause.DELIVER: "2xx to the dot (`delivered`)",
    Cause.DEFER: "the attempt failed and there will be another (`deferred`)",
    Cause.LOSE: "lost after the dot, `lost_after_dot: resend` (`deferred` with `lost_after_dot`)",
    Cause.LOSE_HOLD: "lost after the dot, `lost_after_dot: hold` (the same)",
    Cause.BOUNCE: "refused for good, or there is no way (`bounced`)",
    Cause.EXPIRE: "its time is over (`expired`)",
    Cause.SUPPRESS: "it was put on a suppression list",
    Cause.HOLD: "`relay queue hold`, or a brake (`held`)",
    Cause.RELEASE: "`relay queue release`, or a brake's end (`released`)",
    Cause.RETRY: "`relay queue retry`",
    Cause.CANCEL: "`relay queue cancel` (`cancelled`)",
    Cause.CONFIRM: "`relay queue delivered` (`delivered` with `by: operator`)",
}


class IllegalMove(Exception):
    """The table has no such transition; the text names state and cause."""


def after(state: State, cause: Cause) -> State:
    """Where `cause` leads from `state`; raises IllegalMove."""
    moved = TABLE.get(cause, {}).get(state)
    if moved is None:
        raise IllegalMove(f"{cause.value} is not possible for a recipient that is {state.value}")
    return moved


def stored(state: State) -> Stored:
    """How an open state lies in the store; raises IllegalMove for an end, which is only counted."""
    if state not in OPEN:
        raise IllegalMove(f"a recipient that is {state.value} has no row")
    return Stored("held" if state in (H, LH) else "queued", state in (L, A, LH))


def resting(column: str, lost: int) -> State:
    """The state of a row: `lost` counts the attempts lost after the dot. Raises IllegalMove for a row that no
    transition leads to."""
    found = {stored(one): one for one in (Q, H, L, LH)}.get(Stored(column, lost > 0))
    if found is None or lost < 0:
        raise IllegalMove(f"no recipient is {column!r} after {lost} losses")
    return found


def page() -> str:
    """The table in Markdown, as docs/accounting.md has it."""
    lines = ["| state | what | counted as |", "|---|---|---|"]
    for state, means in MEANS.items():
        counted = state.value if state in ENDS else stored(state).column
        lines.append(f"| `{state.value}` | {means} | {counted} |")
    lines += ["", "| what happens | from → to |", "|---|---|"]
    for cause, text in CAUSES.items():
        lines.append(f"| {text} | {_moves(cause)} |")
    return "\n".join(lines) + "\n"


def _moves(cause: Cause) -> str:
    if cause in BIRTHS:
        return f"→ `{BIRTHS[cause].value}`"
    moves = TABLE[cause]
    if set(moves) == set(OPEN) and len(set(moves.values())) == 1:
        return f"every state that is no end → `{moves[Q].value}`"
    return ", ".join(f"`{one.value}` → `{to.value}`" for one, to in moves.items())
