"""Mail leaving under a policy, on a virtual clock: who is sent when, and what is held back.

The relay's own pure code decides: gates with their reserves and rates (core/gate.py), reply rules and their ledger,
brakes, the health of sources, warm-up, quotas, the retry schedule (without jitter, as the dice of a day are not
recorded). What is written here is the order of things: mail waits in outlets, an attempt takes its time, an answer
comes, what it teaches is in force from then on.

The world answers as it was recorded (`answers.answer_at`): an attempt is told what the recipient was told at the last
attempt before that time, or at the first one.
"""

from __future__ import annotations

from collections.abc import Sequence
from heapq import heappop, heappush
from typing import Any

from relay.core.brakes import Fact
from relay.core.gate import Gate, too_much
from relay.core.outcome import Outcome, Phase, Verdict
from relay.policy.answers import answer_at
from relay.policy.doorways import FULL, Doorway, Doorways, Mail, Outlet, OutletKey, Place, Recipient
from relay.policy.model import Policy, Source
from relay.policy.restraints import Restraints, Terms
from relay.policy.results import Result
from relay.policy.stocks import Stocks

HOUR_S = 3600
EVEN = 0.5  # the dice that gives a wait without jitter
CLIENT_AGAIN_S = 300.0  # when a client that read a 4xx comes again, as RFC 5321 §4.5.4.1 leaves to it
CLIENT_PATIENCE_S = 86_400.0
GRACE_S = 60.0  # mail that waits is ended that much after its time, so that its last attempt is made
DUE, ENDED, DOORWAY, OUTLET, LIMITS, CLIENT = range(6)  # what happens at a time


class Simulation:
    """One policy at work. `sends` counts attempts by (hour in Unix hours, provider), `left` by source; `results` is
    by stream, `given_up` counts messages whose client came again and again until it had enough, `passed_over` the
    receivers' refusals at the door to sources that were not used. Without `doors` none will be heard of."""

    def __init__(self, policy: Policy, *, doors: bool = True) -> None:
        self.policy, self.doors = policy, doors
        self.now = float("-inf")
        self.sends: dict[tuple[int, str], int] = {}
        self.left: dict[str, int] = {}
        self.results: dict[str, Result] = {}
        self.given_up = 0
        self.passed_over = 0
        self._limits_at = FULL
        self.restraints = Restraints(
            policy, ends=self._limits_end, limited=self._limited, well_again=self._well_again
        )
        self.doorways, self.stocks = Doorways(policy, self.restraints), Stocks(policy)
        self._outlets: dict[OutletKey, Outlet] = {}
        self._held: dict[str, list[Place]] = {}
        self._heap: list[tuple[float, int, int, Any]] = []
        self._count = 0
        self._sources = {source.name for pool in policy.pools.values() for source in pool.sources}

    # What happens in the world

    def accept(self, at: float, mail: Mail, recipients: Sequence[Recipient]) -> None:
        """A message comes; times must not fall. A stream the policy does not have sends nothing."""
        if mail.stream not in self.policy.streams:
            return
        self._run(at)
        self.now = max(self.now, at)
        self._come(mail, recipients)

    def turned_away(self, at: float, source: str, host: str, outcome: Outcome) -> None:
        """A receiver did not let a source in, before any message was named. A source that the policy does not have,
        or has paused there, is told nothing."""
        self._run(at)
        self.now = max(self.now, at)
        terms, _ = self.doorways.terms(host)
        if source not in self._sources or self.restraints.source_held(source, terms, self.now) is not None:
            self.passed_over += 1
            return
        self.restraints.hear(outcome, terms, source=source, stream="", now=self.now)
        if outcome.reply is not None and outcome.reply.code >= 500 and outcome.phase in (Phase.BANNER, Phase.EHLO):
            self.restraints.door(source, terms, host, self.now, shut=True)

    def finish(self) -> None:
        """Runs until nothing waits but what only an operator would release."""
        self._run(FULL)
        waiting = [place for outlet in self._outlets.values() for lane in outlet.lanes.values() for place in lane]
        for place in (*waiting, *(place for places in self._held.values() for place in places)):
            self._result(place.mail.stream).kept += 1

    def _run(self, until: float) -> None:
        """Everything that happens up to a time."""
        heap = self._heap
        while heap and heap[0][0] <= until:
            self.now, _, what, whom = heappop(heap)
            if what == ENDED:
                self._ended(*whom)
            elif what == DUE:
                self._queue(whom)
            elif what == DOORWAY:
                whom.again_at = FULL
                self._pass_on(whom)
            elif what == OUTLET:
                whom.again_at = FULL
                self._serve(whom)
            elif what == LIMITS:
                self._limits_over(whom)
            else:
                self._come(*whom)

    def _at(self, when: float, what: int, whom: Any) -> None:
        self._count += 1
        heappush(self._heap, (when, self._count, what, whom))

    # Mail comes in

    def _come(self, mail: Mail, recipients: Sequence[Recipient], since: float | None = None) -> None:
        """Takes a message in, or sends its client away for a while."""
        since = self.now if since is None else since
        stream = self.policy.streams[mail.stream]
        if over := self.stocks.over(stream, mail.size, self.now):
            if since == self.now:
                self.stocks.turn_back(stream.name, over)
            if self.now < since + CLIENT_PATIENCE_S:
                self._at(self.now + CLIENT_AGAIN_S, CLIENT, (mail, recipients, since))
            else:
                self.given_up += 1
            return
        mail.left = len(recipients)
        self.stocks.come(stream, mail.size, self.now)
        for host, seconds, answers in recipients:
            self._queue(Place(mail, host, seconds, answers))

    def _queue(self, place: Place) -> None:
        stream = place.mail.stream
        key = (self.policy.streams[stream].pool, self.doorways.terms(place.host)[1])
        outlet = self._outlets.get(key)
        if outlet is None:
            outlet = self._outlets[key] = self.doorways.outlet(stream, place.host)
        outlet.push(place)
        self._serve(outlet)

    # Mail goes out

    def _serve(self, outlet: Outlet) -> None:
        while outlet.waiting and self._one(outlet):
            pass

    def _one(self, outlet: Outlet) -> bool:
        """Starts one attempt if some source may for some stream; else the outlet waits where it was stopped."""
        now, again, terms, restraints = self.now, FULL, outlet.terms, self.restraints
        quiet, free = restraints.quiet, []
        for name in outlet.order(self.doorways.rules):
            if quiet or (until := restraints.stream_held(name, terms, now)) is None:
                free.append(name)
            else:
                again = min(again, until)
        for source, doors in outlet.ways if free else ():
            if not quiet and (until := restraints.source_held(source.name, terms, now)) is not None:
                again = min(again, until)
                continue
            for name in free:
                if (stopped := self._stopped(doors, name)) is None:
                    self._start(outlet, name, source, doors)
                    return True
                self._wait(outlet, name, *stopped)
        if again < outlet.again_at:
            outlet.again_at = again
            self._at(again, OUTLET, outlet)
        return False

    def _stopped(self, doors: Sequence[Doorway], stream: str) -> tuple[Doorway, float] | None:
        for door in doors:
            if (ready := door.ready_at(stream, self.now)) > self.now:
                return door, ready
        return None

    def _wait(self, outlet: Outlet, stream: str, door: Doorway, ready: float) -> None:
        door.wait(outlet.key, self.policy.streams[stream].priority)
        if ready < door.again_at:
            door.again_at = ready
            self._at(ready, DOORWAY, door)

    def _pass_on(self, door: Doorway) -> None:
        """Something may pass a gate again: who waits is asked, higher streams first, until one must wait on."""
        below = FULL
        while (found := door.next_up(below)) is not None:
            key, priority = found
            before = door.sent
            self._serve(self._outlets[key])
            if door.sent == before:
                below = priority

    def _start(self, outlet: Outlet, name: str, source: Source, doors: tuple[Doorway, ...]) -> None:
        """The stream's next message, unless a brake holds it or its time is over."""
        stream = self.policy.streams[name]
        place = outlet.pop(name, stream.weight)
        mail = place.mail
        if self.restraints.brakes.trips and (trip := self.restraints.held_by(name, mail.credential, mail.tags)):
            self._held.setdefault(trip, []).append(place)
            return
        if stream.retry.expired(now=self.now - GRACE_S, received_at=mail.accepted_at):
            self._end(place, "expired", outlet.terms)
            return
        for door in doors:
            door.start(name, self.now)
        if not self.restraints.quiet:
            self.restraints.started(name, source.name, outlet.terms.provider, self.now)
        hour = (int(self.now // HOUR_S), outlet.terms.provider)
        self.sends[hour] = self.sends.get(hour, 0) + 1
        self.left[source.name] = self.left.get(source.name, 0) + 1
        self._at(self.now + place.seconds, ENDED, (place, outlet, source, doors))

    def _ended(self, place: Place, outlet: Outlet, source: Source, doors: tuple[Doorway, ...]) -> None:
        """An attempt is over: its place is another's, after what it was told is in force."""
        self._answered(place, outlet.terms, source, doors[0].gate)
        for door in doors:
            door.end(place.mail.stream)
        for door in doors:
            self._pass_on(door)

    def _answered(self, place: Place, terms: Terms, source: Source, gate: Gate) -> None:
        mail, answer = place.mail, answer_at(place.answers, self.now)
        outcome = answer.outcome
        if outcome.verdict is Verdict.DELIVERED:
            gate.worked()
            self.restraints.comebacks.taken(source.name, terms.counted)
            if self.doors:
                self.restraints.door(source.name, terms, place.host, self.now, shut=False)
            self._end(place, "delivered", terms)
            return
        outcome = self.restraints.hear(outcome, terms, source=source.name, stream=mail.stream, now=self.now)
        if too_much(outcome):
            gate.deferred(self.now)
        retry = self.policy.streams[mail.stream].retry
        if outcome.verdict is Verdict.FAILED:
            self._end(place, "bounced", terms, outcome.kind, reached=answer.reached)
        elif retry.expired(now=self.now, received_at=mail.accepted_at):
            self._end(place, "expired", terms, outcome.kind, reached=answer.reached)
        else:
            self._count_fact(mail, "deferred", terms, outcome.kind, reached=answer.reached)
            attempts = place.attempts + 1
            due = retry.next_due(
                now=self.now, received_at=mail.accepted_at, attempts=attempts, chance=EVEN, asked_s=outcome.again_s
            )
            self._at(due, DUE, place._replace(attempts=attempts))

    def _end(self, place: Place, end: str, terms: Terms, kind: str = "", *, reached: bool = True) -> None:
        """A recipient has come to its end."""
        mail = place.mail
        stream, result = self.policy.streams[mail.stream], self._result(mail.stream)
        if end == "delivered":
            within_s = stream.objective.within_s if stream.objective else None
            result.deliver(self.now - mail.accepted_at, self.now, within_s)
        elif end == "bounced":
            result.bounced += 1
        else:
            result.expired += 1
        mail.left -= 1
        if not mail.left:
            self.stocks.gone(stream, mail.size)
        self._count_fact(mail, end, terms, kind, reached=reached)

    def _count_fact(self, mail: Mail, name: str, terms: Terms, kind: str, *, reached: bool) -> None:
        if self.restraints.brakes.watches(mail.stream):
            fact = Fact(name, mail.stream, terms.provider, mail.credential, kind, reached, mail.tags)
            self.restraints.count(fact, self.now)

    def _result(self, stream: str) -> Result:
        found = self.results.get(stream)
        if found is None:
            found = self.results[stream] = Result()
        return found

    # Limits that begin and end

    def _limited(self, counted: str) -> None:
        self.doorways.limited(counted, self.now)

    def _well_again(self, source: str) -> None:
        self.doorways.well_again(source)

    def _limits_end(self, when: float) -> None:
        """Something in force will be over then, if nothing makes it longer."""
        if when < self._limits_at:
            self._limits_at = when
            self._at(when, LIMITS, when)

    def _limits_over(self, when: float) -> None:
        if when != self._limits_at:
            return  # something ended sooner, and looked then for what is next
        self._limits_at = FULL
        for trip in self.restraints.expire(self.now):
            for place in self._held.pop(trip.id, ()):
                self._queue(place)
        if (again := self.restraints.next_end()) < FULL:
            self._limits_end(again)
        rules = self.doorways.rules
        waiting = [outlet for outlet in self._outlets.values() if outlet.waiting]
        for outlet in sorted(waiting, key=lambda one: -rules[one.order(rules)[0]].priority):
            self._serve(outlet)
