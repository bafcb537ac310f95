"""Mail taken over from another server's queue: decided, prepared, signed and stored as if it came in today.

1. A message taken over before is known by its `origin`, kept in the store in the transaction that stored it.
2. The content passes what a legacy client's would: bare line ends are repaired, loops and sizes looked at.
3. The policies decide; what they refuse stays where it is. Rights of senders, rates and quotas are not asked: the
   other server has promised to deliver it.
4. It is signed, but not by a domain that has signed it already.
5. Its age counts from its arrival there, but for some hours of tries it always has time.
"""

from __future__ import annotations

import asyncio
import datetime
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, replace

from relay.core.address import address_in, domain_of
from relay.core.content import Content
from relay.core.envelope import Client, Envelope, Submission
from relay.core.headers import Headers
from relay.core.ids import message_id
from relay.core.message import Prepared
from relay.core.reply import Reply
from relay.inbound.receive import Receiver
from relay.inbound.reception import MemoryBudget
from relay.inbound.refusals import Refused
from relay.inbound.requests import read_requests
from relay.inbound.returnpath import return_path
from relay.inbound.settings import ListenerSettings
from relay.inbound.standing import Standing
from relay.policy.decide import Decision, Facts, decide
from relay.policy.model import Policy, Stream
from relay.prepare.dkim import Signer
from relay.prepare.keys import KeyRing
from relay.prepare.message import Edits, Preparer, Refusal
from relay.prepare.signing import SigningDesk
from relay.queue.spool import Spool
from relay.queue.store import IMPORTED

LAST_CHANCE_S = 4 * 3600.0  # of tries for mail whose time was over, or nearly, where it came from
BUDGET_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class Given:
    """One message of the other queue. `origin` names it for good, `arrived_at` is Unix seconds (UTC); `client`
    (IP address), `helo` and `credential` are those of the client it had there. With `trial` nothing is stored;
    `held` holds it for an operator."""

    origin: str
    arrived_at: float
    envelope: Envelope
    client: str
    helo: str
    credential: str
    held: bool
    trial: bool


@dataclass(frozen=True, slots=True)
class Imported:
    """What came of it: `outcome` is imported, known or refused (with the `reason`), `message` our id."""

    outcome: str
    message: str = ""
    stream: str = ""
    route: str = ""
    reason: str = ""
    held: bool = False
    signed: bool = False


@dataclass(frozen=True, slots=True)
class Importer:
    """Takes mail over, one message at a time. `put` stores durably, `known` tells the id a message was taken over
    under, or None; `standing` what is settled for clients of the listener whose place is taken, `settings` its own."""

    policy: Callable[[], Policy]
    preparer: Preparer
    keys: KeyRing
    desk: SigningDesk
    put: Callable[[Prepared], Awaitable[object]]
    known: Callable[[str], Awaitable[object]]
    clock: Callable[[], float]
    verp_key: bytes
    held_by: Callable[[str, str, Mapping[str, str]], str]
    spool: Spool
    lock: asyncio.Lock

    async def take(
        self, given: Given, chunks: AsyncIterator[bytes], settings: ListenerSettings, standing: Standing
    ) -> Imported:
        """What came of one message, whose content comes dot-stuffed with its end. Raises StoreFull, StoreBusy,
        StoreBroken, OSError."""
        async with self.lock:  # two commands with the same file: the second finds it known
            if (before := await self.known(given.origin)) is not None:
                return Imported("known", message=str(before))
            receiver = Receiver(replace(settings, profile="legacy"), MemoryBudget(BUDGET_BYTES), self.spool)
            try:
                content = await _received(receiver, chunks)
                return await self._pass(given, content, settings.name, standing)
            except Refused as refused:
                return Imported("refused", reason=f"{refused.reason}: {refused.reply.text}")
            finally:
                receiver.discard()
                receiver.release()

    async def _pass(self, given: Given, content: Content, listener: str, standing: Standing) -> Imported:
        now = self.clock()
        client = Client(given.client, 0, given.helo, listener, credential=given.credential, profile="legacy")
        id_ = message_id(now, secrets.token_bytes(6))
        submission = Submission(id_, now, client, given.envelope, content)
        headers = Headers.parse(content.header)
        requests = read_requests(headers, choices=standing.choices, who="the imported message")
        if isinstance(requests, Reply):
            return Imported("refused", reason=requests.text)
        facts = Facts(
            listener=listener, client=client.address, credential=client.credential, sender=given.envelope.sender,
            recipients=tuple(one.address for one in given.envelope.recipients), headers=headers, size=content.size,
            hour=datetime.datetime.fromtimestamp(now, datetime.UTC).hour,
            chosen_stream=requests.stream, forced_stream=standing.stream, chosen_tags=requests.tags,
        )  # fmt: skip
        decision = decide(self.policy(), facts)
        if decision.refusal is not None:
            return Imported("refused", route=decision.route, reason=f"policy: {decision.refusal.text}")
        assert decision.stream is not None, "a decision without refusal has its stream"
        return await self._finish(given, submission, headers, decision, decision.stream)

    async def _finish(
        self, given: Given, submission: Submission, headers: Headers, decision: Decision, stream: Stream
    ) -> Imported:
        signed_by = _signed_by(headers)
        prepared = await self.desk.apart(lambda: self.preparer.prepare(
            submission, headers, legacy=True, eight_bit=stream.eight_bit,
            edits=Edits(decision.headers_remove, decision.headers_add),
        ))  # fmt: skip
        if isinstance(prepared, Refusal):
            return Imported("refused", route=decision.route, reason=f"{prepared.reason}: {prepared.reply.text}")
        author = domain_of(address_in(headers.first("from") or ""))
        signers = [one for one in self.keys.signers(stream.signings, author) if one.domain.lower() not in signed_by]
        if (lacking := self._lacking(stream, author)) and not signed_by:
            return Imported("refused", route=decision.route, reason=f"signing-key: {lacking}")
        message = await self._message(given, submission, decision, stream, (prepared, headers, signers))
        if not given.trial:
            await self.put(message)
        return Imported(
            "imported", message="" if given.trial else message.id, stream=stream.name, route=decision.route,
            held=message.held, signed=bool(signers),
        )  # fmt: skip

    async def _message(
        self, given: Given, submission: Submission, decision: Decision, stream: Stream,
        parts: tuple[Content, Headers, list[Signer]],
    ) -> Prepared:  # fmt: skip
        now, credential = submission.received_at, given.credential
        brake = self.held_by(stream.name, credential, decision.tags)
        floor = now - max(0.0, stream.retry.expire_s - LAST_CHANCE_S)
        return Prepared(
            submission.id, min(now, max(given.arrived_at, floor)), now, submission.envelope,
            return_path(submission.id, given.envelope.sender, stream.return_path, self.verp_key),
            stream.name, stream.pool, decision.route,
            credential=credential, client=given.client, listener=submission.client.listener,
            held=given.held or decision.hold or bool(brake),
            held_by=brake or (f"{IMPORTED}: {given.origin}" if given.held else ""),
            priority=0,  # mail of now goes before
            tags=decision.tags, origin=given.origin, content=await self.desk.sign(*parts),
        )  # fmt: skip

    def _lacking(self, stream: Stream, author: str) -> str:
        required = [signing for signing in stream.signings if signing.required]
        return "; ".join(self.keys.missing(required, author)) if required else ""


async def _received(receiver: Receiver, chunks: AsyncIterator[bytes]) -> Content:
    """The content; raises Refused, also for one that ends early or goes on behind its end."""
    rest: bytes | None = None
    async for chunk in chunks:
        if rest is not None:
            raise Refused("bare-line-end")
        rest = receiver.feed(chunk)
    if rest is None or rest:
        raise Refused("bare-line-end")
    return receiver.finish()


def _signed_by(headers: Headers) -> set[str]:
    """The domains that have signed the message already (RFC 6376 §3.5, d=)."""
    found = set()
    for value in headers.all("dkim-signature"):
        for tag in "".join(value.split()).split(";"):
            if tag[:2] == "d=":
                found.add(tag[2:].lower())
    return found
