"""Places at the gates: who gets one, who waits for one, who gives one up. Decides only; three functions act.

1. `find` gives an outlet a place (a Slot) if every gate on the way lets one of its streams pass; otherwise the
   outlet stands in the line of the gate that does not, and an idle connection that holds such a place ends.
2. `turn` says at each message boundary whether a connection goes on, rests, or makes room (`core.slots`).
3. `pass_on` gives a place that came free to others, and `admit` serves who stands first in line wherever
   something may pass that could not before.

Each costs O(log n) in the number of outlets that wait, times the streams and the three or four gates on a way.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from relay.core.gate import Gate
from relay.core.lanes import Lanes, Outlet
from relay.core.line import Key
from relay.core.slots import QUIT, Block, Slot, Step, Turn, at_boundary, blocked, idle_to_leave, take

Way = tuple[Gate, ...]


def _anyone(stream: str) -> bool:
    return True


class Places:
    """`serve` looks what an outlet can do now; `end` ends an idle connection; `remind` calls `admit` with the
    gate after so many seconds (never, for an infinite number)."""

    def __init__(
        self, lanes: Lanes, *, serve: Callable[[Key], None], end: Callable[[Slot], None],
        remind: Callable[[Gate, float], None],
    ) -> None:  # fmt: skip
        self.lanes, self.serve, self.end, self.remind = lanes, serve, end, remind
        self._waits: dict[Key, set[Gate]] = {}

    def find(
        self, outlet: Outlet, way: Way, now: float, *, first: bool, streams: Sequence[str] | None = None
    ) -> Slot | None:
        """A place for one more connection, or None: the outlet waits. `first`: it has no connection yet;
        `streams`: those in their order that may leave this way, None for all."""
        key = outlet.key
        for stream in self.lanes.order(outlet) if streams is None else streams:
            block = blocked(way, key, stream, now, first=first)
            if block is None:
                self.wants_no_more(key)
                return take(way, key, stream, now)
            self._wait(key, stream, block, now)
        return None

    def _wait(self, key: Key, stream: str, block: Block, now: float) -> None:
        gate = block.gate
        self.remind(gate, block.until - now)
        if block.reason == "message_rate":
            gate.tokens.join(stream, key, 0)
            return
        self._stand(key, stream, gate)
        if gate.leaving < len(gate.line) and (slot := idle_to_leave(gate, stream, but=key)) is not None:
            slot.leave()
            self.end(slot)

    def _stand(self, key: Key, stream: str, gate: Gate) -> None:
        gate.line.join(stream, key, gate.at.get(key, 0))
        self._waits.setdefault(key, set()).add(gate)

    def wants_no_more(self, key: Key) -> None:
        """The outlet has hands enough."""
        for gate in self._waits.pop(key, ()):
            gate.line.leave(key)

    def turn(self, slot: Slot, now: float, *, over: bool, may: Callable[[str], bool] = _anyone) -> Turn:
        """What a connection that carries nothing is to do; `over`: it must take nothing more; `may`: whether a
        stream's mail may leave this way. For Step.TAKE it counts as busy with that stream from now on."""
        if slot.carrying:
            slot.ended()
        outlet = self.lanes.outlets.get(slot.key)
        turn = QUIT if over else at_boundary(slot, outlet, self.lanes, now, may)
        match turn.step:
            case Step.QUIT:
                slot.leave()
            case Step.IDLE:
                slot.rest(waits=False)
                if outlet is not None and outlet.ready:
                    self._kept_still(slot, outlet)
            case Step.RATE:
                assert turn.gate is not None
                slot.rest(waits=True)
                turn.gate.tokens.join(turn.stream, slot.key, 0)
                self.remind(turn.gate, turn.until - now)
            case _:  # Step.TAKE
                if turn.stream != slot.stream:  # what one stream holds less, another may have
                    for gate in slot.gates:
                        if gate.line.count or gate.tokens.count:
                            self.remind(gate, 0.0)
                slot.carry(turn.stream, now)
        return turn

    def _kept_still(self, slot: Slot, outlet: Outlet) -> None:
        """It has mail, but the reserves of others keep it: it is looked at again whenever a place comes free."""
        for stream in self.lanes.order(outlet):
            for gate in slot.gates:
                if not gate.room(stream, slot.stream):
                    gate.tokens.join(stream, slot.key, 0)

    def taken(self, outlet: Outlet, stream: str) -> None:
        """The outlet has one message of the stream less: what it no longer has it no longer waits for."""
        gates = self._waits.get(outlet.key) if self._waits else None
        if gates and not outlet.lanes[stream]:
            for gate in gates:
                gate.line.leave(outlet.key, stream)
            if not outlet.ready:
                del self._waits[outlet.key]

    def pass_on(self, slot: Slot, now: float) -> None:
        """A connection has ended, or could not be made, and its slot was released: its place is for who stands
        first in line; the outlet that had it stands there too if it has mail."""
        outlet = self.lanes.outlets.get(slot.key)
        if outlet is not None and outlet.ready:
            for gate in slot.gates:
                if gate.line.count:
                    gate.line.leave(slot.key)  # it had its turn: to the end
                    for stream in self.lanes.order(outlet):
                        self._stand(slot.key, stream, gate)
        for gate in slot.gates:
            self.admit(gate, now)
        self.serve(slot.key)

    def admit(self, gate: Gate, now: float) -> None:
        """Something may pass a gate that could not before: who waits for a message's turn, then who waits for
        a connection."""
        for _ in range(len(gate.tokens)):
            if (ready := gate.messages.ready_at(now)) > now or (up := gate.next_token()) is None:
                self.remind(gate, ready - now)
                break
            gate.tokens.leave(up[1])
            self.serve(up[1])
        for _ in range(len(gate.line)):
            if (ready := gate.connects.ready_at(now)) > now:
                self.remind(gate, ready - now)
                break
            if (up := gate.next_up()) is None:
                break
            self.serve(up[1])
            if gate.next_up() == up:  # it waits at another gate, or for nothing
                gate.line.leave(up[1], up[0])
