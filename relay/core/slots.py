"""A connection's place in all the gates it passes, and what it is to do at each message boundary.

    take ─► at_boundary ─► TAKE   the next message of a stream
                        ─► IDLE   nothing to do, or not now
                        ─► RATE   not before `until`: so many messages a second
                        ─► QUIT   make room: a higher stream waits, or an equal one and this turn is over

A delivery under way is never interrupted. An idle connection gives way to anyone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

from relay.core.gate import Gate
from relay.core.lanes import Lanes, Outlet
from relay.core.line import Key

TURN_S = 1.0  # what a connection may carry before an equal that has fewer gets its place


class Step(Enum):
    """What a connection does now."""

    TAKE = "take"
    IDLE = "idle"
    RATE = "rate"
    QUIT = "quit"


class Turn(NamedTuple):
    """A step, with the stream to take from, or the gate that allows no more messages and until when."""

    step: Step
    stream: str = ""
    gate: Gate | None = None
    until: float = 0.0


IDLE, QUIT = Turn(Step.IDLE), Turn(Step.QUIT)


class Block(NamedTuple):
    """Which gate lets no further connection pass, why, and when to ask again (Unix s, or infinite)."""

    gate: Gate
    reason: str
    until: float


@dataclass(slots=True, eq=False)
class Slot:
    """One connection: the gates it passed, its outlet, the stream it counts for, since when. `waits`: it has
    mail and waits for its turn to send a message."""

    gates: tuple[Gate, ...]
    key: Key
    stream: str
    since: float
    leaving: bool = False
    carrying: bool = False
    waits: bool = False

    def carry(self, stream: str, now: float) -> None:
        """A delivery of that stream starts: from now on it counts for it."""
        for gate in self.gates:
            if stream != self.stream:
                gate.held[self.stream] -= 1
                gate.held[stream] = gate.held.get(stream, 0) + 1
            gate.start(stream, now)
            if self in gate.idle:
                del gate.idle[self]
        self.stream, self.carrying, self.waits = stream, True, False

    def ended(self) -> None:
        """The delivery under way has ended, if there was one."""
        if self.carrying:
            self.carrying = False
            for gate in self.gates:
                gate.end(self.stream)

    def rest(self, *, waits: bool) -> None:
        """It has nothing to do, or not yet."""
        self.waits = waits
        for gate in self.gates:
            gate.idle[self] = None

    def room(self, stream: str) -> bool:
        """Whether the stream may have this place at every gate."""
        for gate in self.gates:  # noqa: SIM110  a generator for each message costs more than it says
            if not gate.room(stream, self.stream):
                return False
        return True

    def leave(self) -> None:
        """It is to end: whoever waits need not send another away."""
        if not self.leaving:
            self.leaving = True
            for gate in self.gates:
                gate.leaving += 1
                gate.going[self.stream] = gate.going.get(self.stream, 0) + 1
                gate.idle.pop(self, None)

    def release(self) -> None:
        """The connection is gone."""
        self.ended()
        for gate in self.gates:
            gate.open -= 1
            gate.held[self.stream] -= 1
            if self.leaving:
                gate.leaving -= 1
                gate.going[self.stream] -= 1
            gate.idle.pop(self, None)
            if gate.at[self.key] > 1:
                gate.at[self.key] -= 1
            else:
                del gate.at[self.key]


def blocked(gates: tuple[Gate, ...], key: Key, stream: str, now: float, *, first: bool = True) -> Block | None:
    """The first gate that does not let a further connection of the outlet pass for the stream, or None. Nobody
    overtakes one that stands in line and could pass, but for a higher stream. Where there are no messages left
    to send just now, only an outlet's `first` connection is worth making: it can stand in line."""
    for gate in gates:
        if not first and (ready := gate.messages.ready_at(now)) > now:
            return Block(gate, "message_rate", ready)
        reason, until = gate.why_not_connect(now, stream)
        if reason:
            return Block(gate, reason, until)
        if gate.line.count and (up := gate.next_up()) is not None and up[1] != key:
            others = gate.rule(up[0]).priority >= gate.rule(stream).priority
            if others:
                return Block(gate, "turn", float("inf"))
    return None


def take(gates: tuple[Gate, ...], key: Key, stream: str, now: float) -> Slot:
    """A slot for one more connection; `blocked` said that there is one."""
    for gate in gates:
        gate.open += 1
        gate.held[stream] = gate.held.get(stream, 0) + 1
        gate.at[key] = gate.at.get(key, 0) + 1
        gate.connects.take(now)
    return Slot(gates, key, stream, now)


def at_boundary(
    slot: Slot, outlet: Outlet | None, lanes: Lanes, now: float, may: Callable[[str], bool]
) -> Turn:
    """What the connection is to do; it carries nothing. `may`: whether a stream's mail may leave this way."""
    if slot.leaving:
        return QUIT
    for gate in slot.gates:
        if gate.open - gate.leaving > gate.most:
            return QUIT
    stream = _stream_to_serve(slot, outlet, lanes, may) if outlet is not None and outlet.ready else None
    for gate in slot.gates:
        if gate.line.count and _gives_way(slot, stream, gate, now):
            return QUIT
    if stream is None:
        return IDLE
    for gate in slot.gates:
        if gate.messages.rate and (turn := _rate(slot, stream, gate, now)):
            return turn
    return Turn(Step.TAKE, stream)


def _stream_to_serve(slot: Slot, outlet: Outlet, lanes: Lanes, may: Callable[[str], bool]) -> str | None:
    """The first stream with mail here that may have this slot."""
    for stream in lanes.order(outlet):
        if slot.room(stream) and may(stream):
            return stream
    return None


def _rate(slot: Slot, stream: str, gate: Gate, now: float) -> Turn | None:
    """The turn of one that must wait for the gate's next message, or for a higher stream's."""
    ready = gate.messages.ready_at(now)
    if ready <= now and gate.tokens and (first := gate.next_token()) is not None and first[1] != slot.key:
        higher = gate.rule(first[0]).priority > gate.rule(stream).priority
        ready = now + 1 / gate.messages.rate if higher else ready
    return Turn(Step.RATE, stream, gate, ready) if ready > now else None


def _gives_way(slot: Slot, stream: str | None, gate: Gate, now: float) -> bool:
    """Whether one that waits at the gate is to have this connection's place. `stream` is what the connection
    would carry next."""
    if gate.leaving >= len(gate.line) or (up := gate.next_up(slot.stream)) is None:
        return False
    theirs, key = up
    if stream is None:
        return True
    if key == slot.key:
        return False
    mine, other = gate.rule(stream), gate.rule(theirs)
    if other.priority != mine.priority or now - slot.since < TURN_S:
        return other.priority > mine.priority
    if theirs == stream:
        return gate.at.get(key, 0) < gate.at[slot.key]
    return gate.held.get(theirs, 0) / other.weight < gate.held[slot.stream] / mine.weight


def idle_to_leave(gate: Gate, stream: str, but: Key) -> Slot | None:
    """The idle connection, longest so, whose place the stream may have; not one of the outlet `but`."""
    for slot in gate.idle:
        if not slot.leaving and slot.key != but and gate.room(stream, slot.stream):
            return slot
    return None
