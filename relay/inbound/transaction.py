"""MAIL, RCPT, DATA: one message from its sender's name to the reply to its last dot."""

# ruff: noqa: N802  (aiosmtpd finds commands by these names)
from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field

from relay.core.address import is_route, literal
from relay.core.content import Content
from relay.core.envelope import Client, Envelope, Recipient, Submission
from relay.core.ids import message_id
from relay.core.reply import Reply
from relay.inbound.connection import Connection, encode
from relay.inbound.credentials import Credential
from relay.inbound.entropy import id_entropy
from relay.inbound.params import Mail, parse_mail, parse_rcpt
from relay.inbound.receive import Receiver
from relay.inbound.reception import Reception
from relay.inbound.refusals import Refused

BOUNCES = "bounces"  # what a listener for reports accepts
BUSY_S = 86_400.0  # while we work the client owes us nothing; our own awaits have their own limits
SENDER_OK = b"250 2.1.0 Ok\r\n"
RECIPIENT_OK = b"250 2.1.5 Ok\r\n"
GO_AHEAD = b"354 End data with <CR><LF>.<CR><LF>\r\n"

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Draft:
    """An envelope being written; recipients by address with the domain in lower case, so that one named
    twice is kept once."""

    mail: Mail
    recipients: dict[str, Recipient] = field(default_factory=dict)

    def envelope(self) -> Envelope:
        """What was written, for good."""
        mail, recipients = self.mail, tuple(self.recipients.values())
        return Envelope(mail.sender, recipients, mail.body, mail.utf8, mail.ret, mail.envid)


class Transaction(Connection):
    """The verbs that make a message, and who may say them."""

    def __init__(self, reception: Reception, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(reception, loop)
        self.helo = ""
        self.extended = False
        self.credential: Credential | None = None
        self.tls_version = ""
        self.draft: Draft | None = None
        self.mail_refused = False  # what a trusted client pipelined behind it (RFC 2920 §3.1) is no error of its own
        self.receiving = False
        self.silent_commands = 0
        self._client: Client | None = None
        self._at_home: bool | None = None

    @property
    def trusted(self) -> bool:
        """Whether this client may send mail: by a credential, or by its network where that is enough."""
        if self.credential is not None:
            return True
        if self._at_home is None:
            self._at_home = self.settings.auth != "required" and self.settings.contains(self.peer)
        return self._at_home

    @property
    def auth_open(self) -> bool:
        """Whether AUTH is offered at this moment."""
        return self.settings.auth != "none" and (bool(self.tls_version) or self.settings.clear_auth)

    def _set_rset_state(self) -> None:
        """Forgets the message under way (RFC 5321 §4.1.1.5)."""
        self.draft = None

    async def smtp_MAIL(self, arg: str | None) -> None:
        """Begins a message. RFC 5321 §4.1.1.2."""
        if not self.helo:
            raise Refused("hello-first")
        if self.draft is not None:
            raise Refused("nested-mail")
        trusted = self.mail_refused = self.trusted
        if not trusted and self.settings.auth != "none":
            raise Refused("auth-needed" if self.auth_open or not self.reception.tls else "tls-needed")
        mail = parse_mail(arg or "")
        if mail.size > self.settings.max_message_bytes:
            raise Refused("too-big", limit=self.settings.max_message_bytes)  # RFC 1870 §6.1
        if trusted:
            self._check_rights(mail.sender)
            self._check_load()
        self.draft, self.mail_refused = Draft(mail), False
        self.say(SENDER_OK)

    def _check_rights(self, sender: str) -> None:
        access, account = self.reception.access, self.credential
        if account is not None and not access.holds(account):
            raise Refused("credential-changed")
        access.check_sender(self.settings.name, account.name if account else "", sender)

    def _check_load(self) -> None:
        if self.reception.crowded(self.settings.name, self._account(), self.loop.time()):
            raise Refused("overloaded")

    def _account(self) -> str:
        return self.credential.name if self.credential else ""

    async def smtp_RCPT(self, arg: str | None) -> None:
        """Adds a recipient. RFC 5321 §4.1.1.3."""
        draft = self.draft
        if draft is None:
            raise Refused("mail-first" if self.helo else "hello-first")
        for_reports = self.settings.accepts == BOUNCES
        if not self.trusted and not for_reports:  # whatever the address looks like: never an open relay
            raise Refused("relaying-denied", client=self.peer, listener=self.settings.name)
        recipient = parse_rcpt(arg or "", utf8=draft.mail.utf8, postmaster=self.settings.postmaster)
        address = recipient.address
        if for_reports and not self.reception.takes(address):
            raise Refused("no-such-mailbox", address=address)
        if self.credential is None and is_route(address):
            raise Refused("route-in-address")
        local, _, domain = address.rpartition("@")
        if domain.startswith("[") and literal(domain) is not None:
            raise Refused("address-literal")
        if len(draft.recipients) >= self.settings.max_recipients:
            raise Refused("too-many-recipients")
        draft.recipients.setdefault(f"{local}@{domain.lower()}", recipient)
        self.say(RECIPIENT_OK)

    async def smtp_DATA(self, arg: str | None) -> None:
        """Takes the message and answers for it. RFC 5321 §4.1.1.4."""
        draft = self.draft
        if draft is None:
            raise Refused("mail-first" if self.helo else "hello-first")
        if arg:
            raise Refused("syntax", syntax="DATA")
        if not draft.recipients:
            raise Refused("rcpt-first")
        self.say(GO_AHEAD)
        kept = self.reception.kept(self.settings.name, self._account())
        receiver = Receiver(self.settings, self.reception.budget, self.reception.spool, kept)
        try:
            content = await self._receive(receiver)
        except BaseException:
            receiver.discard()
            receiver.release()
            raise
        finally:
            self.receiving = False
            self.draft = None
        await self._commit(receiver, draft.envelope(), content)

    async def _receive(self, receiver: Receiver) -> Content:
        """Reads to the end of the message, at more than a trickle."""
        settings, loop = self.settings, self.loop
        self.receiving = True
        grace_until = loop.time() + settings.data_grace_s
        while True:
            left_s = grace_until + receiver.reader.size / settings.data_min_bytes_per_s - loop.time()
            self._reset_timeout(max(min(settings.data_timeout_s, left_s), 0.001))
            rest = receiver.feed(await self.read_chunk())
            if rest is not None:
                self.unread(rest)
                return receiver.finish()

    async def _commit(self, receiver: Receiver, envelope: Envelope, content: Content) -> None:
        """Hands the message over; nothing cancels this, so a client that goes away now changes nothing."""
        self._reset_timeout(BUSY_S)
        now = self.reception.clock()
        submission = Submission(
            message_id(now, id_entropy()), now, self._whoever(utf8=envelope.utf8), envelope, content
        )
        done = self.loop.create_future()
        self.reception.commits.add(done)
        try:
            answer = await self._accept(receiver, submission)
        finally:
            self.reception.commits.discard(done)
            done.set_result(None)
        self.silent_commands = 0
        self.say(encode(answer))
        if answer.code == 421:
            await self.flush()
            self._close()

    async def _accept(self, receiver: Receiver, submission: Submission) -> Reply:
        """The reply for the message; a fault of ours is temporary and tells nothing (RFC 5321 §4.2.1)."""
        answer: Reply | None = None
        try:
            answer = await self.reception.accept(submission)
            return answer
        except Exception:
            log.exception("message %s from %s could not be accepted", submission.id, self.peer)
            fault = Refused("internal").reply
            self._note("internal", fault, sender=submission.envelope.sender)
            return fault
        finally:
            receiver.release()
            kept = answer is not None and answer.code < 300 and self.settings.accepts != BOUNCES
            if not kept:  # reports are read, never kept
                receiver.discard()

    def _whoever(self, *, utf8: bool) -> Client:
        """The client as the message will remember it; built once until something about it changes."""
        if self._client is None or utf8:
            client = Client(
                address=self.peer,
                port=self.peer_port,
                helo=self.helo,
                listener=self.settings.name,
                credential=self.credential.name if self.credential else "",
                tls=self.tls_version,
                protocol=self._protocol(utf8=utf8),
                profile=self.settings.profile,
            )
            if utf8:
                return client
            self._client = client
        return self._client

    def _protocol(self, *, utf8: bool) -> str:
        """The word for the Received field: RFC 3848, and RFC 6531 §4.3 for international mail."""
        if not self.extended:
            return "SMTP"
        word = "UTF8SMTP" if utf8 else "ESMTP"
        return word + ("S" if self.tls_version else "") + ("A" if self.credential else "")
