"""From the final dot to the reply: decide, prepare, sign, store.

    Submission ─ requests ─► policy ─► sender rights ─► gate ─► preparation ─► DKIM ─► queue ─► 250

Nothing slow comes after the store's commit, and a fault of ours is never a 5xx.
"""

from __future__ import annotations

import datetime
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from relay.core.address import address_in, domain_of
from relay.core.content import Content
from relay.core.envelope import Client, Submission
from relay.core.events import Event
from relay.core.headers import Headers
from relay.core.message import Prepared
from relay.core.reply import Reply, reply
from relay.core.tokens import encode
from relay.inbound.access import Access
from relay.inbound.gate import Gatekeeper
from relay.inbound.requests import Requests, read_requests
from relay.policy.decide import Decision, Facts, decide
from relay.policy.model import Policy, Stream
from relay.prepare.keys import KeyRing
from relay.prepare.message import Edits, Preparer, Refusal
from relay.prepare.signing import SigningDesk
from relay.queue.store import StoreBroken, StoreBusy, StoreFull

log = logging.getLogger("relay.inbound")

FULL = reply(452, "4.3.1", "insufficient storage, try again later")
BUSY = reply(451, "4.3.0", "the queue cannot take mail now, try again later")


@dataclass(frozen=True, slots=True)
class Standing:
    """What a listener or a credential settles beforehand: the stream its mail belongs to ("" if none),
    and those its clients may choose by X-Relay-Stream."""

    stream: str = ""
    choices: tuple[str, ...] = ()


NO_STANDING = Standing()


@dataclass(slots=True)
class Intake:
    """One relay's way in. `put` stores durably; `publish` tells of refusals (of acceptance the store tells).
    `listeners` and `credentials` are replaced on reload; `verp_key` signs return paths."""

    policy: Callable[[], Policy]
    access: Access
    gate: Gatekeeper
    preparer: Preparer
    keys: KeyRing
    desk: SigningDesk
    put: Callable[[Prepared], Awaitable[None]]
    publish: Callable[[Event], None]
    clock: Callable[[], float]
    verp_key: bytes
    listeners: Mapping[str, Standing]
    credentials: Mapping[str, Standing]

    async def accept(self, submission: Submission) -> Reply:
        """The reply to the final dot. After 250 the message is on stable storage."""
        headers = Headers.parse(submission.content.header)
        requests = self._requests(submission.client, headers)
        if isinstance(requests, Reply):
            return self._refuse(submission, "request_header", requests)
        decision = decide(self.policy(), self._facts(submission, headers, requests))
        if decision.refusal is not None or decision.stream is None:
            return self._refuse(submission, "policy", decision.refusal or BUSY, route=decision.route)
        sender = address_in(headers.first("from") or "")
        if refusal := self.access.check_from(submission.client, sender):
            return self._refuse(submission, "from_not_allowed", refusal)
        passage = self.gate.ask(submission, headers, decision)
        if passage.refusal is not None or passage.decision.stream is None:
            return self._refuse(submission, passage.reason, passage.refusal or BUSY, route=decision.route)
        stored = False
        try:
            answer = await self._finish(submission, headers, passage.decision, passage.decision.stream, sender)
            stored = answer.code == 250
        finally:
            self.gate.left(passage, stored=stored)
        return answer

    async def _finish(
        self, submission: Submission, headers: Headers, decision: Decision, stream: Stream, sender: str
    ) -> Reply:
        legacy = submission.client.profile == "legacy"
        content = self.preparer.prepare(
            submission, headers, legacy=legacy, eight_bit=stream.eight_bit,
            edits=Edits(decision.headers_remove, decision.headers_add),
        )  # fmt: skip
        if isinstance(content, Refusal):
            return self._refuse(submission, content.reason, content.reply)
        domain = domain_of(sender) or domain_of(address_in(headers.first("from") or ""))
        if problem := self._key_missing(stream, domain):
            log.error("stream %s requires a signature that cannot be made: %s", stream.name, problem)
            return self._refuse(submission, "signing_key", reply(451, "4.7.5", "this mail cannot be signed now"))
        signed = await self.desk.sign(content, headers, self.keys.signers(stream.signings, domain))
        return await self._store(submission, decision, stream, signed)

    async def _store(
        self, submission: Submission, decision: Decision, stream: Stream, content: Content
    ) -> Reply:
        envelope, client = submission.envelope, submission.client
        message = Prepared(
            submission.id, submission.received_at, submission.received_at, envelope,
            self._return_path(submission, stream), stream.name, stream.pool, decision.route,
            credential=client.credential, client=client.address, listener=client.listener,
            held=decision.hold, tags=decision.tags, content=content,
        )  # fmt: skip
        try:
            await self.put(message)
        except StoreFull as error:
            log.error("message %s refused, the disk is full: %s", submission.id, error)
            return self._refuse(submission, "disk_full", FULL)
        except (StoreBusy, StoreBroken) as error:
            log.error("message %s refused, the queue does not take it: %s", submission.id, error)
            return self._refuse(submission, "queue", BUSY)
        return reply(250, "2.0.0", f"Ok: queued as {submission.id}")

    def _requests(self, client: Client, headers: Headers) -> Requests | Reply:
        listener = self.listeners.get(client.listener, NO_STANDING)
        credential = self.credentials.get(client.credential, NO_STANDING)
        who = f"credential {client.credential}" if client.credential else f"listener {client.listener}"
        return read_requests(headers, choices={*listener.choices, *credential.choices}, who=who)

    def _facts(self, submission: Submission, headers: Headers, requests: Requests) -> Facts:
        client, envelope = submission.client, submission.envelope
        forced = (
            self.credentials.get(client.credential, NO_STANDING).stream
            or self.listeners.get(client.listener, NO_STANDING).stream
        )
        return Facts(
            listener=client.listener, client=client.address, credential=client.credential,
            sender=envelope.sender, recipients=tuple(one.address for one in envelope.recipients),
            headers=headers, size=submission.content.size,
            hour=datetime.datetime.fromtimestamp(submission.received_at, datetime.UTC).hour,
            chosen_stream=requests.stream, forced_stream=forced, chosen_tags=requests.tags,
        )  # fmt: skip

    def _key_missing(self, stream: Stream, domain: str) -> str:
        required = [signing for signing in stream.signings if signing.required]
        return "; ".join(self.keys.missing(required, domain)) if required else ""

    def _return_path(self, submission: Submission, stream: Stream) -> str:
        """The reverse-path to use outwards; a null one stays null (RFC 5321 §4.5.5)."""
        if not submission.envelope.sender or not stream.return_path:
            return submission.envelope.sender
        if "@" in stream.return_path:
            return stream.return_path
        return f"{encode(submission.id, 0, self.verp_key)}@{stream.return_path}"

    def _refuse(self, submission: Submission, reason: str, answer: Reply, route: str = "") -> Reply:
        client = submission.client
        detail = {
            "listener": client.listener, "client": client.address, "reason": reason,
            "code": answer.code, "enhanced": answer.enhanced, "text": answer.text,
        }  # fmt: skip
        self.publish(
            Event("refused", self.clock(), sender=submission.envelope.sender, route=route, detail=detail)
        )
        return answer
