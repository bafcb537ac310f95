"""The last question before a message is prepared: may it come in, there and now?

    guard (bulk mail in the wrong stream) ─► require ─► disk ─► quota of the stream ─► rate of the client

What can never pass is refused before what can pass later. A stream at its quota says 4xx while the others
take mail; below the reserve of the disk all say it. A place that was given is counted at once and given back
when the message is not stored after all.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import NamedTuple

from relay.core.envelope import Client, Submission
from relay.core.events import Event
from relay.core.fingerprint import Likeness
from relay.core.headers import Headers
from relay.core.prose import prose
from relay.core.quota import Allowance, Day, Meter, Stock
from relay.core.reply import Reply
from relay.core.shares import Shares
from relay.inbound.account import Account, whole_wait_s
from relay.inbound.crowd import past_share
from relay.inbound.disk import Disk
from relay.inbound.refusals import Refused
from relay.policy.decide import Decision
from relay.policy.guard import Finding, Guard, plain_sign
from relay.policy.guarding import applied
from relay.policy.model import Policy, Stream
from relay.policy.require import missing

KIND = "daily"  # what the store remembers of today's counts
QUOTA_REASONS = {"messages": "quota-messages", "bytes": "quota-bytes", "disk": "quota-disk"}
Signing = Callable[[Stream, str], list[str]]
Recall = Callable[[str], Awaitable[Mapping[str, object]]]
Remember = Callable[[str, Mapping[str, object]], Awaitable[None]]


class Passage(NamedTuple):
    """The answer: a refusal with its reason, or a place with the stream, tags and hold that are to be."""

    decision: Decision
    into: Stream
    refusal: Reply | None = None
    reason: str = ""
    size: int = 0
    recipients: int = 0
    account: Account | None = None


class Gate:
    """The questions that a message answers by itself. `ways` says by stream how to reach it; `signing` which
    domains sign for a From domain. What is counted over many messages is up to who keeps the gate."""

    def __init__(
        self, *, policy: Callable[[], Policy], signing: Signing, publish: Callable[[Event], None],
        clock: Callable[[], float], ways: Mapping[str, str],
    ) -> None:  # fmt: skip
        self.policy, self.signing, self.publish, self.clock, self.ways = policy, signing, publish, clock, ways

    async def alike(self, stream: str, guard: Guard, text: bytes, people: Sequence[str]) -> bool:
        """Whether the text is one of too many alike; counts it."""
        raise NotImplementedError

    def count(self, submission: Submission, decision: Decision, stream: Stream) -> Passage:
        """A place in the queue, or not."""
        raise NotImplementedError

    def left(self, passage: Passage, *, stored: bool) -> None:
        """The message is in the queue (which counts it now), or was not taken after all."""
        raise NotImplementedError

    async def ask(self, submission: Submission, headers: Headers, decision: Decision) -> Passage:
        """Whether and how the message may come in. What it takes is given back by `left`."""
        stream = decision.stream
        assert stream is not None, "asked only of mail that the policy takes"
        guard = stream.guard
        finding = await self._finding(submission, headers, stream, guard) if guard is not None else None
        if guard is not None and finding is not None:
            self._tell(submission, decision, guard, finding)
            decision = applied(self.policy(), decision, stream, finding, self.ways.get(guard.to, ""))
            if decision.stream is None or decision.refusal is not None:
                return Passage(decision, stream, decision.refusal, "bulk-mail")
            stream = decision.stream
        if stream.require:
            name, signing = stream, self.signing
            if lacking := missing(decision, stream.require, headers, lambda domain: signing(name, domain)):
                text = f"stream {stream.name} requires {'; '.join(lacking)}"
                return denied(decision, stream, Refused("requirement", text=text))
        return self.count(submission, decision, stream)

    # The guard

    async def _finding(
        self, submission: Submission, headers: Headers, stream: Stream, guard: Guard
    ) -> Finding | None:
        finding = plain_sign(guard, headers, len(submission.envelope.recipients))
        if finding is not None or not guard.same:
            return finding
        content = submission.content
        text = prose(content.header, next(iter(content.body.chunks()), b""))
        people = [one.address for one in submission.envelope.recipients]
        if not await self.alike(stream.name, guard, text, people):
            return None
        return Finding("same_content", f"the same text to more than {guard.same} recipients in {guard.within_s:g} s")

    def _tell(self, submission: Submission, decision: Decision, guard: Guard, finding: Finding) -> None:
        client, stream = submission.client, decision.stream
        detail = {
            "guard": finding.sign, "action": guard.action, "text": finding.words,
            "listener": client.listener, "credential": client.credential,
        }  # fmt: skip
        if guard.action == "reroute":
            detail["to"] = guard.to
        self.publish(Event(
            "guarded", self.clock(), message=submission.id, stream=stream.name if stream else "",
            route=decision.route, sender=submission.envelope.sender, tags=decision.tags, detail=detail,
        ))  # fmt: skip


class Gatekeeper(Gate):
    """One for the relay. `stock` is what the queue holds; `allowances` are by "credential NAME" and
    "listener NAME"; `crowd` counts the messages under way at other processes, which then see to shares of a busy
    relay themselves."""

    def __init__(
        self, *, policy: Callable[[], Policy], stock: Callable[[], Stock], disk: Disk, signing: Signing,
        publish: Callable[[Event], None], clock: Callable[[], float],
        allowances: Mapping[str, Allowance], ways: Mapping[str, str],
    ) -> None:  # fmt: skip
        super().__init__(policy=policy, signing=signing, publish=publish, clock=clock, ways=ways)
        self.stock, self.disk, self.allowances = stock, disk, allowances
        self._accounts: dict[str, Account] = {}
        self._days: dict[str, Day] = {}
        self._saved: dict[str, tuple[int, int]] = {}
        self._meters: dict[str, Meter] = {}
        self._coming: dict[str, tuple[int, int]] = {}
        self._coming_bytes = 0
        self.shares = Shares()
        self.crowd: Callable[[], int] | None = None
        self._likeness: dict[str, tuple[Guard, Likeness]] = {}

    def take(self, allowances: Mapping[str, Allowance], ways: Mapping[str, str]) -> None:
        """Replaces what a reload may change; what was counted stays."""
        self.allowances, self.ways = allowances, ways

    async def alike(self, stream: str, guard: Guard, text: bytes, people: Sequence[str]) -> bool:
        """Whether the text is one of too many alike; counts it."""
        return self.is_alike(stream, guard, text, people)

    def is_alike(self, stream: str, guard: Guard, text: bytes, people: Sequence[str]) -> bool:
        """The same, at once."""
        known, likeness = self._likeness.get(stream, (None, None))
        if likeness is None or known != guard:  # a reload has changed it
            likeness = Likeness(guard.same, guard.within_s)
            self._likeness[stream] = (guard, likeness)
        return likeness.is_bulk(text, people, self.clock())

    def left(self, passage: Passage, *, stored: bool) -> None:
        """The message is in the queue (which counts it now), or was not taken after all."""
        name = passage.into.name
        messages, size = self._coming[name]
        self._coming[name] = (messages - 1, size - passage.size)
        self._coming_bytes -= passage.size
        if stored:
            return
        if meter := self._meters.get(name):
            meter.give(1)
        if passage.account is not None:
            passage.account.give(passage.recipients, self.clock())

    @property
    def under_way(self) -> int:
        """Messages between their final dot and their reply."""
        return sum(messages for messages, _ in self._coming.values()) if self.crowd is None else self.crowd()

    # What may be taken now

    def count(self, submission: Submission, decision: Decision, stream: Stream) -> Passage:
        """A place in the queue, or not."""
        size, number = submission.content.size, len(submission.envelope.recipients)
        return self.admit(submission.client, (size, number), decision, stream)

    def admit(self, client: Client, amount: tuple[int, int], decision: Decision, stream: Stream) -> Passage:
        """A place for a message of so many bytes and recipients, or not."""
        now, (size, number) = self.clock(), amount
        coming = self._coming.get(stream.name, (0, 0))
        self.disk.look(now)
        free = self.disk.free + self.stock().reusable
        if free - self._coming_bytes - size < self.disk.kept:
            return denied(decision, stream, Refused("disk-reserve"))
        if stream.quota is not None and (refused := self._over_quota(stream, coming, size, free, now)):
            return denied(decision, stream, refused)
        who, account = self._account(client)
        if account is not None and (refused := account.refusal(who, number, now)):
            return denied(decision, stream, refused)
        self._coming[stream.name] = (coming[0] + 1, coming[1] + size)
        self._coming_bytes += size
        self.shares.take(stream.name, now)
        if meter := self._meters.get(stream.name):
            meter.take(1, now)
        if account is not None:
            account.take(number, now)
        return Passage(decision, stream, None, "", size, number, account)

    def _over_quota(
        self, stream: Stream, coming: tuple[int, int], size: int, free: float, now: float
    ) -> Refused | None:
        quota, stock = stream.quota, self.stock()
        assert quota is not None
        messages, queued = stock.of(stream.name)
        room = free + stock.size - self.disk.kept
        if what := quota.over(messages + coming[0] + 1, queued + coming[1] + size, room):
            return Refused(QUOTA_REASONS[what], stream=stream.name)
        meter = self._meter(stream)
        if meter is not None and (ready := meter.ready_at(1, now)) > now:
            return Refused("quota-rate", stream=stream.name, pace=meter.pace.text, seconds=whole_wait_s(ready, now))
        if self.crowd is None and self.shares.over(stream.name, quota.accepts, self.under_way, now):
            return past_share(stream.name, quota)
        return None

    def _meter(self, stream: Stream) -> Meter | None:
        """The stream's meter; a new pace after a reload begins with an empty one."""
        pace = stream.quota.pace if stream.quota else None
        meter = self._meters.get(stream.name)
        if pace is None:
            self._meters.pop(stream.name, None)
            return None
        if meter is None or meter.pace != pace:
            meter = self._meters[stream.name] = Meter(pace)
        return meter

    def _account(self, client: Client) -> tuple[str, Account | None]:
        who = f"credential {client.credential}" if client.credential else f"listener {client.listener}"
        allowance = self.allowances.get(who)
        if allowance is None:
            return who, None
        account = self._accounts.get(who)
        if account is None or account.allowance != allowance:
            meter = Meter(allowance.pace) if allowance.pace else None
            account = self._accounts[who] = Account(allowance, meter, self._days.setdefault(who, Day()))
        return who, account

    # What outlives a restart

    async def load(self, recall: Recall) -> None:
        """Takes up today's counts where they were left."""
        for who, row in (await recall(KIND)).items():
            if isinstance(row, list) and len(row) == 2:
                self._days[who] = Day(*row)
                self._saved[who] = (row[0], row[1])

    async def save(self, remember: Remember) -> None:
        """Keeps what has changed of today's counts; costs nothing when nothing has."""
        now = {who: (day.number, day.used) for who, day in self._days.items() if who in self.allowances}
        changes: dict[str, object] = {who: list(row) for who, row in now.items() if self._saved.get(who) != row}
        changes |= {who: None for who in self._saved if who not in now}
        if changes:
            await remember(KIND, changes)
            self._saved = now


def denied(decision: Decision, stream: Stream, refused: Refused) -> Passage:
    """The answer no."""
    return Passage(decision, stream, refused.reply, refused.reason)
