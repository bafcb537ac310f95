"""Mail about our mail: complaints (RFC 5965) and delivery reports (RFC 3464) that come in, and nothing else.

    RCPT: a signed return path of ours, or a feedback address ─► dot: report ─► our message ─► event ─► 250

1. Only addresses that are ours are taken, from anyone; nothing is ever sent on or kept (never a relay).
2. A report is believed as far as it is proved: by the token of the return path it came to, for a complaint also by
   the token, or our id, in what it gives back of the message. The rest is a stranger's word and stays out.
3. A token speaks for one message: one complaint and one late bounce, however often they are told, and whomever of
   several recipients they name. What was counted outlives a restart.
4. What the event log knows of the message says whose figures it belongs to. The event is told once it is remembered.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from relay.core.arf import COMPLAINTS, read_complaint
from relay.core.bounce import FAILED, Bounce, read_bounces
from relay.core.content import Content
from relay.core.envelope import Submission
from relay.core.events import Event
from relay.core.reply import Reply, reply
from relay.core.report import READ_BYTES, Report, fields, take_apart, text_of
from relay.core.tokens import decode
from relay.inbound.refusals import Refused
from relay.queue.store import StoreBroken, StoreBusy, StoreFull

log = logging.getLogger("relay.inbound")

SEEN = "reports"  # the kind under which the store remembers what was counted
SEEN_MOST = 50_000  # messages; the one counted longest ago is forgotten first: about 10 MB
PATH_TOKEN, GIVEN_TOKEN, TRACE = "return path", "return path in the report", "Received field in the report"
Recall = Callable[[str], Awaitable[Mapping[str, object]]]
Remember = Callable[[str, Mapping[str, object]], Awaitable[None]]
Accepted = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Proof:
    """Which message a report is about, and how that is known."""

    message: str
    by: str


class Feedback:
    """One for the process. `addresses`: where complaints may come to beside return paths, in lower case;
    `find` gives the `accepted` event of a message, `provider` that of an address."""

    def __init__(
        self, *, hostname: str, key: bytes, addresses: frozenset[str], publish: Callable[[Event], None],
        clock: Callable[[], float], find: Callable[[str], Accepted | None],
        provider: Callable[[str], Awaitable[str]], remember: Remember,
    ) -> None:  # fmt: skip
        self.hostname, self.key, self.addresses = hostname, key, addresses
        self.publish, self.clock, self.find = publish, clock, find
        self.provider, self.remember = provider, remember
        self._seen: OrderedDict[str, None] = OrderedDict()
        self._one_at_a_time = asyncio.Lock()  # who floods us with reports reads our disk no faster

    async def load(self, recall: Recall) -> None:
        """Takes up what was counted before a restart."""
        rows = await recall(SEEN)
        for key in sorted(rows, key=lambda one: rows[one]):  # type: ignore[arg-type, return-value]
            self._seen[key] = None

    def takes(self, address: str) -> bool:
        """Whether mail for the address is about mail of ours."""
        return address.lower() in self.addresses or bool(self._token(address))

    async def accept(self, submission: Submission) -> Reply:
        """The reply to the final dot of a report."""
        paths = [one.address for one in submission.envelope.recipients]
        report = _report(submission.content)
        if complaint := read_complaint(report, self.hostname):
            if complaint.kind not in COMPLAINTS:
                return self._ignored(submission, f"feedback of type {complaint.kind or 'none'}")
            proofs = [*self._proofs(paths, PATH_TOKEN), *self._proofs(complaint.paths, GIVEN_TOKEN)]
            proofs += [Proof(trace, TRACE) for trace in complaint.traces]
            named = next(iter(complaint.recipients), "")
            facts = {"feedback_type": complaint.kind, "agent": complaint.agent, "named": named}
            return await self._count(submission, "complained", proofs, facts)
        proofs = self._proofs(paths, PATH_TOKEN)
        if bounces := read_bounces(report):
            failed = next((one for one in bounces if one.action == FAILED), None)
            if failed is None:
                return self._ignored(submission, f"a report of mail that is {bounces[0].action}")
            return await self._count(submission, "bounced_late", proofs, _facts(failed))
        if not submission.envelope.sender or _automatic(submission.content):  # RFC 3834 §5, and old bounces
            return self._ignored(submission, "an automatic answer")
        return self._refuse(submission, "no-report")

    def _token(self, address: str) -> str:
        """The message that a signed return path was made for; "" for any other address."""
        found = decode(address.rpartition("@")[0], [self.key])
        return found.message if found else ""

    def _proofs(self, paths: list[str] | tuple[str, ...], by: str) -> list[Proof]:
        return [Proof(message, by) for path in paths if (message := self._token(path))]

    async def _count(
        self, submission: Submission, event: str, proofs: list[Proof], facts: Mapping[str, object]
    ) -> Reply:
        for proof in dict.fromkeys(proofs):
            if f"{event} {proof.message}" in self._seen:
                return self._ignored(submission, "told before", proof.message)
            async with self._one_at_a_time:
                accepted = await asyncio.to_thread(self._found, proof.message)
            if accepted is not None:
                told = await self._event(submission, event, proof, accepted, facts)
                return await self._tell_once(submission, told)
        if all(proof.by == TRACE for proof in proofs):  # none at all, or an id that nobody signed and nobody knows
            return self._refuse(submission, "no-proof")
        return self._ignored(submission, "older than the event log", proofs[0].message)

    def _found(self, message: str) -> Accepted | None:
        try:
            return self.find(message)
        except (OSError, ValueError) as error:
            log.warning("the event log cannot be searched for %s: %s", message, error)
            return None

    async def _event(
        self, submission: Submission, event: str, proof: Proof, accepted: Accepted, facts: Mapping[str, object]
    ) -> Event:
        recipients = accepted.get("recipients", [])
        recipient = str(recipients[0]) if len(recipients) == 1 else ""  # of several, the token does not say which
        provider = await self.provider(recipient) if recipient else ""
        detail: dict[str, object] = {"provider": provider, "credential": accepted.get("credential", "")}
        detail |= {**facts, "proof": proof.by, "client": submission.client.address}
        return Event(
            event, self.clock(), message=proof.message, recipient=recipient, stream=accepted.get("stream", ""),
            route=accepted.get("route", ""), sender=accepted.get("sender", ""), tags=accepted.get("tags", {}),
            detail={name: value for name, value in detail.items() if value != ""},
        )  # fmt: skip

    async def _tell_once(self, submission: Submission, told: Event) -> Reply:
        """Remembered before it is told: what was counted is never counted again. A crash between the two forgets
        one report."""
        key = f"{told.event} {told.message}"
        if key in self._seen:  # by another session, while this one looked it up
            return self._ignored(submission, "told before", told.message)
        oldest = [next(iter(self._seen))] if len(self._seen) >= SEEN_MOST else []
        self._seen[key] = None
        try:
            await self.remember(SEEN, {key: told.time, **dict.fromkeys(oldest)})
        except (StoreFull, StoreBusy, StoreBroken) as error:
            del self._seen[key]
            log.error("a report on %s cannot be counted now: %s", told.message, error)
            return self._refuse(submission, "queue")
        for one in oldest:
            self._seen.pop(one, None)
        self.publish(told)
        return reply(250, "2.0.0", f"Ok: noted for {told.message}")

    def _ignored(self, submission: Submission, reason: str, message: str = "") -> Reply:
        """Taken, as its sender did nothing wrong, and counted for nothing."""
        client = submission.client
        detail = {"listener": client.listener, "client": client.address, "reason": reason}
        self.publish(Event("report_ignored", self.clock(), message=message, detail=detail))
        return reply(250, "2.0.0", f"Ok: not counted, {reason}")

    def _refuse(self, submission: Submission, reason: str) -> Reply:
        client, answer = submission.client, Refused(reason).reply
        detail = {
            "listener": client.listener, "client": client.address, "reason": reason,
            "code": answer.code, "enhanced": answer.enhanced, "text": answer.text,
        }  # fmt: skip
        self.publish(Event("refused", self.clock(), sender=submission.envelope.sender, detail=detail))
        return answer


def _report(content: Content) -> Report:
    """The report in a message, read no further than one may go."""
    body = b""
    for chunk in content.body.chunks():
        body += chunk[: READ_BYTES - len(body)]
        if len(body) >= READ_BYTES:
            break
    return take_apart(content.header, body)


def _automatic(content: Content) -> bool:
    said = fields(content.header).first("auto-submitted")
    return said is not None and said.strip().lower() != "no"


def _facts(bounce: Bounce) -> dict[str, object]:
    return {
        "class": str(bounce.kind), "code": bounce.code, "enhanced": bounce.status, "text": bounce.diagnostic,
        "mta": text_of(bounce.mta, 100), "named": bounce.recipient,
    }  # fmt: skip
