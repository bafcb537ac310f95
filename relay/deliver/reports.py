"""Telling senders: delivery status notifications, made when they are due and queued like any mail.

A report goes to the original sender with a null return path, so a report about a report cannot exist
(RFC 3464 §2, RFC 5321 §4.5.5). It rides in the stream of the message it speaks of.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from relay.core.content import Content, MemoryBody
from relay.core.dsn import FULL_BYTES, Action, Report, Reported, build
from relay.core.envelope import Envelope, Recipient
from relay.core.ids import message_id
from relay.core.message import Prepared
from relay.core.outcome import Outcome
from relay.core.waiting import Waiting
from relay.deliver.feed import Peer
from relay.queue.store import StoreBroken, StoreBusy, Stored, StoreFull

log = logging.getLogger("relay.deliver")

ROUTE = "delivery report"
AGAIN_S = 5.0
# event → what the sender must have asked for by NOTIFY, and what the report says (RFC 3461 §4.1, §6.2)
WANTED = {
    "bounced": ("FAILURE", Action.FAILED),
    "expired": ("FAILURE", Action.FAILED),
    "delayed": ("DELAY", Action.DELAYED),
    "delivered": ("SUCCESS", Action.RELAYED),
}
BY_DEFAULT = {"FAILURE", "DELAY"}  # RFC 3461 §4.1: without NOTIFY failures are reported, delays may be


@dataclass(frozen=True, slots=True)
class Told:
    """One recipient of which the sender is to be told."""

    action: Action
    reported: Reported


class Reporter:
    """`put` stores a report durably. `expires` gives the Unix time at which a message of a stream expires."""

    def __init__(
        self, hostname: str, put: Callable[[Prepared], Awaitable[object]], *,
        clock: Callable[[], float], expires: Callable[[Prepared], float],
        sign: Callable[[Prepared], Awaitable[Prepared]] | None = None,
    ) -> None:  # fmt: skip
        self.hostname, self.put, self.clock, self.expires, self.sign = hostname, put, clock, expires, sign

    def due(
        self, stored: Stored, place: Waiting, event: str, outcome: Outcome, peer: Peer | None
    ) -> Told | None:
        """What the sender is to be told of one recipient, or None: nobody to tell, or not wanted."""
        condition, action = WANTED[event]
        notify = stored.recipients[place.nth].notify
        wanted = condition in notify if notify else condition in BY_DEFAULT
        if not stored.message.envelope.sender or not wanted:
            return None
        return Told(action, self._reported(stored, place, event, outcome, peer))

    def _reported(
        self, stored: Stored, place: Waiting, event: str, outcome: Outcome, peer: Peer | None
    ) -> Reported:
        text = outcome.text or str(outcome.reply or "")
        later_s = place.received_at - stored.message.received_at  # above 0 for mail that was to be sent later
        if event == "expired":
            text = f"given up after the time allowed for delivery; the last attempt ended with: {text}"
        return Reported(
            final=place.address,
            status=expired_status(outcome.status) if event == "expired" else outcome.status,
            orcpt=stored.recipients[place.nth].orcpt,
            diagnostic=str(outcome.reply) if outcome.reply else "",
            text=text,
            remote_mta=peer.mx if peer else "",
            last_attempt_at=self.clock(),
            retry_until=self.expires(stored.message) + later_s if event == "delayed" else 0.0,
        )

    async def send(self, stored: Stored, told: Sequence[Told]) -> None:
        """Stores one report for each action; returns when they are durable. A store that is full or busy
        is waited for: the recipient is not ended before its report is safe."""
        for action in dict.fromkeys(one.action for one in told):
            report = self._report(stored, action, [one.reported for one in told if one.action is action])
            message = await self.sign(report) if self.sign else report
            while True:
                try:
                    await self.put(message)
                    break
                except (StoreFull, StoreBusy) as error:
                    log.warning("a delivery report waits for the queue: %s", error)
                    await asyncio.sleep(AGAIN_S)
                except StoreBroken:
                    await asyncio.Event().wait()  # the relay is going down; the next start reports

    def _report(self, stored: Stored, action: Action, recipients: list[Reported]) -> Prepared:
        original, now = stored.message, self.clock()
        content = original.content
        small = content.size <= FULL_BYTES
        whole = original.envelope.ret == "FULL" and small and not content.eight_bit and action is Action.FAILED
        id_ = message_id(now, secrets.token_bytes(6))
        report = Report(
            action, self.hostname, original.envelope.sender, tuple(recipients), original.received_at, now,
            message_id=f"<{id_}@{self.hostname}>", boundary=f"report-{secrets.token_hex(12)}",
            envid=original.envelope.envid, header=content.header,
            whole=b"".join(content.chunks()) if whole else b"",
        )  # fmt: skip
        header, body = build(report)
        never = frozenset({"NEVER"})  # RFC 3464 §2: nobody is told of a report's own fate
        return Prepared(
            id_, now, now, Envelope("", (Recipient(original.envelope.sender, never),), utf8=report.utf8), "",
            original.stream, original.pool, ROUTE,
            content=Content(header, MemoryBody(body), eight_bit=not (header + body).isascii()),
        )  # fmt: skip


def expired_status(status: str) -> str:
    """The status of an expiry: a failure by now, for the reason that deferred it (RFC 3463 §2)."""
    return "5" + status[1:] if status[:2] == "4." else status or "5.4.7"
