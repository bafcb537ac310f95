"""Where replies have their effect: rules are asked, the ledger is kept, and everyone concerned is told.

1. `judge` hears the outcomes of a transaction and `hear` a host that turned us away; the provider's rules decide.
2. What they ask for goes into the ledger, as one event, and into the store, so that a restart changes nothing.
3. `begun` and `ended` are called when limits change: the dispatcher sets its gates and looks for work again.
4. A timer takes out what has ended.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Protocol

from relay.core.events import Event
from relay.core.hearing import Hearing
from relay.core.ledger import Act, Action
from relay.core.limits import Rates, rate_words
from relay.core.outcome import Outcome, Phase, Verdict
from relay.core.pauses import End, of_reply
from relay.core.replies import deciding
from relay.core.reply import Reply
from relay.deliver.feed import Peer
from relay.deliver.outlets import Terms
from relay.deliver.tasks import Tasks
from relay.policy.model import Policy
from relay.queue.store import StoreBroken, StoreBusy, StoreFull

log = logging.getLogger("relay.deliver")

AGAIN_S = 1.0
CLOSE_S = 2.0
LEDGER = "ledger"  # the kind under which the store remembers it


class Remembering(Protocol):
    """What is needed of the store."""

    async def recall(self, kind: str) -> dict[str, object]: ...

    async def remember(self, kind: str, changes: Mapping[str, object]) -> None: ...


class Actions:
    """The ledger in force, asked by the dispatcher and its gates."""

    def __init__(
        self, store: Remembering, *, policy: Callable[[], Policy], publish: Callable[[Event], None],
        clock: Callable[[], float],
    ) -> None:  # fmt: skip
        self.store, self.policy, self.publish, self.clock = store, policy, publish, clock
        self.hearing = Hearing()
        self.ledger, self.comebacks = self.hearing.ledger, self.hearing.comebacks
        self.begun: Callable[[], None] = _nobody
        self.ended: Callable[[], None] = _nobody
        self.tasks = Tasks()
        self._unsaved: dict[str, object] = {}
        self._timer: asyncio.TimerHandle | None = None

    async def restore(self) -> None:
        """Takes the ledger up again after a restart."""
        rows = await self.store.recall(LEDGER)
        ended = self.hearing.restore(rows.values(), self.clock())
        names = [*(one.id for one in ended), *(name for name in rows if name not in self.ledger.actions)]
        self._save(dict.fromkeys(names))
        self._set_timer()

    # Replies

    def judge(self, peer: Peer, terms: Terms, stream: str, outcomes: Sequence[Outcome]) -> list[Outcome]:
        """The outcomes as the rules want them; a reply that several recipients got counts once."""
        known: dict[tuple[Reply, Phase], Outcome] = {}
        found = []
        for outcome in outcomes:
            if outcome.reply is None or outcome.verdict is Verdict.DELIVERED:
                found.append(outcome)
                continue
            key = (outcome.reply, outcome.phase)
            if key not in known:
                known[key] = self.hear(peer, terms, outcome, stream=stream)
            heard = known[key]
            found.append(replace(outcome, verdict=heard.verdict, again_s=heard.again_s, rule=heard.rule))
        return found

    def hear(self, peer: Peer, terms: Terms, outcome: Outcome, *, stream: str = "") -> Outcome:
        """One refusal: acts on it and returns the outcome as the rule wants it. `stream` "" means that no
        message was named yet."""
        reply, phase = outcome.reply, outcome.phase.value
        rules = terms.replies or self.policy().providers[-1].replies
        rule = deciding(rules, reply, outcome.kind, phase) if reply is not None else None
        if rule is None:
            return outcome
        now = self.clock()
        ruled, found = self.hearing.hear(
            outcome, rule, source=peer.source, stream=stream, provider=terms.provider, counted=terms.counted, now=now
        )
        for action, is_new in found:
            self._told(action, now, is_new=is_new)
        return ruled

    def _told(self, action: Action, now: float, *, is_new: bool) -> None:
        self._save({action.id: action.as_dict()})
        if is_new:
            log.warning("%s, after: %s", describe(action), action.reply)
            self.publish(of_reply(action).begun(now))
            self._set_timer()
            if not action.observed:
                self.begun()

    # What limits whom

    def rates(self, source: str, terms: Terms) -> Rates:
        """The rates of a source towards a destination, under the actions in force."""
        if not self.ledger.limits:
            return terms.rates
        return self.ledger.rates(source, terms.counted, terms.rates, self.clock())

    def source_pause(self, source: str, counted: str) -> Action | None:
        """The pause that keeps a source from a destination now."""
        return self.ledger.pause((source, "", counted), self.clock()) if self.ledger.limits else None

    def on_trial(self, source: str, counted: str) -> bool:
        """Whether the source has come back there from a pause, and nothing of it was taken yet."""
        return bool(self.comebacks) and self.comebacks.on_trial(source, counted, self.clock())

    def stream_pause(self, stream: str, counted: str) -> Action | None:
        """The pause that keeps a stream from a destination now."""
        return self.ledger.pause(("", stream, counted), self.clock()) if self.ledger.limits else None

    def paused_sources(self) -> set[tuple[str, str]]:
        """(source, provider) of every source that is paused towards a provider, or towards one of its sites."""
        found = (one for one in self.ledger.actions.values() if one.act is Act.PAUSE_SOURCE and not one.observed)
        return {(one.source, one.provider) for one in found}

    def paused_streams(self) -> set[tuple[str, str]]:
        """(stream, provider) of every stream that is paused towards a provider, or towards one of its sites."""
        found = (one for one in self.ledger.actions.values() if one.act is Act.PAUSE_STREAM and not one.observed)
        return {(one.stream, one.provider) for one in found}

    # Ends

    def cancel(self, name: str) -> Action | None:
        """Ends an action at once, as an operator wants it; None when there is none with that id."""
        found = self.hearing.cancel(name, self.clock())
        if found is not None:
            self._ended(found, End.OPERATOR)
        return found

    def expire(self) -> None:
        """Ends what has had its time."""
        for action in self.hearing.expire(self.clock()):
            self._ended(action, End.TIME)
        self._set_timer()

    def _ended(self, action: Action, why: End) -> None:
        log.info("%s has ended: %s", describe(action), why)
        self._save({action.id: None})
        self.publish(of_reply(action).ended(self.clock(), why))
        if not action.observed:
            self.ended()

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        first = self.ledger.next_end()
        if first is not None:
            wait_s = max(0.01, first - self.clock())
            self._timer = asyncio.get_running_loop().call_later(wait_s, self.expire)

    # The store

    def _save(self, changes: Mapping[str, object]) -> None:
        idle = not self._unsaved
        self._unsaved.update(changes)
        if idle and self._unsaved:
            self.tasks.spawn(self._write(), "save the ledger of limits")

    async def _write(self) -> None:
        """Writes until nothing is left: what changes meanwhile goes with the next write."""
        while self._unsaved:
            changes = dict(self._unsaved)
            try:
                await self.store.remember(LEDGER, changes)
            except (StoreBusy, StoreFull) as error:
                log.warning("the ledger of limits waits for the store: %r", error)
                await asyncio.sleep(AGAIN_S)
                continue
            except StoreBroken:
                return  # the relay stops for it
            for name, value in changes.items():
                if self._unsaved.get(name) is value:
                    del self._unsaved[name]

    async def close(self) -> None:
        """Stops the timer and writes what is left, if the store takes it soon."""
        if self._timer is not None:
            self._timer.cancel()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_S):
                await self.tasks.finish()
        await self.tasks.cancel()


def describe(action: Action) -> str:
    """An action for people: what, where to, by which rule."""
    return f"{what(action)} towards {action.counted} by reply rule {action.rule} ({action.where})"


def what(action: Action) -> str:
    """Who is limited and how: "source m1: 10/min", "stream news: paused (observed only)"."""
    who = f"stream {action.stream}" if action.stream else f"source {action.source}"
    how = "paused"
    if action.act is Act.SLOW:
        how = rate_words(action.value)
    elif action.act is Act.CONNECTIONS:
        how = f"{action.value:g} connection{'s' if action.value > 1 else ''}"
    return f"{who}: {how}{' (observed only)' if action.observed else ''}"


def _nobody() -> None:
    return None
