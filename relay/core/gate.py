"""A gate: so many connections at once, shared by streams with their reserves, and who waits for one.

Every connection passes several: the one of its source address and provider, one for each named limit, and that
of the machine. A reserve is the part of a gate's connections that is kept free for its stream, whoever else
asks; what is not reserved is used by anyone, higher streams first, equals by weight.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from relay.core.classify import Kind
from relay.core.lanes import LOWEST, LaneRules
from relay.core.limits import Rates, TokenBucket
from relay.core.line import Key, Line
from relay.core.outcome import Outcome, Trouble, Verdict

if TYPE_CHECKING:
    from relay.core.slots import Slot

SHRINK_S = 5.0  # deferrals that come together are one piece of news
LEFT_BY_TROUBLE = 0.5  # of the connections, when the other side says that it is too much (RFC 5681 §3.1: half)


@dataclass(slots=True, eq=False)
class Gate:
    """Who may pass now. `name` is what reasons begin with: "" towards a provider, "machine", or "limit NAME".

    `most` is how many connections are allowed now: the limit, or less where the other side refused more (`window` is
    what it was found to bear; `opening`: it grows after a pause and has met no refusal). `open` counts connections
    under way or being made, `held` the same by stream, `at` by outlet, `leaving` those of them that are saying goodbye,
    `going` these by stream; `busy` counts deliveries under way by stream. `rules` are the streams that pass here."""

    rates: Rates
    name: str = ""
    open: int = 0
    window: float = float("inf")
    opening: bool = False
    most: int = field(init=False)
    busy: dict[str, int] = field(default_factory=dict)
    connects: TokenBucket = field(default_factory=lambda: TokenBucket(0, 1))
    messages: TokenBucket = field(default_factory=lambda: TokenBucket(0, 1))
    rules: Mapping[str, LaneRules] = field(default_factory=dict)
    held: dict[str, int] = field(default_factory=dict)
    at: dict[Key, int] = field(default_factory=dict)
    leaving: int = 0
    going: dict[str, int] = field(default_factory=dict)
    line: Line = field(default_factory=Line)
    tokens: Line = field(default_factory=Line)
    idle: dict[Slot, None] = field(default_factory=dict)
    _kept: tuple[int, Mapping[str, LaneRules], tuple[tuple[str, int], ...]] = (-1, {}, ())
    _shrunk_at: float = float("-inf")

    def __post_init__(self) -> None:
        self._make_buckets(self.rates)
        self._set_window(self.window)

    def set_rates(self, rates: Rates) -> None:
        """Takes new limits from a reload; connections above a lower limit end with their next message."""
        if rates != self.rates:
            self.rates = rates
            self._make_buckets(rates)
            self._set_window(self.window)

    def _set_window(self, window: float) -> None:
        self.window = window
        self.most = max(1, int(min(self.rates.connections, window)))

    def _make_buckets(self, rates: Rates) -> None:
        self.connects = TokenBucket(rates.connections_per_minute / 60, max(1.0, float(rates.connections)))
        self.messages = TokenBucket(rates.messages_per_second, max(1.0, rates.messages_per_second))
        self.connects.level, self.messages.level = self.connects.burst, self.messages.burst

    def rule(self, stream: str) -> LaneRules:
        """The stream's standing."""
        return self.rules.get(stream, LOWEST)

    def why_not_connect(self, now: float, stream: str | None = None) -> tuple[str, float]:
        """("", now) when a connection may be opened (for the stream), or (reason, when to ask again)."""
        if self.open >= self.most:
            return "connections", float("inf")
        if stream is not None and not self.room(stream):
            return "reserved", float("inf")
        ready = self.connects.ready_at(now)
        return ("", now) if ready <= now else ("connection_rate", ready)

    def room(self, stream: str, instead_of: str | None = None) -> bool:
        """Whether the stream may have one more connection, or one instead of another stream's, when what the
        other streams' reserves still lack stays free."""
        free = self.most - self.open
        if instead_of is not None:
            free += 1 + self.leaving  # a place is changed, not added: those who go are counted no longer
        if free <= 0:
            return False
        for name, kept in self.kept():
            if name != stream:
                held = self.held.get(name, 0)
                if instead_of is not None:
                    held -= (name == instead_of) + self.going.get(name, 0)
                free -= max(0, kept - held)
        return free > 0

    def kept(self) -> tuple[tuple[str, int], ...]:
        """Connections reserved for each stream that has a reserve."""
        most, rules, kept = self._kept
        if most != self.most or rules is not self.rules:
            kept = kept_slots(self.rules, self.most)
            self._kept = (self.most, self.rules, kept)
        return kept

    def next_up(self, instead_of: str | None = None) -> tuple[str, Key] | None:
        """(stream, outlet) that is to have the next connection here, or the one instead of another's."""
        names = self.line.streams()
        if len(names) > 1:
            names.sort(key=self._standing)
        for name in names:
            if self.room(name, instead_of):
                return name, self.line.first(name)[1]
        return None

    def next_token(self) -> tuple[str, Key] | None:
        """(stream, outlet) that is to send the next message here."""
        waiting = [(-self.rule(name).priority, *self.tokens.first(name), name) for name in self.tokens.streams()]
        if not waiting:
            return None
        _, _, key, name = min(waiting)
        return name, key

    def _standing(self, stream: str) -> tuple[float, float, str]:
        rule = self.rule(stream)
        return (-rule.priority, self.held.get(stream, 0) / rule.weight, stream)

    def at_rest(self, now: float) -> bool:
        """Whether nothing passes or waits and nothing is remembered of what did."""
        return not self.open and not self.line and self.connects.full(now) and self.messages.full(now)

    def refused_more(self) -> None:
        """A further connection failed while others work: that many are enough for now."""
        self._set_window(max(1.0, float(self.open)))
        self.opening = False

    def come_back(self) -> None:
        """A pause is over because the clock says so: one connection tries first."""
        self._set_window(1.0)
        self.opening = True

    def worked(self) -> bool:
        """A delivery went well: the window grows again, by one for each `window` deliveries. Whether one more
        connection is to pass for it at once: after a pause. Where more was refused it waits to be asked for."""
        if self.window >= self.rates.connections:
            self.opening = False
            return False
        before = self.window
        self._set_window(before + 1 / before)
        return self.opening and int(self.window) > int(before)

    def deferred(self, now: float) -> None:
        """The other side said that it is too much: half as many from now on, until deliveries go well."""
        if now >= self._shrunk_at + SHRINK_S or now < self._shrunk_at:
            self._shrunk_at, self.opening = now, False
            self._set_window(max(1.0, min(self.most, max(1, self.open)) * LEFT_BY_TROUBLE))

    def start(self, stream: str, now: float) -> None:
        """A delivery of that stream starts."""
        self.busy[stream] = self.busy.get(stream, 0) + 1
        if self.messages.rate:
            self.messages.take(now)

    def end(self, stream: str) -> None:
        """It ended, however."""
        self.busy[stream] -= 1


def kept_slots(rules: Mapping[str, LaneRules], most: int) -> tuple[tuple[str, int], ...]:
    """The reserves in connections, rounded; the highest stream is served first. One connection is left to
    share unless every stream has one of its own."""
    kept = _kept_of(rules, most, most)
    return kept if len(kept) == len(rules) else _kept_of(rules, most, most - 1)


def _kept_of(rules: Mapping[str, LaneRules], most: int, left: int) -> tuple[tuple[str, int], ...]:
    kept = []
    for name, rule in sorted(rules.items(), key=lambda item: (-item[1].priority, item[0])):
        slots = min(left, int(most * rule.reserve + 0.5))
        if slots > 0:
            kept.append((name, slots))
            left -= slots
    return tuple(kept)


def too_much(outcome: Outcome) -> bool:
    """Whether the other side said, or showed, that it is asked too much: 421, a rate limit, no answer in time."""
    if outcome.verdict is not Verdict.DEFERRED:
        return False
    by_reply = outcome.reply is not None and outcome.reply.code == 421  # RFC 5321 §3.8
    return by_reply or outcome.kind == Kind.RATE_LIMITED or outcome.trouble is Trouble.TIMEOUT
