"""From the final dot to the reply: decide, prepare, sign, store.

    Submission ─ requests ─► policy ─► sender rights ─► gate ─► preparation ─► DKIM ─► queue ─► 250

Nothing slow comes after the store's commit, and a fault of ours is never a 5xx. What takes long before it,
re-encoding or signing a large body, is done in the desk's thread. Every reason to say no is a line of
relay/inbound/refusals.py.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

from relay.core.address import MAX_HEADER_VALUE, address_in, addresses_in, domain_of
from relay.core.content import Content
from relay.core.envelope import Client, Submission
from relay.core.events import Event, repeated_event
from relay.core.headers import Headers
from relay.core.message import Once, Prepared
from relay.core.overload import Load
from relay.core.reply import Reply, reply
from relay.inbound.access import Access
from relay.inbound.gate import Gate
from relay.inbound.once import once
from relay.inbound.refusals import Refused
from relay.inbound.requests import Requests, read_requests
from relay.inbound.returnpath import return_path
from relay.inbound.sendat import too_far
from relay.inbound.standing import NO_STANDING, Standing, together
from relay.inbound.turns import Turns
from relay.policy.decide import Decision, Facts, decide
from relay.policy.model import Policy, Stream
from relay.policy.recorded import record
from relay.prepare.keys import KeyRing
from relay.prepare.message import Edits, Preparer, Refusal
from relay.prepare.signing import SigningDesk
from relay.queue.handoff import Denied
from relay.queue.store import CONFLICT, REPEAT, STORED, Receipt, StoreBroken, StoreBusy, StoreFull

log = logging.getLogger("relay.inbound")

HOUR_S, DAY_HOURS = 3600, 24

Recorded = Mapping[str, object] | None
KEY_USED = (
    "idempotency key {key} was used for message {first}, which differs: send what was sent then, or give this message"
    " a key of its own"
)


class Plan(NamedTuple):
    """What is to become of a message that may come in: its decision and stream, when it is due (Unix s), its size
    as it came (bytes), what the event log is to remember of the decision, and its idempotency key."""

    decision: Decision
    stream: Stream
    due_at: float
    came_bytes: int
    recorded: Recorded
    once: Once | None


@dataclass(slots=True)
class Intake:
    """One relay's way in. `put` stores durably; `publish` tells of refusals (of acceptance the store tells).
    `listeners` and `credentials` are replaced on reload; `verp_key` signs return paths. With
    `record_facts` the event log gets what the policies looked at; `held_by` names the brake that holds a
    message of that stream, credential and tags. An idempotency key counts for `key_window_s`."""

    policy: Callable[[], Policy]
    access: Access
    gate: Gate
    preparer: Preparer
    keys: KeyRing
    desk: SigningDesk
    put: Callable[[Prepared], Awaitable[Receipt]]
    publish: Callable[[Event], None]
    clock: Callable[[], float]
    verp_key: bytes
    listeners: Mapping[str, Standing]
    credentials: Mapping[str, Standing]
    turns: Turns = field(default_factory=Turns)
    load: Load = field(default_factory=Load)
    record_facts: bool = True
    held_by: Callable[[str, str, Mapping[str, str]], str] = lambda *_: ""
    key_window_s: float = 86400.0

    def take(self, listeners: Mapping[str, Standing], credentials: Mapping[str, Standing]) -> None:
        """Replaces what listeners and credentials settle."""
        self.listeners, self.credentials = listeners, credentials

    async def accept(self, submission: Submission) -> Reply:
        """The reply to the final dot. After 250 the message is on stable storage."""
        headers = Headers.parse(submission.content.header)
        client = submission.client
        standing = self._standing_of(client.listener, client.credential)
        requests = read_requests(headers, choices=standing.choices, who=_name(client))
        if isinstance(requests, Reply):
            return self._refuse(submission, "request-header", requests)
        policy, facts = self.policy(), self._facts(submission, headers, requests, standing.stream)
        recorded = record(facts, policy.asked) if self.record_facts else None  # before preparation edits the header
        decision = decide(policy, facts)
        if decision.refusal is not None:
            return self._refuse(submission, "policy", decision.refusal, route=decision.route, recorded=recorded)
        assert decision.stream is not None, "a decision without refusal has its stream"
        clock = asyncio.get_running_loop().time
        if self.load.too_long(decision.stream.priority, clock()):
            return self._refuse(submission, "overloaded", route=decision.route)
        for author in authors(headers):
            if refusal := self.access.check_from(client, author):
                return self._refuse(submission, "from-denied", refusal, route=decision.route)
        ahead_s, stream = standing.ahead_s, decision.stream
        if requests.send_at and (refusal := self._too_far(requests.send_at, submission, ahead_s, stream)):
            return self._refuse(submission, "request-header", refusal, route=decision.route)
        passage = await self.gate.ask(submission, headers, decision)
        if passage.refusal is not None:
            return self._refuse(submission, passage.reason, passage.refusal, route=decision.route)
        found: Reply | Receipt | None = None
        priority = passage.into.priority
        self.load.enter(priority, clock())
        try:
            key = await once(submission, requests.key, self.key_window_s, self.desk) if requests.key else None
            due_at = max(requests.send_at, submission.received_at)
            plan = Plan(passage.decision, passage.into, due_at, facts.size, recorded, key)
            found = await self._finish(submission, headers, plan)
        finally:
            self.load.leave(priority, clock())
            self.gate.left(passage, stored=isinstance(found, Receipt) and found.verdict == STORED)
        if isinstance(found, Reply):
            return found
        if found.verdict == CONFLICT:
            answer = Refused("idempotency-key", text=KEY_USED.format(key=requests.key[:60], first=found.id)).reply
            return self._refuse(submission, "idempotency-key", answer, route=decision.route)
        return reply(250, "2.0.0", f"Ok: queued as {found.id}")

    def crowded(self, listener: str, credential: str, now: float) -> bool:
        """Whether mail of this client would wait too long; asked at MAIL, before it sends anything. Where the
        stream is not settled yet the message may be of the highest, which is told last."""
        if self.load.calm(now):
            return False
        standing = self._standing_of(listener, credential)
        streams = self.policy().streams
        one = streams.get(standing.stream)
        priority = one.priority if one else max((each.priority for each in streams.values()), default=0)
        return self.load.too_long(priority, now)

    def kept(self, listener: str, credential: str) -> float:
        """The share of the memory for messages that mail of this client must leave free: what higher streams
        reserve, where its own stream is settled before it begins."""
        stream = self._standing_of(listener, credential).stream
        if not stream:
            return 0.0
        streams = self.policy().streams
        one = streams.get(stream)
        return sum(each.reserve for each in streams.values() if one and each.priority > one.priority)

    async def _finish(self, submission: Submission, headers: Headers, plan: Plan) -> Reply | Receipt:
        decision, stream = plan.decision, plan.stream
        await self.turns.mine(stream.priority)
        work = partial(
            self.preparer.prepare, submission, headers,
            legacy=submission.client.profile == "legacy", eight_bit=stream.eight_bit,
            edits=Edits(decision.headers_remove, decision.headers_add),
        )  # fmt: skip
        slow = self.preparer.takes_long(submission.content, stream.eight_bit)
        content = await self.desk.apart(work) if slow else work()
        if isinstance(content, Refusal):
            return self._refuse(submission, content.reason, content.reply, route=decision.route)
        domain = domain_of(address_in(headers.first("from") or ""))
        if problem := self._key_missing(stream, domain):
            log.error("stream %s requires a signature that cannot be made: %s", stream.name, problem)
            return self._refuse(submission, "signing-key", route=decision.route)
        signed = await self.desk.sign(content, headers, self.keys.signers(stream.signings, domain))
        return await self._store(submission, self._message(submission, plan, signed))

    def _message(self, submission: Submission, plan: Plan, content: Content) -> Prepared:
        decision, stream = plan.decision, plan.stream
        envelope, client = submission.envelope, submission.client
        held_by = self.held_by(stream.name, client.credential, decision.tags)
        return Prepared(
            submission.id, submission.received_at, plan.due_at, envelope,
            return_path(submission.id, envelope.sender, stream.return_path, self.verp_key),
            stream.name, stream.pool, decision.route,
            credential=client.credential, client=client.address, listener=client.listener,
            held=decision.hold or bool(held_by), held_by=held_by, priority=stream.priority, tags=decision.tags,
            facts=plan.recorded, came_bytes=plan.came_bytes, once=plan.once, content=content,
        )  # fmt: skip

    async def _store(self, submission: Submission, message: Prepared) -> Reply | Receipt:
        try:
            receipt = await self.put(message)
        except Denied as denied:
            return self._refuse(submission, denied.reason, denied.reply, route=message.route)
        except StoreFull as error:
            log.error("message %s refused, the disk is full: %s", submission.id, error)
            return self._refuse(submission, "disk-full", route=message.route)
        except (StoreBusy, StoreBroken) as error:
            log.error("message %s refused, the queue does not take it: %s", submission.id, error)
            return self._refuse(submission, "queue", route=message.route)
        if receipt.verdict == REPEAT:
            self.publish(repeated_event(message, receipt.id, self.clock()))
        return receipt

    def _standing_of(self, listener: str, credential: str) -> Standing:
        found = self.listeners.get(listener, NO_STANDING)
        return together(found, self.credentials.get(credential, NO_STANDING)) if credential else found

    def _facts(self, submission: Submission, headers: Headers, requests: Requests, forced: str) -> Facts:
        client, envelope = submission.client, submission.envelope
        return Facts(
            listener=client.listener, client=client.address, credential=client.credential,
            sender=envelope.sender, recipients=tuple([one.address for one in envelope.recipients]),
            headers=headers, size=submission.content.size,
            hour=int(submission.received_at // HOUR_S) % DAY_HOURS,  # Unix time has no leap seconds
            chosen_stream=requests.stream, forced_stream=forced, chosen_tags=requests.tags,
        )  # fmt: skip

    def _too_far(self, send_at: float, submission: Submission, ahead_s: float, stream: Stream) -> Reply | None:
        return too_far(
            send_at, submission.received_at, ahead_s=ahead_s, who=_name(submission.client), stream=stream.name,
            expire_s=stream.retry.expire_s,
        )  # fmt: skip

    def _key_missing(self, stream: Stream, domain: str) -> str:
        required = [signing for signing in stream.signings if signing.required]
        return "; ".join(self.keys.missing(required, domain)) if required else ""

    def _refuse(
        self, submission: Submission, reason: str, answer: Reply | None = None,
        *, route: str = "", recorded: Recorded = None,
    ) -> Reply:  # fmt: skip
        """Tells of a refusal; the reply is the one of the table (relay/inbound/refusals.py) unless the reason
        has words of its own."""
        client, answer = submission.client, answer or Refused(reason).reply
        detail: dict[str, object] = {
            "listener": client.listener, "client": client.address, "reason": reason,
            "code": answer.code, "enhanced": answer.enhanced, "text": answer.text,
        }  # fmt: skip
        if recorded is not None:  # what the policies refused they can be asked again
            recipients = [one.address for one in submission.envelope.recipients]
            detail |= {"credential": client.credential, "size": submission.content.size, "recipients": recipients}
            detail["facts"] = recorded
        self.publish(
            Event("refused", self.clock(), sender=submission.envelope.sender, route=route, detail=detail)
        )
        return answer


def authors(headers: Headers) -> list[str]:
    """Every address in From, each of which the client must have the right to use (RFC 5322 §3.6.2 allows
    several). "" stands for one that cannot be read; none at all is for preparation to refuse or to fill in."""
    found: list[str] = []
    for value in headers.all("from"):
        addresses = addresses_in(value)
        if len(value) > MAX_HEADER_VALUE or ("@" in value and not addresses):
            addresses = [""]
        found += addresses
    return found


def _name(client: Client) -> str:
    return f"credential {client.credential}" if client.credential else f"listener {client.listener}"
