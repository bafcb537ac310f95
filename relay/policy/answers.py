"""What the world answered, as the events tell it: where each domain's mail went, how long an attempt took, what was
said to each recipient and at which time, and which receivers turned a source away at the door.

Memory grows with destinations, with the recipients that had trouble, and with what was said; never with mail that
simply went out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from relay.core.outcome import Outcome, Phase, Scope, Verdict, judge_reply
from relay.core.reply import Reply
from relay.policy.pauses import Pauses, read_pause

Row = Mapping[str, Any]
ENDS = {"delivered": Verdict.DELIVERED, "deferred": Verdict.DEFERRED, "bounced": Verdict.FAILED,
        "expired": Verdict.DEFERRED}  # fmt: skip
DESTINATIONS_MOST = 500_000
SAID_MOST = 50_000  # different outcomes kept once for all who had them
ANSWERS_MOST = 12  # of one recipient: the first and the last
USUAL_S = 0.1  # an attempt at a destination that was never tried
DELIVERED = Outcome(Verdict.DELIVERED, Scope.RECIPIENT, Phase.DOT)


class Answer(NamedTuple):
    """What was said at a time (Unix s); `reached`: a host was asked."""

    at: float
    outcome: Outcome
    reached: bool


Answers = tuple[Answer, ...]
AT_ONCE: Answers = (Answer(0.0, DELIVERED, True),)


def answer_at(answers: Answers, now: float) -> Answer:
    """What an attempt at `now` is told: what was said at the last attempt before it, or else at the first."""
    found = answers[0]
    for one in answers[1:]:
        if one.at > now:
            break
        found = one
    return found


@dataclass(slots=True)
class Evidence:
    """`host` is the MX by domain, `took` seconds and number of attempts by MX, `trouble` the answers to recipients
    that were not delivered at once, by a hash of message and address; `pauses` what the log says was paused, `doors`
    whether a host turned a source away."""

    host: dict[str, str] = field(default_factory=dict)
    took: dict[str, list[float]] = field(default_factory=dict)
    trouble: dict[int, Answers] = field(default_factory=dict)
    pauses: Pauses = field(default_factory=Pauses)
    attempts: int = 0
    doors: bool = False
    _said: dict[tuple[object, ...], Outcome] = field(default_factory=dict)

    def learn(self, row: Row) -> None:
        """Takes one event in; raises KeyError or TypeError for one that no relay wrote."""
        name = row.get("event")
        if name not in ENDS:
            self.doors = self.doors or name == "attempted"
            read_pause(self.pauses, row)
            return
        if "phase" not in row:
            return
        self.attempts += 1
        if mx := row.get("mx", ""):
            domain = domain_of(row["recipient"])
            if len(self.host) < DESTINATIONS_MOST or domain in self.host:
                self.host[domain] = mx
                took = self.took.setdefault(mx, [0.0, 0.0])
                took[0] += row.get("seconds", 0.0)
                took[1] += 1
        key = hash((row["message"], row["recipient"]))
        known = self.trouble.get(key)
        if known is None and name == "delivered":
            return
        outcome = DELIVERED if name == "delivered" else self.outcome(row)
        known = known or ()
        if len(known) >= ANSWERS_MOST:
            known = (known[0], *known[2:])
        self.trouble[key] = (*known, Answer(row["time"], outcome, bool(mx)))

    def outcome(self, row: Row) -> Outcome:
        """What a failed attempt came to by the relay's own table, before any reply rule had a say; of trouble
        without words, what the event says."""
        code, phase = row.get("code", 0), Phase(row["phase"])
        key = (code, phase, row.get("enhanced", ""), row.get("text", ""), row.get("class", ""), row["event"])
        found = self._said.get(key)
        if found is None:
            found = self._judged(row, code, phase)
            if len(self._said) < SAID_MOST:
                self._said[key] = found
        return found

    @staticmethod
    def _judged(row: Row, code: int, phase: Phase) -> Outcome:
        text = row.get("text", "")
        if code >= 400:
            return judge_reply(phase, Reply(code, row.get("enhanced", ""), (text,)))
        verdict = ENDS.get(row["event"], Verdict.DEFERRED)
        return Outcome(verdict, Scope.RECIPIENT, phase, row.get("class", ""), text=text)

    def answers(self, message: str, recipient: str) -> Answers:
        """What a recipient of a message was told; who had no trouble, or was never tried, is delivered at once."""
        return self.trouble.get(hash((message, recipient)), AT_ONCE)

    def seconds(self, domain: str) -> float:
        """The mean time of an attempt there."""
        total, count = self.took.get(self.host.get(domain, ""), (0.0, 0.0))
        return total / count if count else USUAL_S


def domain_of(address: str) -> str:
    """The part after the @, in lower case."""
    return address.rpartition("@")[2].lower()
