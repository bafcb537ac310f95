"""Yesterday's events under other policies: what would be decided otherwise, and how it would have left.

Two passes over the events. The first (`Evidence`) learns what the world answered: where each domain's mail went, how
long an attempt took, which recipients were deferred or refused. The second (`Replay`) decides every message again and
lets its recipients leave in two simulations on one virtual clock, one under the old policies as it was recorded, one
under the new: what differs between the two is the policies' doing and nobody else's.

Memory: the evidence keeps destinations and the recipients that had trouble, a simulation what waits; neither grows
with mail that simply went out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from relay.policy.decide import Decision, decide
from relay.policy.guard import SIGNS, Finding
from relay.policy.guarding import applied
from relay.policy.model import Policy
from relay.policy.recorded import facts_of
from relay.policy.simulation import DELIVERED, FAILED, Simulation, Trouble

ENDS = {"delivered": DELIVERED, "bounced": FAILED}
OF_OUR_OWN = "delivery report"  # the route of reports the relay makes: no policy decides them
HELD = {True: "held", False: "not held"}
EXAMPLES_MOST = 3
DESTINATIONS_MOST = 500_000
Row = Mapping[str, Any]


@dataclass(slots=True)
class Evidence:
    """What the events say of the world. `host` is the MX by domain, `took` seconds and number of attempts by MX,
    `trouble` the recipients that were not delivered at once, by a hash of message and address."""

    host: dict[str, str] = field(default_factory=dict)
    took: dict[str, list[float]] = field(default_factory=dict)
    trouble: dict[int, Trouble] = field(default_factory=dict)
    attempts: int = 0

    def learn(self, row: Row) -> None:
        """Takes one event in."""
        name = row.get("event")
        if name not in ("delivered", "deferred", "bounced", "expired") or "phase" not in row:
            return
        self.attempts += 1
        if mx := row.get("mx", ""):
            domain = _domain(row["recipient"])
            if len(self.host) < DESTINATIONS_MOST or domain in self.host:
                self.host[domain] = mx
                took = self.took.setdefault(mx, [0.0, 0.0])
                took[0] += row.get("seconds", 0.0)
                took[1] += 1
        key = recipient_key(row["message"], row["recipient"])
        if name == "deferred":
            self.trouble[key] = Trouble()
        elif name == "bounced" or key in self.trouble:
            self.trouble[key] = Trouble(ENDS.get(name, ""), row["time"] if key in self.trouble else 0.0)

    def seconds(self, domain: str) -> float:
        """The mean time of an attempt there."""
        total, count = self.took.get(self.host.get(domain, ""), (0.0, 0.0))
        return total / count if count else 0.1


def recipient_key(message: str, recipient: str) -> int:
    """Which recipient of which message, in 64 bits."""
    return hash((message, recipient))


def _domain(address: str) -> str:
    return address.rpartition("@")[2].lower()


@dataclass(slots=True)
class Change:
    """What changed in the same way for `count` messages; `examples` are ids of the first."""

    count: int = 0
    examples: list[str] = field(default_factory=list)

    def note(self, message: str) -> None:
        """One more."""
        self.count += 1
        if len(self.examples) < EXAMPLES_MOST:
            self.examples.append(message)


Pair = tuple[str, str]


@dataclass(slots=True)
class Replay:
    """Decides every recorded message under `new`. Changes are kept by (before, after)."""

    old_policy: Policy
    new_policy: Policy
    evidence: Evidence
    old: Simulation = field(init=False)
    new: Simulation = field(init=False)
    messages: int = 0
    without_facts: int = 0
    unreadable: int = 0
    not_recorded: dict[str, int] = field(default_factory=dict)
    routes: dict[Pair, Change] = field(default_factory=dict)
    streams: dict[Pair, Change] = field(default_factory=dict)
    refusals: dict[Pair, Change] = field(default_factory=dict)
    holds: dict[Pair, Change] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.old, self.new = Simulation(self.old_policy), Simulation(self.new_policy)

    def play(self, row: Row) -> None:
        """One event, in the order of the log; only what came in is of interest here."""
        name = row.get("event")
        if name not in ("accepted", "refused") or "recipients" not in row or isinstance(row["recipients"], int):
            return
        try:
            self._message(row, refused=name == "refused")
        except (KeyError, ValueError, TypeError, AttributeError, OverflowError):
            self.unreadable += 1

    def _message(self, row: Row, *, refused: bool) -> None:
        facts, route = facts_of(row), row.get("route", "")
        message, now, stream = row.get("message", ""), float(row["time"]), row.get("stream", "")
        if route == OF_OUR_OWN:
            self._leave(self.old, row, stream)
            self._leave(self.new, row, stream)
            return
        self.messages += 1
        self._missing(row)
        decision = _guarded(self.new_policy, decide(self.new_policy, facts), row)
        after = decision.stream.name if decision.stream else ""
        example = message or f"refused at {now:.3f}"
        if route != decision.route:
            _note(self.routes, route, decision.route, example)
        if stream != after and not refused and after:
            _note(self.streams, stream, after, example)
        if refused != (decision.refusal is not None):
            words = ("refused", "accepted") if refused else ("accepted", "refused")
            _note(self.refusals, f"{words[0]} by {route}", f"{words[1]} by {decision.route}", example)
        held = bool(row.get("held"))
        if held != decision.hold and after and not refused:
            _note(self.holds, HELD[held], HELD[decision.hold], example)
        if not refused and not held:
            self._leave(self.old, row, stream)
        if after and not decision.hold:
            self._leave(self.new, row, after)

    def _missing(self, row: Row) -> None:
        """Takes note of what the new policies ask for and the event does not tell."""
        if "facts" not in row:
            self.without_facts += 1
            return
        headers = row["facts"]["headers"]
        for name in self.new_policy.asked:
            if name not in headers:
                self.not_recorded[name] = self.not_recorded.get(name, 0) + 1

    def _leave(self, simulation: Simulation, row: Row, stream: str) -> None:
        evidence, message = self.evidence, row.get("message", "")
        for address in row["recipients"]:
            domain = _domain(address)
            simulation.accept(
                float(row["time"]), stream, evidence.host.get(domain, domain), evidence.seconds(domain),
                evidence.trouble.get(recipient_key(message, address)),
            )  # fmt: skip

    def end(self) -> None:
        """Lets everything leave that still waits."""
        self.old.finish()
        self.new.finish()

    @property
    def differs(self) -> bool:
        """Whether anything would be otherwise."""
        decisions = self.routes or self.streams or self.refusals or self.holds
        return bool(decisions) or self.old.sends != self.new.sends


def _guarded(policy: Policy, decision: Decision, row: Row) -> Decision:
    """The decision as the guard leaves it, where one found bulk mail on the day: the tag says by which sign."""
    sign, stream = row.get("tags", {}).get("guard"), decision.stream
    if sign not in SIGNS or stream is None or stream.guard is None:
        return decision
    return applied(policy, decision, stream, Finding(sign, "as recorded"))


def _note(changes: dict[Pair, Change], before: str, after: str, message: str) -> None:
    changes.setdefault((before, after), Change()).note(message)
