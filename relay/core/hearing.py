"""Replies heard and what they lead to, in one place for the relay and for `relay policy replay`: the thresholds
counted, the ledger of what is in force, and who comes back after a pause."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from relay.core.comebacks import Comebacks
from relay.core.ledger import Act, Action, Ledger
from relay.core.outcome import Outcome
from relay.core.replies import ReplyRule, Windows, asked, ruled


@dataclass(slots=True)
class Hearing:
    """All that was heard and is not over."""

    ledger: Ledger = field(default_factory=Ledger)
    windows: Windows = field(default_factory=Windows)
    comebacks: Comebacks = field(default_factory=Comebacks)

    def hear(
        self, outcome: Outcome, rule: ReplyRule, *, source: str, stream: str, provider: str, counted: str, now: float
    ) -> tuple[Outcome, list[tuple[Action, bool]]]:
        """A refusal that the rule takes: the outcome as the rule wants it, and what is in force for it now, each
        with whether it is new. `stream` "": no message was named yet."""
        assert outcome.reply is not None, "a rule takes replies"
        reached = self.windows.reached((rule.name, rule.where, source, counted), rule.after, now)
        if not reached and not self.comebacks.same_again(rule, source, counted, now):
            return ruled(outcome, rule, reached=False), []
        pause_s = self.comebacks.lasts_s(rule, source, counted, now)
        found = []
        for wanted in asked(
            rule, outcome.reply, source=source, stream=stream, provider=provider, counted=counted, now=now
        ):
            longer = replace(wanted, for_s=pause_s) if wanted.act is Act.PAUSE_SOURCE else wanted
            found.append(self.ledger.note(longer, now))
        return ruled(outcome, rule), found

    def cancel(self, name: str, now: float) -> Action | None:
        """Ends an action before its time; None when there is none with that id."""
        found = self.ledger.cancel(name)
        if found is not None:
            self.comebacks.ended(found, now)
        return found

    def expire(self, now: float) -> list[Action]:
        """Ends what has had its time; returns it."""
        return self._come_back(self.ledger.expire(now), now)

    def restore(self, rows: Iterable[object], now: float) -> list[Action]:
        """Takes the ledger up again after a restart; returns what has ended meanwhile."""
        return self._come_back(self.ledger.restore(rows, now), now)

    def _come_back(self, ended: list[Action], now: float) -> list[Action]:
        for action in ended:
            self.comebacks.ended(action, now)
        return ended
