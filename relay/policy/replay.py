"""Yesterday's events under other policies: what would be decided otherwise, and how it would have left.

Two passes over the events. The first (`answers.Evidence`) learns what the world answered: where each domain's mail
went, how long an attempt took, what was said to whom and when. The second (`Replay`) decides every message again and
lets its recipients leave in two simulations on one virtual clock, one under the old policies as it was recorded, one
under the new: what differs between the two is the policies' doing and nobody else's.

Memory: the evidence keeps destinations and the recipients that had trouble, a simulation what waits; neither grows
with mail that simply went out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from relay.policy.answers import Evidence, Row, domain_of
from relay.policy.decide import Decision, decide
from relay.policy.doorways import Mail, Recipient
from relay.policy.facts import Facts
from relay.policy.guard import SIGNS, Finding, plain_sign
from relay.policy.guarding import applied
from relay.policy.model import Policy
from relay.policy.pauses import compare, same
from relay.policy.recorded import facts_of
from relay.policy.simulation import Simulation

OF_OUR_OWN = "delivery report"  # the route of reports the relay makes: no policy decides them
HELD = {True: "held", False: "not held"}
EXAMPLES_MOST = 3


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
        doors = self.evidence.doors
        self.old = Simulation(self.old_policy, doors=doors)
        self.new = Simulation(self.new_policy, doors=doors)

    def play(self, row: Row) -> None:
        """One event, in the order of the log: what came in, and who was turned away at a receiver's door."""
        name = row.get("event")
        try:
            if name == "attempted":
                self._turned_away(row)
            elif name in ("accepted", "refused") and isinstance(row.get("recipients"), list):
                self._message(row, refused=name == "refused")
        except (KeyError, ValueError, TypeError, AttributeError, OverflowError):
            self.unreadable += 1

    def _turned_away(self, row: Row) -> None:
        outcome = self.evidence.outcome(row)
        for simulation in (self.old, self.new):
            simulation.turned_away(float(row["time"]), row["source"], row["mx"], outcome)

    def _message(self, row: Row, *, refused: bool) -> None:
        facts, route, stream = facts_of(row), row.get("route", ""), row.get("stream", "")
        message, now, tags = row.get("message", ""), float(row["time"]), row.get("tags", {})
        recipients = [self._recipient(message, address) for address in row["recipients"]]
        if route == OF_OUR_OWN:
            self._leave(self.old, row, stream, recipients, tags)
            self._leave(self.new, row, stream, recipients, tags)
            return
        self.messages += 1
        self._missing(row)
        decision = _guarded(self.new_policy, decide(self.new_policy, facts), facts, tags.get("guard", ""))
        after = decision.stream.name if decision.stream else ""
        example = message or f"refused at {now:.3f}"
        if route != decision.route:
            _note(self.routes, route, decision.route, example)
        if stream != after and not refused and after:
            _note(self.streams, stream, after, example)
        if refused != (decision.refusal is not None):
            words = ("refused", "accepted") if refused else ("accepted", "refused")
            _note(self.refusals, f"{words[0]} by {route}", f"{words[1]} by {decision.route}", example)
        held = self._held(row, stream, route)
        if held != decision.hold and after and not refused:
            _note(self.holds, HELD[held], HELD[decision.hold], example)
        if not refused and not held:
            self._leave(self.old, row, stream, recipients, tags)
        if after and not decision.hold:
            self._leave(self.new, row, after, recipients, decision.tags)

    def _held(self, row: Row, stream: str, route: str) -> bool:
        """Whether a rule held the message then. What a brake held is the simulation's to say: the event is the
        same, so the old policies are asked."""
        if not row.get("held"):
            return False
        rule = next((one for one in self.old_policy.routes if one.name == route), None)
        known = self.old_policy.streams.get(stream)
        if rule is None or known is None or not known.brakes:
            return True
        return rule.hold or "guard" in row.get("tags", {})

    def _missing(self, row: Row) -> None:
        """Takes note of what the new policies ask for and the event does not tell."""
        if "facts" not in row:
            self.without_facts += 1
            return
        headers = row["facts"]["headers"]
        for name in self.new_policy.asked:
            if name not in headers:
                self.not_recorded[name] = self.not_recorded.get(name, 0) + 1

    def _recipient(self, message: str, address: str) -> Recipient:
        evidence, domain = self.evidence, domain_of(address)
        return Recipient(
            evidence.host.get(domain, domain), evidence.seconds(domain), evidence.answers(message, address)
        )

    @staticmethod
    def _leave(
        simulation: Simulation, row: Row, stream: str, recipients: list[Recipient], tags: Mapping[str, str]
    ) -> None:
        now = float(row["time"])
        simulation.accept(now, Mail(stream, now, row.get("credential", ""), tags, int(row["size"])), recipients)

    def end(self) -> None:
        """Lets everything leave that still waits."""
        self.old.finish()
        self.new.finish()

    @property
    def differs(self) -> bool:
        """Whether anything would be otherwise."""
        decisions = self.routes or self.streams or self.refusals or self.holds
        old, new = self.old, self.new
        if decisions or old.sends != new.sends or old.stocks.turned_back != new.stocks.turned_back:
            return True
        return any(not same(spans) for _, spans in compare(old.restraints.pauses, new.restraints.pauses))


def _guarded(policy: Policy, decision: Decision, facts: Facts, recorded: str) -> Decision:
    """The decision as the guard leaves it: by what headers and number of recipients tell, or where one found bulk
    mail on the day, by the sign that its tag names."""
    stream = decision.stream
    if stream is None or stream.guard is None:
        return decision
    finding = plain_sign(stream.guard, facts.headers, len(facts.recipients))
    if finding is None:
        sign = next((one for one in SIGNS if one == recorded), None)
        finding = Finding(sign, "as recorded") if sign else None
    return decision if finding is None else applied(policy, decision, stream, finding)


def _note(changes: dict[Pair, Change], before: str, after: str, message: str) -> None:
    changes.setdefault((before, after), Change()).note(message)
